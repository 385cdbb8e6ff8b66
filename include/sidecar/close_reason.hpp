// CloseReason: what a close says to the peer.
#pragma once

#include <cstdint>
#include <string>

namespace sidecar {

/// The code and the reason of a close. Transports without them, such as TCP, ignore both.
struct CloseReason {
    std::uint16_t code = 1000; ///< RFC 6455 section 7.4: 1000-1003, 1007-1014, 3000-4999
    std::string reason{};      ///< UTF-8, at most 123 bytes; the peer reads it

    friend bool operator==(const CloseReason&, const CloseReason&) = default;
};

} // namespace sidecar
