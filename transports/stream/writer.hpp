// The writing half of a connection: batches through an Encoder into a Stream, and control bytes of
// the protocol between them. Private to the transports.
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

/// Writes messages in order, control bytes (a pong, a close) between them or between fragments of
/// one, and nothing after the last word (a close frame). One per connection; its transport owns it,
/// and so does its background writing. Side: the loop's thread.
///
/// Invariants: one write_some at a time; after finish() at most the rest of the current message or
/// fragment and the last word are sent; after the first error nothing is. The writer takes memory
/// for encoded messages from its thread and releases it afterwards, so an idle link keeps none.
class Writer : public std::enable_shared_from_this<Writer> {
public:
    explicit Writer(std::shared_ptr<Stream> stream);
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;
    ~Writer();

    /// Writes the batch and marks messages as the system takes them, so that the count of unsent
    /// messages is exact after a failure or a stop. Throws system_error: the stream's, or
    /// operation_aborted if finish() came first.
    [[nodiscard]] Task<> write(Batch batch, Encoder& encoder);
    /// Sends control bytes after the current message or fragment. If max_answers are already
    /// waiting, they replace the last one, so that a peer that asks and never reads cannot make
    /// memory grow. Has no effect after finish().
    void answer(std::span<const std::byte> bytes);
    static constexpr std::size_t max_answers = 16;
    /// The longest wait for our answer to the peer's close, since the application is waiting to
    /// hear of it.
    static constexpr Duration end_answer_time = std::chrono::milliseconds{200};
    /// Sends control bytes after the current message or fragment; answers never replace them. One
    /// at a time: await wait_written() first.
    void ask(std::span<const std::byte> bytes);
    /// Whether the bytes of ask() are not begun; finish() drops them.
    [[nodiscard]] bool has_question() const noexcept { return !question_.empty(); }
    /// Sends the last word (may be empty) after the current message or fragment, and no message
    /// that has not begun. A second call has no effect.
    void finish(std::span<const std::byte> last_word);
    /// Waits until all control bytes and the last word are written. False: the deadline passed
    /// first. Throws system_error if writing failed. Any number of coroutines may wait.
    [[nodiscard]] Task<bool> wait_written(Context ctx, TimePoint deadline);
    /// Waits as wait_written() does, then ends the stream's sending half (over TLS with
    /// close_notify). False: the deadline passed first. Throws system_error if writing failed.
    [[nodiscard]] Task<bool> shut_down(Context ctx, TimePoint deadline);

    /// The number of bytes that the system has taken.
    [[nodiscard]] std::uint64_t taken_bytes() const noexcept { return taken_bytes_; }
    /// The number of control bytes that are not written yet.
    [[nodiscard]] std::size_t queued_bytes() const noexcept
    {
        return control_.size() + question_.size() + sending_.size();
    }
    /// Bytes allocated outside the object.
    [[nodiscard]] std::size_t held_bytes() const noexcept
    {
        return (chunk_ ? chunk_->capacity_bytes() : 0) + control_.capacity() + question_.capacity()
               + sending_.capacity();
    }
    /// The error that ended all writing, if any.
    [[nodiscard]] error_code error() const noexcept { return error_; }

private:
    using Pieces = std::array<boost::asio::const_buffer, Chunk::max_pieces>;

    [[nodiscard]] Task<> pump(const Batch* batch);
    [[nodiscard]] bool may_try(const Batch* batch) noexcept;
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
    std::size_t marked_ = 0;               // sidecar side; messages of the chunk
    std::vector<std::byte> control_;       // sidecar side; answers and the last word, not begun
    std::size_t last_answer_at_ = 0;       // sidecar side; in control_
    std::size_t answers_ = 0;              // sidecar side; in control_
    std::vector<std::byte> question_;      // sidecar side; bytes of ask(), not begun
    std::vector<std::byte> sending_;       // sidecar side; control bytes being written
    std::size_t sent_ = 0;                 // sidecar side; bytes of sending_
    Waiters waiters_;                      // sidecar side
    error_code error_;                     // sidecar side
    std::uint8_t tries_ = 0;               // sidecar side; try_write() calls in a row
    bool is_pumping_ = false;              // sidecar side
    bool is_finished_ = false;             // sidecar side
    bool is_shut_ = false;                 // sidecar side; shutdown() of the stream has ended
};

} // namespace sidecar::stream
