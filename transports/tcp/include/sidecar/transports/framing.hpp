// Framings: how messages stand in a stream of bytes. The concept, and the four that come with Tcp.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>

#include <boost/endian/conversion.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace sidecar {

/// What a framing found at the front of the bytes it was shown.
struct Decoded {
    bool is_complete = false; ///< `payload` is a message
    /// Part of the bytes shown, or the framing's own until the next decode(); may be empty. Of an
    /// incomplete message optional: what has come of it, if `missing_bytes` more end it just as
    /// they are; a large one is then received where it will be read
    std::span<const std::byte> payload;
    /// Of the bytes shown, head and tail included; at least one for a complete message, and without
    /// one what is to be skipped (a filler, a comment)
    std::size_t consumed_bytes = 0;
    std::size_t missing_bytes = 0; ///< of an incomplete message, if known
};

/// What Tcp<F> needs of F. One copy is made per connection, so it may keep state between calls.
/// - `decode(bytes, max_message_bytes)`: looks at all bytes that have come and were not consumed.
///   It is shown the bytes of an incomplete message again, with more behind them; a complete one
///   once. Throws Exception (protocol_violation, too_big) for what can never become a message. What
///   stands around a message may have 4096 bytes; who leaves more than that and `max_message_bytes`
///   unconsumed ends the link.
/// - `encode(out, payload)`: appends the payload and all that surrounds it. Optional: `static
///   constexpr MessageKind kind` (default bytes); `Result<void> check(max_message_bytes) const`,
///   whether its own settings make sense, run by start(); `Result<void> check_send(payload) const`,
///   whether it can carry this, run by send() on the application's thread; `encode_head(out,
///   payload)` and `encode_tail(out, payload)`, both or neither: append what stands before and
///   behind the payload. Where they exist, a large payload is sent from where it is, not copied.
// clang-format off
template <class F>
concept Framing = std::copyable<F> && requires(F& framing, std::span<const std::byte> bytes,
                                               std::size_t limit, std::vector<std::byte>& out) {
    { framing.decode(bytes, limit) } -> std::same_as<Decoded>;
    framing.encode(out, bytes);
};
// clang-format on

namespace detail {
/// What a framing must have, so that the first line of the compiler's answer names what is missing.
// clang-format off
template <class F>
struct FramingForm {
    static_assert(std::copyable<F>, "a framing needs: to be copyable");
    static_assert(requires(F& f, std::span<const std::byte> bytes, std::size_t limit) {
                      { f.decode(bytes, limit) } -> std::same_as<Decoded>;
                  },
                  "a framing needs: sidecar::Decoded decode(std::span<const std::byte>, std::size_t)");
    static_assert(requires(F& f, std::vector<std::byte>& out, std::span<const std::byte> bytes) { f.encode(out, bytes); },
                  "a framing needs: void encode(std::vector<std::byte>&, std::span<const std::byte>)");
    static constexpr bool is_whole = Framing<F>;
};
// clang-format on

[[noreturn]] SIDECAR_API void throw_too_big(std::uint64_t bytes, std::size_t limit);
[[noreturn]] SIDECAR_API void throw_no_end(std::size_t bytes, std::size_t limit);
[[nodiscard]] SIDECAR_API Failure cannot_send(Error error, std::string why);
[[nodiscard]] SIDECAR_API Failure bad_framing(std::string why);
inline void append(std::vector<std::byte>& out, std::span<const std::byte> bytes)
{
    out.insert(out.end(), bytes.begin(), bytes.end());
}
} // namespace detail

/// Each message after its length in 1, 2, 4 or 8 bytes, which do not count themselves.
struct SIDECAR_API LengthPrefix {
    unsigned width = 4; ///< bytes of the prefix: 1, 2, 4 or 8
    std::endian order = std::endian::big;

    [[nodiscard]] Decoded decode(std::span<const std::byte> bytes,
                                 std::size_t max_message_bytes) const
    {
        if (bytes.size() < width)
            return {.payload = {}, .missing_bytes = width - bytes.size()};
        const auto length = read_length(bytes.data());
        if (length > max_message_bytes)
            detail::throw_too_big(length, max_message_bytes);
        const auto size = static_cast<std::size_t>(length);
        if (bytes.size() - width < size)
            return {.payload = bytes.subspan(width),
                    .missing_bytes = size - (bytes.size() - width)};
        return {.is_complete = true,
                .payload = bytes.subspan(width, size),
                .consumed_bytes = width + size};
    }
    void encode(std::vector<std::byte>& out, std::span<const std::byte> payload) const
    {
        encode_head(out, payload);
        detail::append(out, payload);
    }
    void encode_head(std::vector<std::byte>& out, std::span<const std::byte> payload) const
    {
        std::array<std::byte, 8> prefix{};
        for (unsigned i = 0; i < width; ++i)
            prefix[order == std::endian::big ? width - 1 - i : i] =
                static_cast<std::byte>(payload.size() >> (8 * i));
        detail::append(out, std::span{prefix}.first(width));
    }
    void encode_tail(std::vector<std::byte>&, std::span<const std::byte>) const {}
    [[nodiscard]] Result<void> check(std::size_t max_message_bytes) const;
    [[nodiscard]] Result<void> check_send(std::span<const std::byte> payload) const;

private:
    [[nodiscard]] std::uint64_t read_length(const std::byte* bytes) const noexcept
    {
        using namespace boost::endian;
        const auto* at = reinterpret_cast<const unsigned char*>(bytes);
        const bool is_big = order == std::endian::big;
        switch (width) {
        case 1: return *at;
        case 2: return is_big ? load_big_u16(at) : load_little_u16(at);
        case 4: return is_big ? load_big_u32(at) : load_little_u32(at);
        case 8: return is_big ? load_big_u64(at) : load_little_u64(at);
        default: break; // refused by check(); a framing around this one may have forgotten to ask
        }
        std::uint64_t length = 0;
        for (unsigned i = 0; i < width; ++i)
            length = length << 8 | at[is_big ? i : width - 1 - i];
        return length;
    }
};

