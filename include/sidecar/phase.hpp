// Phase: the step at which a link is.
#pragma once

#include <sidecar/detail/export.hpp>

#include <cstdint>
#include <string_view>

namespace sidecar {

/// The step at which a link is. dump() and the stop report show it as the link's wait.
enum class Phase : std::uint8_t {
    resolving,
    connecting,
    tunnelling, ///< through a proxy
    securing,   ///< the TLS handshake
    handshaking,
    restoring,   ///< connected; on_connected runs
    subscribing, ///< up; subscriptions wait for their answers, and ordinary sends for those
    open,
    closing,
    down,
    backing_off, ///< down; waits for the next attempt
};
[[nodiscard]] SIDECAR_API std::string_view to_string(Phase phase) noexcept;

} // namespace sidecar
