// Framings divide a stream of bytes into messages. The concept, and the four framings of Tcp.
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

/// The result of decode() on the bytes that it was given.
/// For an incomplete message `payload` may be empty, or the part received so far if `missing_bytes`
/// more bytes complete it just as they are; Tcp then receives a large message in place. Bytes
/// consumed without a complete message are skipped (a filler, a comment).
struct Decoded {
    bool is_complete = false; ///< `payload` is a message
    /// In the given bytes, or in the framing's memory until the next decode(); may be empty.
    std::span<const std::byte> payload;
    /// Of the given bytes, head and tail included; at least 1 for a complete message.
    std::size_t consumed_bytes = 0;
    std::size_t missing_bytes = 0; ///< of an incomplete message, if known; otherwise 0
};

/// The requirements of Tcp<F> on F. Each connection has a copy, which may keep state between calls.
/// Side: the loop's thread, except check() and check_send().
/// - `decode(bytes, max_message_bytes)`: looks at all bytes that have arrived and were not
///   consumed. It gets the bytes of an incomplete message again, with more behind them, and those
///   of a complete one once. `bytes` may be empty: then return {}. Throws Exception (protocol_violation, too_big) for bytes that can
///   never become a message. Head and tail of a message may have 4096 bytes. A framing that leaves
///   more than that and `max_message_bytes` unconsumed ends the link.
/// - `encode(out, payload)`: appends the payload with its head and tail.
/// Optional:
/// - `static constexpr MessageKind kind`: of all messages; default: binary.
/// - `Result<void> check(max_message_bytes) const`: checks the framing's own settings; called by
///   start().
/// - `Result<void> check_send(payload) const`: checks whether it can carry this payload; called by
///   send() on the application's thread.
/// - `encode_head(out, payload)` and `encode_tail(out, payload)`, both or neither: append the bytes
///   before and behind the payload. With them a large payload is sent from where it is, not copied.
// clang-format off
template <class F>
concept Framing = std::copyable<F> && requires(F& framing, std::span<const std::byte> bytes,
                                               std::size_t limit, std::vector<std::byte>& out) {
    { framing.decode(bytes, limit) } -> std::same_as<Decoded>;
    framing.encode(out, bytes);
};
// clang-format on

namespace detail {
/// Checks each requirement by itself, so that the first line of the compiler's answer names the
/// missing one.
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

/// Puts each message after its length in 1, 2, 4 or 8 bytes; the length does not count these.
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
    /// Errors: bad_options for any other width.
    [[nodiscard]] Result<void> check(std::size_t max_message_bytes) const;
    /// Errors: too_big if the length does not fit the prefix.
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
        default: break; // refused by check(); a framing around this one may not call it
        }
        std::uint64_t length = 0;
        for (unsigned i = 0; i < width; ++i)
            length = length << 8 | at[is_big ? i : width - 1 - i];
        return length;
    }
};

/// Lines of text. The delimiter is not part of the message; with `\n`, neither is a `\r` before it.
class SIDECAR_API Lines {
public:
    static constexpr MessageKind kind = MessageKind::text;

    Lines() = default;
    explicit Lines(char delimiter) : delimiter_{delimiter} {}

    [[nodiscard]] Decoded decode(std::span<const std::byte> bytes, std::size_t max_message_bytes)
    {
        // Scans a long line that arrives in pieces once, not anew with each piece.
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
    /// Errors: bad_message if the payload has the delimiter in it or, with `\n`, ends in `\r`.
    [[nodiscard]] Result<void> check_send(std::span<const std::byte> payload) const;

private:
    char delimiter_ = '\n';
    std::size_t scanned_ = 0;
};

namespace detail {
/// Encodes a payload without head and tail.
struct BareEncoding {
    void encode(std::vector<std::byte>& out, std::span<const std::byte> payload) const
    {
        append(out, payload);
    }
    void encode_head(std::vector<std::byte>&, std::span<const std::byte>) const {}
    void encode_tail(std::vector<std::byte>&, std::span<const std::byte>) const {}
};
} // namespace detail

/// No framing: each message is the bytes that have arrived, in pieces of at most the message limit.
/// There is no empty message: to send one sends nothing.
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
        if (N > max_message_bytes) // check() reports it before the connect
            detail::throw_too_big(N, max_message_bytes);
        if (bytes.size() < N)
            return {.payload = bytes, .missing_bytes = N - bytes.size()};
        return {.is_complete = true, .payload = bytes.first(N), .consumed_bytes = N};
    }
    /// Errors: bad_options if N exceeds the limit.
    [[nodiscard]] Result<void> check(std::size_t max_message_bytes) const
    {
        if (N > max_message_bytes)
            return detail::bad_framing("messages of " + std::to_string(N) + " bytes, the limit is "
                                       + std::to_string(max_message_bytes));
        return {};
    }
    /// Errors: bad_message for any other size.
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
