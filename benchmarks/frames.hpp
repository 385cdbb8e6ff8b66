// Two framings of messages in a stream, by hand: RFC 6455 frames, and a length of four bytes (big
// endian).
#pragma once

#include "harness.hpp"
#include "tls.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>

#include <errno.h>
#include <sys/socket.h>

namespace bench {

struct Head {
    std::size_t head_bytes = 0;
    std::size_t payload_bytes = 0;
    unsigned opcode = 2;
    bool is_masked = false; // the key is the head's last four bytes
    bool is_final = true;
};

inline std::uint64_t big_endian(const std::byte* from, unsigned width) noexcept
{
    std::uint64_t value = 0;
    for (unsigned i = 0; i < width; ++i)
        value = value << 8 | static_cast<std::uint64_t>(from[i]);
    return value;
}

/// Parses the head at the front of the bytes; empty if the head is not complete yet.
inline std::optional<Head> parse_head(Protocol protocol, Bytes bytes) noexcept
{
    if (protocol == Protocol::tcp) {
        if (bytes.size() < 4)
            return std::nullopt;
        return Head{.head_bytes = 4,
                    .payload_bytes = static_cast<std::size_t>(big_endian(bytes.data(), 4))};
    }
    if (bytes.size() < 2)
        return std::nullopt;
    const auto first = static_cast<unsigned>(bytes[0]), second = static_cast<unsigned>(bytes[1]);
    const auto width = (second & 0x7f) == 127 ? 8u : (second & 0x7f) == 126 ? 2u : 0u;
    Head head{.head_bytes = 2 + width + ((second & 0x80) != 0 ? 4 : 0),
              .payload_bytes = second & 0x7f,
              .opcode = first & 0xf,
              .is_masked = (second & 0x80) != 0,
              .is_final = (first & 0x80) != 0};
    if (bytes.size() < head.head_bytes)
        return std::nullopt;
    if (width != 0)
        head.payload_bytes = static_cast<std::size_t>(big_endian(bytes.data() + 2, width));
    return head;
}

/// Makes the head of a message of this size; a client's frames carry `mask`.
inline std::string make_head(Protocol protocol, std::size_t payload_bytes, unsigned opcode = 2,
                             std::string_view mask = {})
{
    std::string text;
    const auto put_big_endian = [&](unsigned width) {
        for (unsigned i = width; i-- > 0;)
            text += static_cast<char>(payload_bytes >> (8 * i) & 0xff);
    };
    if (protocol == Protocol::tcp) {
        put_big_endian(4);
        return text;
    }
    const unsigned width = payload_bytes < 126 ? 0 : payload_bytes < 65536 ? 2 : 8;
    text += static_cast<char>(0x80 | opcode);
    text += static_cast<char>((mask.empty() ? 0 : 0x80)
                              | (width == 0   ? payload_bytes
                                 : width == 2 ? 126u
                                              : 127u));
    put_big_endian(width);
    return text.append(mask);
}

inline void apply_mask(std::byte* data, std::size_t size, const std::byte* key) noexcept
{
    for (std::size_t i = 0; i < size; ++i)
        data[i] ^= key[i & 3];
}

inline void send_all(int fd, std::string_view bytes)
{
    while (!bytes.empty()) {
        const auto n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n <= 0)
            throw std::runtime_error{"send failed"};
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
}

/// A blocking socket, optionally with TLS, and a buffer of bytes that were read and not yet taken.
class Stream {
public:
    Stream(int fd, const Job& job, TlsEnd::Side side)
        : fd_{fd}, protocol_{job.protocol}, size_{std::max(least, 2 * (job.payload_bytes + least))}
    {
        if (job.is_secure)
            tls_.emplace(fd, side);
    }
    [[nodiscard]] int fd() const noexcept { return fd_; }
    void send(std::string_view bytes)
    {
        if (tls_)
            tls_->write(bytes);
        else
            send_all(fd_, bytes);
    }
    /// Sends each of the parts, which have equal sizes, in a separate TLS record.
    void send_records(std::string_view parts, std::size_t part_bytes)
    {
        tls_.value().write_records(parts, part_bytes);
    }
    [[nodiscard]] std::span<std::byte> unread() noexcept
    {
        return {buffer_.get() + begin_, end_ - begin_};
    }
    void consume(std::size_t bytes) noexcept { begin_ += bytes; }

    /// Waits for more bytes; false at the end of the stream.
    bool fill(int flags = 0)
    {
        if (begin_ == end_) {
            begin_ = end_ = 0;
        } else if (size_ - end_ < size_ / 2) {
            std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
            end_ -= std::exchange(begin_, 0);
        }
        const auto room = std::min(size_ - end_, at_once);
        if (tls_)
            return fill_from_tls(room, flags);
        const auto n = ::recv(fd_, buffer_.get() + end_, room, flags);
        if (n > 0)
            end_ += static_cast<std::size_t>(n);
        return n > 0 || (n < 0 && errno == EAGAIN);
    }
    /// Waits for messages and calls `handler(head, payload)` with each, as long as that returns
    /// true. False at the end of the stream.
    template <class Handler>
    bool each(Handler handler)
    {
        for (;;) {
            for (;;) {
                const auto bytes = unread();
                const auto head = parse_head(protocol_, bytes);
                if (!head || bytes.size() - head->head_bytes < head->payload_bytes)
                    break;
                consume(head->head_bytes + head->payload_bytes);
                if (!handler(*head, bytes.subspan(head->head_bytes, head->payload_bytes)))
                    return true;
            }
            if (!fill())
                return false;
        }
    }
    /// Reads up to and including the empty line.
    std::string read_http_head()
    {
        for (;;) {
            const auto bytes = unread();
            const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
            if (const auto end = text.find("\r\n\r\n"); end != text.npos) {
                consume(end + 4);
                return std::string{text.substr(0, end + 4)};
            }
            if (!fill())
                throw std::runtime_error{"no handshake"};
        }
    }

private:
    bool fill_from_tls(std::size_t room, int flags)
    {
        std::byte first{};
        if ((flags & MSG_DONTWAIT) != 0 && ::recv(fd_, &first, 1, flags | MSG_PEEK) < 0)
            return errno == EAGAIN;
        const auto got = tls_->read(buffer_.get() + end_, room);
        end_ += got;
        return got != 0;
    }

    static constexpr std::size_t least = 128u << 10, at_once = 64u << 10;
    int fd_;
    std::optional<TlsEnd> tls_;
    Protocol protocol_;
    std::size_t size_; // twice the largest message, so that one that is moved to the front fits
    std::unique_ptr<std::byte[]> buffer_{new std::byte[size_]};
    std::size_t begin_ = 0, end_ = 0;
};

} // namespace bench
