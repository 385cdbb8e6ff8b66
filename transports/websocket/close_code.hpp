// Close codes, RFC 6455 section 7.4 and IANA's registry of them.
#pragma once

#include <cstdint>

namespace sidecar::websocket {

namespace close_code {
inline constexpr std::uint16_t none = 0; ///< a Close without a code; RFC 6455 calls it 1005
inline constexpr std::uint16_t normal = 1000;
inline constexpr std::uint16_t protocol_error = 1002;
inline constexpr std::uint16_t not_utf8 = 1007;
inline constexpr std::uint16_t policy_violation = 1008;
inline constexpr std::uint16_t too_big = 1009;
} // namespace close_code

/// Whether a Close frame may carry it. 1004 is reserved; 1005, 1006 and 1015 are names for what
/// happened without such a frame; 1016 to 2999 belong to no one yet.
[[nodiscard]] constexpr bool may_be_on_the_wire(std::uint16_t code) noexcept
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
           || (code >= 3000 && code <= 4999);
}

} // namespace sidecar::websocket
