// The queue from the loop to the application: messages in a ring, and beside it the few events about links, each
// at its place in the order.
#pragma once

#include "notify_fd.hpp"
#include "record_ring.hpp"
#include "wait_point.hpp"

#include <sidecar/detail/message_handler.hpp>
#include <sidecar/message.hpp>

#include <atomic>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace sidecar::detail {

class Inbox {
public:
    Inbox(const QueueLimits& limits, AppClock& clock) : ring_{limits}, clock_{clock} {}

    // --- sidecar side
    [[nodiscard]] bool has_room(std::size_t payload_bytes) const noexcept { return ring_.has_room(payload_bytes); }
    [[nodiscard]] bool push(LinkId link, MessageKind kind, std::span<const std::byte> payload)
    {
        return ring_.push(link, kind, payload);
    }
    /// Wakes a sleeping receiver if something was pushed since the last time.
    void publish();
    void push_event(Event::Kind kind, LinkId link, std::optional<Failure> failure);
    /// Asks for `on_room` once the consumer has freed about half; true if it makes no sense to wait any more.
    [[nodiscard]] bool want_room(std::size_t payload_bytes);
    /// Called, once per want_room(), on the application's thread: must only post.
    std::function<void()> on_room;

    // --- both
    /// Nothing more will come: who has taken what is queued gets `stopped`.
    void end();
    [[nodiscard]] bool ended() const noexcept { return ended_.load(std::memory_order_seq_cst); }

    // --- app side, any thread
    /// The next message; passes over `up`, returns the failure of a `down`.
    [[nodiscard]] Result<Message> receive(TimePoint deadline);
    [[nodiscard]] Result<Event> next_event(TimePoint deadline);
    /// Hands over up to `limit` messages that are there now. What the handler throws passes through, its message counted as taken.
    [[nodiscard]] Result<std::size_t> poll(MessageHandler handler, std::size_t limit);
    /// From now on `fd` is readable while something is queued or the end has come.
    void notify_through(std::shared_ptr<const NotifyFd> fd);
    /// What receive() says when nothing is queued and no link can bring anything; empty while one can.
    void set_hopeless(std::optional<Failure> why);

    [[nodiscard]] const RecordRing& ring() const noexcept { return ring_; }
    [[nodiscard]] std::uint64_t wakeups() const noexcept { return wakeups_.load(std::memory_order_relaxed); }

private:
    struct LinkEvent {
        std::uint64_t position; // in the ring: it comes before the record there
        Event::Kind kind;
        LinkId link;
        std::optional<Failure> failure;
    };
    class Consumer;
    enum class Next { nothing, message, event };

    [[nodiscard]] Next next(); // consumer
    [[nodiscard]] LinkEvent take_event();
    void took(); // after messages were popped
    [[nodiscard]] bool has_something() const noexcept;
    [[nodiscard]] Failure nothing_left() const;
    template <class Take>
    auto wait_and_take(TimePoint deadline, Take take) -> decltype(take());
    void raise_fd();
    void settle_fd();

    RecordRing ring_;
    AppClock& clock_;
    WaitPoint arrived_;                             // both
    std::uint64_t published_position_ = 0;          // sidecar side

    mutable std::mutex events_mutex_;
    std::deque<LinkEvent> events_;                  // both: guarded by events_mutex_
    std::optional<Failure> hopeless_;               // both: guarded by events_mutex_
    std::atomic<std::size_t> event_count_{0};       // both: atomic
    std::atomic<bool> is_hopeless_{false};          // both: atomic
    std::atomic<bool> ended_{false};                // both: atomic
    std::atomic<bool> room_wanted_{false};          // both: atomic
    std::atomic<std::uint64_t> wakeups_{0};         // both: atomic

    std::atomic<bool> consuming_{false};            // app side: atomic; one thread consumes at a time
    std::atomic<std::thread::id> consumer_{};       // app side: atomic; who it is
    WaitPoint consumer_free_;                       // app side

    std::mutex fd_mutex_;
    std::shared_ptr<const NotifyFd> fd_;            // both: guarded by fd_mutex_
    bool fd_raised_ = false;                        // both: guarded by fd_mutex_
    std::atomic<bool> has_fd_{false};               // both: atomic
};

} // namespace sidecar::detail
