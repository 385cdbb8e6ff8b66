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
/// Bytes that have come and are not consumed stand in unread(): in the sink's memory between a
/// receive and the end of the pass over it, else in a buffer of the reader's own. While the link
/// waits they are always in its own, since the sink's memory is that of all links. A large message
/// that has begun is received where the application will read it.
///
/// Memory: the own buffer at most doubles with what has come, whatever was announced; a link that
/// waits keeps no more than kept_bytes and twice what is unread.
class Reader {
public:
    /// Waits for at least one message, then puts all that have come, up to a bound. Throws what the
    /// decoder throws, and system_error for what the stream says; after the latter unfinished()
    /// tells what had come of a message. What had come before an abort() is put first.
    [[nodiscard]] Task<> read(Stream& stream, Sink& sink, Decoder& decoder);

    /// Bytes that were read before, by a handshake; they come before all others.
    void push(std::span<const std::byte> bytes);

    /// What has come and is no message yet.
    [[nodiscard]] std::span<const std::byte> unfinished() const noexcept
    {
        return is_in_place() ? in_place_.first(in_place_bytes_) : unread();
    }

    /// Memory beyond the object itself.
    [[nodiscard]] std::size_t held_bytes() const noexcept { return buffer_.capacity(); }

    // --- while the sink has no room, for a protocol that must see more than the next message
    /// A large message has begun in the sink's memory: read() takes in its rest without more room.
    [[nodiscard]] bool is_in_place() const noexcept { return in_place_.data() != nullptr; }
    /// Takes in what is there already, as long as no more than `max_bytes` have come and are not
    /// consumed. What the stream says besides is thrown by a later read(), in its order.
    void read_ahead(Stream& stream, std::size_t max_bytes);
    /// What the decoder has not been shown yet, or has not consumed. Lifetime: until the next call.
    [[nodiscard]] std::span<const std::byte> undecoded() const noexcept
    {
        return unread().subspan(refused_ ? refused_->bytes : 0);
    }
    /// How many bytes of the stream came before undecoded().
    [[nodiscard]] std::uint64_t undecoded_at() const noexcept
    {
        return consumed_bytes_ + (refused_ ? refused_->bytes : 0);
    }

    /// How much one read() takes in before it hands over.
    static constexpr std::size_t batch_bytes = 512u << 10;
    /// Memory that a link may keep while it waits.
    static constexpr std::size_t kept_bytes = 16u << 10;

private:
    struct Refused { // a message that the sink had no room for
        Found found;
        std::optional<std::size_t> offset; // of its payload in unread(), if it stands there
        std::size_t bytes;                 // that it takes of unread()
    };

    [[nodiscard]] std::span<const std::byte> unread() const noexcept;
    [[nodiscard]] bool put_refused(Sink& sink);
    [[nodiscard]] bool pass_on(Sink& sink, Decoder& decoder);
    [[nodiscard]] std::size_t receive(Stream& stream, Sink& sink, error_code& ec);
    [[nodiscard]] boost::asio::mutable_buffer prepare_wait();
    void waited(std::size_t got);
    void consume(std::size_t bytes);

    void begin_in_place(Sink& sink, const Found& begun);
    [[nodiscard]] Task<> read_in_place(Stream& stream, Sink& sink, Decoder& decoder);
    [[nodiscard]] ReadBuffers rest_in_place();
    void received_in_place(Decoder& decoder, std::size_t got);
    [[nodiscard]] std::size_t commit_in_place(Sink& sink);

    boost::beast::flat_buffer buffer_;   // sidecar side
    std::span<const std::byte> in_sink_; // sidecar side; what receive() put there
    std::optional<Refused> refused_;     // sidecar side
    std::size_t missing_bytes_ = 0;      // sidecar side; of the next message, if known
    std::size_t wait_bytes_ = 256;       // sidecar side; grows with the traffic
    std::span<std::byte> in_place_;      // sidecar side; null: no message is received in place
    std::size_t in_place_bytes_ = 0;     // sidecar side; that have come of it
    MessageKind in_place_kind_{};        // sidecar side
    std::uint64_t consumed_bytes_ = 0;   // sidecar side; of the stream, in place or not
    error_code ahead_error_;             // sidecar side; what read_ahead() met
};

} // namespace sidecar::stream
