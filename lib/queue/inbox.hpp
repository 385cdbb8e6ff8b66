// The queue from the loop to the application: messages in a ring, and beside it the few events
// about links, each at its place in the order.
#pragma once

#include "base/notify_fd.hpp"
#include "base/wait_point.hpp"
#include "base/yield_before_sleep.hpp"
#include "queue/record_ring.hpp"

#include <sidecar/detail/message_handler.hpp>
#include <sidecar/error.hpp>
#include <sidecar/event.hpp>
#include <sidecar/message.hpp>

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace sidecar::detail {

class Inbox {
public:
    Inbox(const QueueLimits& limits, Duration spin, AppClock& clock)
        : ring_{limits}, clock_{clock}, spin_{spin}
    {
    }

    // --- sidecar side
    [[nodiscard]] bool has_room(std::size_t payload_bytes) const noexcept
    {
        return ring_.has_room(payload_bytes);
    }
    /// Seen by the receiver from publish() on, at the latest: a long batch is published bit by bit,
    /// so that a receiver that is awake can be at work meanwhile. One that sleeps is woken for more
    /// than a bit.
    [[nodiscard]] bool push(LinkId link, MessageKind kind, std::span<const std::byte> payload)
    {
        if (!ring_.push(link, kind, payload))
            return false;
        if (ring_.unpublished_bytes() >= publish_bytes) [[unlikely]]
            publish_some();
        return true;
    }
    /// A link with such a limit shares this inbox. One message of the largest limit always finds
    /// room beside what reserve() and receive_room() hold, or a link would wait for what another's
    /// peer does not send.
    void share_with(std::size_t max_message_bytes) noexcept
    {
        largest_limit_ = std::max(largest_limit_, max_message_bytes);
    }
    /// See RecordRing: a large message that is filled in place.
    [[nodiscard]] Block reserve(std::size_t payload_bytes)
    {
        return ring_.reserve(payload_bytes, largest_limit_);
    }
    [[nodiscard]] bool push_reserved(LinkId link, MessageKind kind, Block& block,
                                     std::size_t payload_bytes)
    {
        return ring_.push_reserved(link, kind, block, payload_bytes);
    }
    void cancel_reserved(std::size_t payload_bytes) noexcept
    {
        ring_.cancel_reserved(payload_bytes);
    }
    /// See RecordRing: what is received there is not copied.
    [[nodiscard]] std::span<std::byte> receive_room(std::size_t at_least)
    {
        // A receiver that is close behind still finds in the cache what it reads, and gives back
        // memory that is there too.
        if (ring_.is_far_ahead(at_least))
            (void)ahead_linger_.until([&] { return !ring_.is_far_ahead(at_least); },
                                      ring_.pushed_bytes_so_far());
        return ring_.receive_room(at_least, largest_limit_);
    }
    /// Wakes a sleeping receiver if something was pushed since the last time.
    void publish()
    {
        if (!ring_.is_published() || unannounced_)
            publish_all();
    }
    void push_event(Event::Kind kind, LinkId link, std::optional<Failure> failure);
    /// Asks for `on_room` once the consumer has freed about half; true if it makes no sense to wait
    /// any more.
    [[nodiscard]] bool want_room(std::size_t payload_bytes);
    /// Called, once per want_room(), on the application's thread: must only post.
    std::function<void()> on_room;

    // --- both
    /// Nothing more will come: who has taken what is queued gets `stopped`.
    void end();
    /// The same, for those who can be woken from there. Side: any thread and any signal handler.
    void end_from_signal() noexcept;
    [[nodiscard]] bool ended() const noexcept { return ended_.load(std::memory_order_seq_cst); }

    // --- app side, any thread
    /// The next message; passes over `up`, returns the failure of a `down`.
    [[nodiscard]] Result<Message> receive(Duration timeout);
    [[nodiscard]] Result<Event> next_event(Duration timeout);
    /// Hands over up to `limit` messages that are there now. What the handler throws passes
    /// through, its message counted as taken.
    [[nodiscard]] Result<std::size_t> poll(MessageHandler handler, std::size_t limit);
    /// From now on `fd` is readable while something is queued or the end has come.
    void notify_through(std::shared_ptr<const NotifyFd> fd);
    /// What receive() says when nothing is queued and no link can bring anything; empty while one
    /// can.
    void set_hopeless(std::optional<Failure> why);

    /// Something was sent, so perhaps there is soon something to receive.
    void expect_answer() noexcept { linger_.expect_answer(1); }

    [[nodiscard]] const RecordRing& ring() const noexcept { return ring_; }
    [[nodiscard]] std::uint64_t wakeups() const noexcept
    {
        return wakeups_.load(std::memory_order_relaxed);
    }

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
    auto wait_and_take(Duration timeout, Take take) -> decltype(take());
    void publish_all();
    void publish_some();
    [[nodiscard]] Message take_message();
    [[nodiscard]] TimePoint deadline(Duration timeout, std::optional<TimePoint>& known) const;
    void raise_fd();
    void settle_fd();

    static constexpr std::size_t publish_bytes = 4u << 10;
    static constexpr unsigned bits_to_wake_for = 32;

    RecordRing ring_;
    AppClock& clock_;
    // both: constant; a receiver looks again and again so long before it sleeps
    const Duration spin_;
    WaitPoint arrived_;             // both
    YieldBeforeSleep ahead_linger_; // sidecar side
    std::size_t largest_limit_ = 0; // sidecar side
    unsigned unannounced_ = 0;      // sidecar side; publications for which nobody was woken

    mutable std::mutex events_mutex_;
    std::deque<LinkEvent> events_;            // both: guarded by events_mutex_
    std::optional<Failure> hopeless_;         // both: guarded by events_mutex_
    std::atomic<std::size_t> event_count_{0}; // both: atomic
    std::atomic<bool> is_hopeless_{false};    // both: atomic
    std::atomic<bool> ended_{false};          // both: atomic
    std::atomic<bool> room_wanted_{false};    // both: atomic
    std::atomic<std::uint64_t> wakeups_{0};   // both: atomic

    YieldBeforeSleep linger_;                 // app side
    std::atomic<bool> consuming_{false};      // app side: atomic; one thread consumes at a time
    std::atomic<std::thread::id> consumer_{}; // app side: atomic; who it is
    WaitPoint consumer_free_;                 // app side

    std::mutex fd_mutex_;
    std::shared_ptr<const NotifyFd> fd_;           // both: guarded by fd_mutex_
    bool fd_raised_ = false;                       // both: guarded by fd_mutex_
    std::atomic<const NotifyFd*> raw_fd_{nullptr}; // both: atomic; fd_, which once set stays
};

} // namespace sidecar::detail
