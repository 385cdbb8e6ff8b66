// WebSocket frames: their heads (RFC 6455 section 5.2) and close codes (section 7.4).
#pragma once

#include <sidecar/message.hpp>

#include <boost/endian/conversion.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sidecar::websocket {

/// Our end of the connection. A client masks its frames, a server does not (RFC 6455 section 5.1).
enum class Role : std::uint8_t { client, server };

using MaskKey = std::array<std::byte, 4>;

enum class Opcode : std::uint8_t {
    continuation = 0x0,
    text = 0x1,
    binary = 0x2,
    close = 0x8,
    ping = 0x9,
    pong = 0xa,
};

/// The largest payload of a control frame, RFC 6455 section 5.5.
inline constexpr std::size_t max_control_bytes = 125;

/// RFC 6455 section 7.4 and IANA's registry.
namespace close_code {
inline constexpr std::uint16_t none = 0; ///< a Close without a code; RFC 6455 calls it 1005
inline constexpr std::uint16_t normal = 1000;
inline constexpr std::uint16_t protocol_error = 1002;
inline constexpr std::uint16_t not_utf8 = 1007;
inline constexpr std::uint16_t policy_violation = 1008;
inline constexpr std::uint16_t too_big = 1009;
} // namespace close_code

/// Whether a Close frame may carry the code. 1004 is reserved; 1005, 1006 and 1015 name events
/// without such a frame; 1016 to 2999 are unassigned.
[[nodiscard]] constexpr bool may_be_on_the_wire(std::uint16_t code) noexcept
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
           || (code >= 3000 && code <= 4999);
}

struct FrameHead {
    std::uint8_t first = 0; ///< FIN, the three RSV bits, the opcode
    bool is_masked = false;
    bool is_shortest = true;    ///< the length has the fewest bytes, as the RFC demands
    std::size_t head_bytes = 0; ///< zero: the head is incomplete
    std::uint64_t payload_bytes = 0;

    [[nodiscard]] static FrameHead parse(std::span<const std::byte> bytes) noexcept
    {
        constexpr std::uint8_t length_in_two = 126;
        FrameHead head;
        if (bytes.size() < 2)
            return head;
        const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
        head.first = at[0];
        head.is_masked = (at[1] & 0x80) != 0;
        const std::uint8_t length = at[1] & 0x7f;
        const std::size_t extended = length < length_in_two ? 0 : length == length_in_two ? 2 : 8;
        const std::size_t head_bytes = 2 + extended + (head.is_masked ? 4 : 0);
        if (bytes.size() < head_bytes)
            return head;
        head.head_bytes = head_bytes;
        if (length < length_in_two) {
            head.payload_bytes = length;
        } else if (length == length_in_two) {
            head.payload_bytes = boost::endian::load_big_u16(at + 2);
            head.is_shortest = head.payload_bytes >= length_in_two;
        } else {
            head.payload_bytes = boost::endian::load_big_u64(at + 2);
            head.is_shortest = head.payload_bytes > 0xffff;
        }
        return head;
    }

    /// Parses in few steps the head that servers send most: of a plain message of less than 64 KiB.
    /// Returns head_bytes zero for any other, and for fewer than four bytes: call parse() then.
    [[nodiscard]] static FrameHead parse_plain(std::span<const std::byte> bytes) noexcept
    {
        constexpr std::uint8_t length_in_two = 126;
        if (bytes.size() < 4)
            return {};
        const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
        if (at[0] != whole_text && at[0] != whole_binary)
            return {};
        if (at[1] < length_in_two)
            return {.first = at[0], .head_bytes = 2, .payload_bytes = at[1]};
        const auto length = boost::endian::load_big_u16(at + 2);
        if (at[1] != length_in_two || length < length_in_two)
            return {};
        return {.first = at[0], .head_bytes = 4, .payload_bytes = length};
    }

    /// Whether this is a whole text or binary message without an extension.
    [[nodiscard]] bool is_plain_message() const noexcept
    {
        return (first == whole_text || first == whole_binary) && is_shortest;
    }
    /// For a plain message.
    [[nodiscard]] MessageKind kind() const noexcept
    {
        return first == whole_text ? MessageKind::text : MessageKind::binary;
    }
    [[nodiscard]] bool is_final() const noexcept { return (first & fin) != 0; }
    [[nodiscard]] Opcode opcode() const noexcept { return static_cast<Opcode>(first & 0x0f); }
    [[nodiscard]] bool is_control() const noexcept { return (first & 0x08) != 0; }

    static constexpr std::uint8_t fin = 0x80, rsv = 0x70;
    /// Set in the first frame of a compressed message, RFC 7692 section 6.
    static constexpr std::uint8_t compressed = 0x40;

private:
    // FIN and the opcode, no RSV bit
    static constexpr std::uint8_t whole_text = 0x81, whole_binary = 0x82;
};

} // namespace sidecar::websocket