/// Lines of text; the delimiter is not part of the message. With `\n`, a `\r` before it is not
/// either.
class SIDECAR_API Lines {
public:
    static constexpr MessageKind kind = MessageKind::text;

    Lines() = default;
    explicit Lines(char delimiter) : delimiter_{delimiter} {}

    [[nodiscard]] Decoded decode(std::span<const std::byte> bytes, std::size_t max_message_bytes)
    {
        // A long line that trickles in is looked at once, not anew with each piece.
        const auto from = std::min(scanned_, bytes.size());
        const auto* found = bytes.size() == from
                                ? nullptr
                                : static_cast<const std::byte*>(std::memchr(
                                    bytes.data() + from, delimiter_, bytes.size() - from));
        if (!found) {
            scanned_ = bytes.size();
            if (bytes.size() > max_message_bytes + 1) // a '\r' may be the last
                detail::throw_no_end(bytes.size(), max_message_bytes);
            return {};
        }
        scanned_ = 0;
        auto size = static_cast<std::size_t>(found - bytes.data());
        const auto consumed = size + 1;
        if (delimiter_ == '\n' && size != 0 && bytes[size - 1] == std::byte{'\r'})
            --size;
        if (size > max_message_bytes)
            detail::throw_too_big(size, max_message_bytes);
        return {.is_complete = true, .payload = bytes.first(size), .consumed_bytes = consumed};
    }
    void encode(std::vector<std::byte>& out, std::span<const std::byte> payload) const
    {
        detail::append(out, payload);
        encode_tail(out, payload);
    }
    void encode_head(std::vector<std::byte>&, std::span<const std::byte>) const {}
    void encode_tail(std::vector<std::byte>& out, std::span<const std::byte>) const
    {
        out.push_back(static_cast<std::byte>(delimiter_));
    }
    [[nodiscard]] Result<void> check_send(std::span<const std::byte> payload) const;

private:
    char delimiter_ = '\n';
    std::size_t scanned_ = 0;
};

namespace detail {
/// Puts nothing around a payload.
struct BareEncoding {
    void encode(std::vector<std::byte>& out, std::span<const std::byte> payload) const
    {
        append(out, payload);
    }
    void encode_head(std::vector<std::byte>&, std::span<const std::byte>) const {}
    void encode_tail(std::vector<std::byte>&, std::span<const std::byte>) const {}
};
} // namespace detail

/// No framing: each message is whatever has arrived, in pieces of at most the message limit. There
/// is no empty message: to send one sends nothing.
struct Raw : detail::BareEncoding {
    [[nodiscard]] Decoded decode(std::span<const std::byte> bytes,
                                 std::size_t max_message_bytes) const
    {
        const auto size = std::min(bytes.size(), max_message_bytes);
        return {.is_complete = size != 0, .payload = bytes.first(size), .consumed_bytes = size};
    }
};

/// Every message has N bytes.
template <std::size_t N>
    requires(N > 0)
struct FixedSize : detail::BareEncoding {
    [[nodiscard]] Decoded decode(std::span<const std::byte> bytes,
                                 std::size_t max_message_bytes) const
    {
        if (N > max_message_bytes) // check() tells it before anything is connected
            detail::throw_too_big(N, max_message_bytes);
        if (bytes.size() < N)
            return {.payload = bytes, .missing_bytes = N - bytes.size()};
        return {.is_complete = true, .payload = bytes.first(N), .consumed_bytes = N};
    }
    [[nodiscard]] Result<void> check(std::size_t max_message_bytes) const
    {
        if (N > max_message_bytes)
            return detail::bad_framing("messages of " + std::to_string(N) + " bytes, the limit is "
                                       + std::to_string(max_message_bytes));
        return {};
    }
    [[nodiscard]] Result<void> check_send(std::span<const std::byte> payload) const
    {
        if (payload.size() != N)
            return detail::cannot_send(Error::bad_message, std::to_string(payload.size())
                                                               + " bytes, each message has "
                                                               + std::to_string(N));
        return {};
    }
};

static_assert(Framing<LengthPrefix> && Framing<Lines> && Framing<Raw> && Framing<FixedSize<8>>);

} // namespace sidecar
