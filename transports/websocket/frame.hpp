// The head of a WebSocket frame, RFC 6455 section 5.2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace sidecar::websocket {

struct FrameHead {
    bool is_final = false;
    std::uint8_t reserved = 0; ///< the three RSV bits
    std::uint8_t opcode = 0;
    bool is_masked = false;
    bool is_shortest = true; ///< the length is written in the fewest bytes, as the RFC demands
    std::uint64_t payload_bytes = 0;
    std::size_t head_bytes = 0;

    /// Nothing while the head is incomplete.
    [[nodiscard]] static std::optional<FrameHead> parse(std::span<const std::byte> bytes) noexcept
    {
        if (bytes.size() < 2)
            return std::nullopt;
        const auto at = [&](std::size_t i) { return std::to_integer<std::uint8_t>(bytes[i]); };
        FrameHead head;
        head.is_final = (at(0) & 0x80) != 0;
        head.reserved = (at(0) >> 4) & 0x07;
        head.opcode = at(0) & 0x0f;
        head.is_masked = (at(1) & 0x80) != 0;
        const std::uint8_t length = at(1) & 0x7f;
        const std::size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
        head.head_bytes = 2 + extended + (head.is_masked ? 4 : 0);
        if (bytes.size() < head.head_bytes)
            return std::nullopt;
        if (extended == 0) {
            head.payload_bytes = length;
        } else {
            for (std::size_t i = 0; i < extended; ++i)
                head.payload_bytes = head.payload_bytes << 8 | at(2 + i);
            head.is_shortest = head.payload_bytes > (extended == 2 ? 125u : 0xffffu);
        }
        return head;
    }

    /// A whole text or binary message without any extension, as a server sends it.
    [[nodiscard]] bool is_plain_message() const noexcept
    {
        return is_final && reserved == 0 && !is_masked && is_shortest && (opcode == 1 || opcode == 2);
    }
};

} // namespace sidecar::websocket
