// Validates UTF-8 (RFC 3629) at the speed of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace sidecar::websocket {

namespace detail {
[[nodiscard]] bool is_utf8_at_length(std::span<const std::byte> bytes) noexcept;
} // namespace detail

/// Inline: most short messages are ASCII, and this check takes less time than a call.
[[nodiscard]] inline bool is_ascii(std::span<const std::byte> bytes) noexcept
{
    using Word = std::uint64_t;
    constexpr Word high_bits = 0x8080808080808080;
    const auto* at = bytes.data();
    auto left = bytes.size();
    Word seen = 0, word = 0;
    for (; left >= sizeof word; left -= sizeof word, at += sizeof word) {
        std::memcpy(&word, at, sizeof word);
        seen |= word;
    }
    word = 0;
    if (left != 0)
        std::memcpy(&word, at, left);
    return ((seen | word) & high_bits) == 0;
}

/// Whether the bytes are complete UTF-8.
[[nodiscard]] inline bool is_utf8(std::span<const std::byte> bytes) noexcept
{
    constexpr std::size_t short_bytes = 128;
    return (bytes.size() <= short_bytes && is_ascii(bytes)) || detail::is_utf8_at_length(bytes);
}

/// Validates UTF-8 that arrives in parts. Copies no byte: for a character that is cut it keeps the
/// range of the next octet. Invariant: the accepted parts are the beginning of some UTF-8 text.
class Utf8Parts {
public:
    /// Checks the next part. False: it is invalid at bad_offset(), and later parts are ignored.
    [[nodiscard]] bool accept(std::span<const std::byte> part) noexcept;
    /// Whether the text may end here: no character is cut.
    [[nodiscard]] bool may_end() const noexcept { return missing_ == 0 && !bad_offset_; }
    /// The offset of the first invalid octet.
    [[nodiscard]] std::optional<std::size_t> bad_offset() const noexcept { return bad_offset_; }

private:
    [[nodiscard]] bool step(std::byte octet) noexcept;
    [[nodiscard]] bool step_all(std::span<const std::byte> octets) noexcept;

    std::size_t offset_ = 0; // octets accepted
    std::optional<std::size_t> bad_offset_;
    std::uint8_t missing_ = 0;              // octets of the cut character
    std::uint8_t lowest_ = 0, highest_ = 0; // valid range of its next octet
};

} // namespace sidecar::websocket
