// Phase: where a link stands.
#pragma once

#include <sidecar/detail/export.hpp>

#include <cstdint>
#include <string_view>

namespace sidecar {

/// Where a link stands; tells dump() and the stop report what is being waited for.
enum class Phase : std::uint8_t {
    resolving,
    connecting,
    tunnelling, ///< through a proxy
    securing,   ///< the TLS handshake
    handshaking,
    restoring, ///< connected, but what comes before ordinary messages is not done
    open,
    closing,
    down,
    backing_off, ///< down, and waits for the next attempt
};
[[nodiscard]] SIDECAR_API std::string_view to_string(Phase phase) noexcept;

} // namespace sidecar
