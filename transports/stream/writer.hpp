// The writing half of a connection: batches through an Encoder into a Stream, and what the protocol
// has to say in between. Private to the transports.
#pragma once

#include "stream.hpp"

#include <sidecar/loop_event.hpp>
#include <sidecar/transports/detail/codec.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace sidecar::stream {

/// Writes messages in order, control bytes (a pong, a close) between them or between the fragments of
/// one, and nothing behind the last word. One per connection, owned by its transport and by its own writing in the
/// background. Side: the loop's thread.
///
/// Invariants: one write_some at a time; after finish() at most the rest of the message, or of the
/// fragment, under way and the last word go out; after the first error nothing does. Memory for encoded messages is
/// lent by the thread while there is something to write, so an idle link keeps none.
class Writer : public std::enable_shared_from_this<Writer> {
public:
    explicit Writer(std::shared_ptr<Stream> stream);
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;
    ~Writer();

    /// Writes the batch and marks its messages as the system takes them, so that what a failure or
    /// a stop leaves unsent is counted exactly. Throws system_error: the stream's, or
    /// operation_aborted where finish() came first.
    [[nodiscard]] Task<> write(Batch batch, Encoder& encoder);
    /// Sends bytes of the protocol's own as soon as the message or fragment under way is out. Where
    /// max_answers wait already, in place of the last of them, so that a peer that asks and never
    /// reads makes nothing grow. Without effect after finish().
    void answer(std::span<const std::byte> bytes);
    static constexpr std::size_t max_answers = 16;
    /// How long our answer to the peer's end may take: the application is to hear of the end now.
    static constexpr Duration end_answer_time = std::chrono::milliseconds{200};
    /// Sends bytes of the protocol's own likewise, but nothing takes their place. One at a time:
    /// wait_written() first.
    void ask(std::span<const std::byte> bytes);
    /// Sends the last word (may be empty), likewise; messages that have not begun are not sent. A
    /// second call has no effect.
    void finish(std::span<const std::byte> last_word);
    /// Waits until all that was answered, and the last word, are written. False: the deadline came
    /// first. Throws system_error where writing has failed. Any number may wait.
    [[nodiscard]] Task<bool> wait_written(Context ctx, TimePoint deadline);
    /// Waits likewise, then ends the stream's sending half (over TLS with close_notify). False: the
    /// deadline came first.
    [[nodiscard]] Task<bool> shut_down(Context ctx, TimePoint deadline);

    /// How many bytes the system has taken so far.
    [[nodiscard]] std::uint64_t taken_bytes() const noexcept { return taken_bytes_; }
    /// Bytes of the protocol's own that are not written yet.
    [[nodiscard]] std::size_t queued_bytes() const noexcept
    {
        return control_.size() + question_.size() + sending_.size();
    }
    /// Memory beyond the object itself.
    [[nodiscard]] std::size_t held_bytes() const noexcept
    {
        return (chunk_ ? chunk_->capacity_bytes() : 0) + control_.capacity() + question_.capacity()
               + sending_.capacity();
    }
    /// Why nothing can be written any more, if so.
    [[nodiscard]] error_code error() const noexcept { return error_; }

private:
    using Pieces = std::array<boost::asio::const_buffer, Chunk::max_pieces>;

    [[nodiscard]] Task<> pump(const Batch* batch);
    [[nodiscard]] std::span<const boost::asio::const_buffer> next(Pieces& pieces);
    void took(std::size_t bytes, const Batch* batch);
    [[nodiscard]] std::size_t next_boundary(std::size_t at) const;
    [[nodiscard]] static Task<> pump_in_background(std::shared_ptr<Writer> self);
    [[nodiscard]] static Task<> shut_down_in_background(std::shared_ptr<Writer> self);
    void start_pumping();

    const std::shared_ptr<Stream> stream_; // sidecar side
    std::unique_ptr<Chunk> chunk_;         // sidecar side; null: no message is being written
    std::uint64_t taken_bytes_ = 0;        // sidecar side
    std::size_t written_ = 0;              // sidecar side; bytes of the chunk
    std::size_t marked_ = 0;               // sidecar side; messages of it
    std::vector<std::byte> control_;       // sidecar side; answers and the last word, not begun
    std::size_t last_answer_at_ = 0;       // sidecar side; in control_
    std::size_t answers_ = 0;              // sidecar side; in control_
    std::vector<std::byte> question_;      // sidecar side; of ask(); the same
    std::vector<std::byte> sending_;       // sidecar side; control bytes that are being written
    std::size_t sent_ = 0;                 // sidecar side; of those
    Waiters waiters_;                      // sidecar side
    error_code error_;                     // sidecar side
    bool is_pumping_ = false;              // sidecar side
    bool is_finished_ = false;             // sidecar side
    bool is_shut_ = false;                 // sidecar side; the stream's sending half
};

} // namespace sidecar::stream
