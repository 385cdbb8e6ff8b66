// The head of a WebSocket frame, RFC 6455 section 5.2.
#pragma once

#include <sidecar/message.hpp>

#include <boost/endian/conversion.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace sidecar::websocket {

struct FrameHead {
    std::uint8_t first = 0; ///< FIN, the three RSV bits, the opcode
    bool is_masked = false;
    bool is_shortest = true;    ///< the length is written in the fewest bytes, as the RFC demands
    std::size_t head_bytes = 0; ///< zero: the head has not come whole
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

    /// A whole text or binary message without any extension, as a server sends it.
    [[nodiscard]] bool is_plain_message() const noexcept
    {
        return (first == whole_text || first == whole_binary) && !is_masked && is_shortest;
    }
    /// Of a plain message.
    [[nodiscard]] MessageKind kind() const noexcept
    {
        return first == whole_text ? MessageKind::text : MessageKind::bytes;
    }

private:
    // FIN and the opcode, no RSV bit
    static constexpr std::uint8_t whole_text = 0x81, whole_binary = 0x82;
};

} // namespace sidecar::websocket
