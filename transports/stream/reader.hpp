// The reading half of a connection: from a Stream through a Decoder into a Sink. Private to the
// transports.
#pragma once

#include "stream.hpp"

#include <sidecar/transports/detail/codec.hpp>

#include <boost/beast/core/flat_buffer.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace sidecar::stream {

/// Reads ahead, so that a burst costs few system calls, and puts whole batches. One per connection,
/// owned by its transport.
///
/// unread() holds the bytes that arrived and are not consumed. Between a receive and the end of the
/// pass over it they are in the sink's memory, else in the reader's own buffer. All links share the
/// sink's memory, so a waiting link uses only its own buffer. A large message that has begun is
/// received in the block where the application reads it: in the ring the messages of other links
/// would queue behind it.
///
/// Memory: the own buffer at most doubles with the bytes that arrived, whatever length was
/// announced. A waiting link keeps at most kept_bytes and twice the unread bytes.
class Reader {
public:
    /// Waits for a message, then puts all that have arrived, up to about batch_bytes. Returns
    /// without one when the sink has no room, after batch_bytes that complete no message, or when
    /// the decoder says that none follows. Throws the decoder's exceptions, and system_error for
    /// errors of the stream; after the latter unfinished() returns the part of a message that
    /// arrived. Messages received before an abort() are put first.
    [[nodiscard]] Task<> read(Stream& stream, Sink& sink, Decoder& decoder);

    /// Whether the last read() put a message, also if it threw after that.
    [[nodiscard]] bool has_put() const noexcept { return has_put_; }

    /// Adds bytes that a handshake has already read; they precede all others.
    void push(std::span<const std::byte> bytes);

    /// The bytes that arrived and are not a whole message yet.
    [[nodiscard]] std::span<const std::byte> unfinished() const noexcept
    {
        return is_in_place() ? in_place_.first(in_place_bytes_) : unread();
    }

    /// Bytes allocated outside the object.
    [[nodiscard]] std::size_t held_bytes() const noexcept { return buffer_.capacity(); }

    // --- while the sink has no room, for a protocol that must see more than the next message
    /// Whether a large message has begun in the sink's memory: read() receives its rest without
    /// more room.
    [[nodiscard]] bool is_in_place() const noexcept { return in_place_.data() != nullptr; }
    /// Receives without waiting while fewer than `max_bytes` bytes are unconsumed; the last step of
    /// 16 KiB may exceed that. A later read() throws an error of the stream, behind the bytes
    /// before it.
    void read_ahead(Stream& stream, std::size_t max_bytes);
    /// The bytes that the decoder has not seen or not consumed. Lifetime: until the next call.
    [[nodiscard]] std::span<const std::byte> undecoded() const noexcept
    {
        return unread().subspan(refused_ ? refused_->bytes : 0);
    }
    /// The position of undecoded() in the stream.
    [[nodiscard]] std::uint64_t undecoded_at() const noexcept
    {
        return consumed_bytes_ + (refused_ ? refused_->bytes : 0);
    }

    /// One read() receives about so much before it returns.
    static constexpr std::size_t batch_bytes = 512u << 10;
    /// The most memory that a waiting link keeps, apart from unread bytes.
    static constexpr std::size_t kept_bytes = 16u << 10;

private:
    struct Refused { // a message that the sink had no room for
        Fragment found;
        std::optional<std::size_t> offset; // of its payload in unread(), if it is there
        std::size_t bytes;                 // its size in unread()
    };

    [[nodiscard]] std::span<const std::byte> unread() const noexcept;
    [[nodiscard]] bool put_refused(Sink& sink);
    [[nodiscard]] bool decode(Sink& sink, Decoder& decoder);
    [[nodiscard]] std::size_t receive(Stream& stream, Sink& sink, error_code& ec);
    [[nodiscard]] boost::asio::mutable_buffer prepare_wait();
    void waited(std::size_t got);
    void consume(std::size_t bytes);

    void begin_in_place(Sink& sink, const Fragment& begun);
    [[nodiscard]] Task<> read_in_place(Stream& stream, Sink& sink, Decoder& decoder);
    [[nodiscard]] ReadBuffers rest_in_place();
    void received_in_place(Decoder& decoder, std::size_t got);
    [[nodiscard]] std::size_t commit_in_place(Sink& sink);

    boost::beast::flat_buffer buffer_;   // sidecar side
    std::span<const std::byte> in_sink_; // sidecar side; filled by receive()
    std::optional<Refused> refused_;     // sidecar side
    std::size_t missing_bytes_ = 0;      // sidecar side; of the next message, if known
    std::size_t wait_bytes_ = 64;        // sidecar side; grows with the traffic
    std::span<std::byte> in_place_;      // sidecar side; null: no message is received in place
    std::size_t in_place_bytes_ = 0;     // sidecar side; received so far
    MessageKind in_place_kind_{};        // sidecar side
    std::uint64_t consumed_bytes_ = 0;   // sidecar side; of the stream, in place or not
    error_code ahead_error_;             // sidecar side; found by read_ahead()
    bool has_put_ = false;               // sidecar side; of the last read()
};

} // namespace sidecar::stream
