// The queue from the loop to the application: messages of all links and what happened to these, in
// one order.
#pragma once

#include "base/wait_point.hpp"
#include "base/yield_before_sleep.hpp"
#include "queue/arrivals.hpp"
#include "queue/connection_numbers.hpp"
#include "queue/consumer_right.hpp"
#include "queue/link_events.hpp"
#include "queue/message_ages.hpp"
#include "queue/ready_descriptor.hpp"
#include "queue/receive_memory.hpp"
#include "queue/record_ring.hpp"
#include "queue/side_queue.hpp"
#include "queue/terminal_failure.hpp"

#include <sidecar/detail/message_handler.hpp>
#include <sidecar/error.hpp>
#include <sidecar/event.hpp>
#include <sidecar/message.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>

namespace sidecar::detail {

/// Puts the parts together: a ring of messages, memory to receive in, what stands beside the ring, and
/// those who wait (receivers for a message, links for free space). Owned by the run. The loop is the
/// only producer; of the application's threads one at a time consumes. Invariant: everything that was
/// put in comes out, in order, before `stopped` or a terminal failure is said; and the memory of
/// messages, whole or not, stays within the limits, of the inbox and of the links that have their own. Once a receiver has found nothing for half a
/// second, there stay of what is beside the ring two buffers to receive in and a block or some, of
/// 256 KiB each.
class Inbox {
public:
    /// So long a consumer finds nothing before what a burst took of memory goes back.
    static constexpr Duration idle_time = std::chrono::milliseconds{500};

    Inbox(const QueueLimits& limits, Duration spin, AppClock& clock)
        : ring_{limits},
          receive_memory_{ring_},
          clock_{clock},
          spin_{spin},
          side_{clock},
          arrivals_{clock.is_virtual()},
          consumer_{clock.is_virtual()}
    {
    }

    // --- sidecar side: messages
    /// Takes a message in; one that stands in receive_buffer() is not copied. False: no space,
    /// nothing changed. The receiver sees it from publish() on, at the latest: a long batch is
    /// published bit by bit, so that a receiver that is awake can be at work meanwhile. One that
    /// sleeps is woken for more than a bit.
    [[nodiscard]] bool push(LinkId link, MessageKind kind, std::span<const std::byte> payload)
    {
        const bool is_pushed = receive_memory_.is_slice(payload)
                                   ? receive_memory_.push(link, kind, payload)
                                   : ring_.push(link, kind, payload);
        if (!is_pushed)
            return false;
        if (ring_.unpublished_bytes() >= publish_bytes) [[unlikely]]
            publish_some();
        return true;
    }
    /// Wakes a sleeping receiver if something was pushed since the last time.
    void publish()
    {
        if (!ring_.is_published() || producer_.unannounced != 0)
            publish_all();
    }
    /// It stands behind all that was pushed before: its position is set here, and its time if it
    /// is not set yet.
    void push_event(LinkEvent event);
    void push_event(Event::Kind kind, LinkId link, std::optional<Failure> failure)
    {
        push_event(LinkEvent{0, kind, link, std::move(failure)});
    }

    // --- sidecar side: links with a queue of their own
    /// `overflow`: not plain, and resolved. Lifetime: see SideQueue.
    [[nodiscard]] LinkQueue& open_queue(LinkId link, Overflow overflow)
    {
        return side_.open(link, std::move(overflow));
    }
    /// Side: any.
    void close_queue(LinkQueue& queue) noexcept { side_.close(queue); }
    /// Like push(), into this queue.
    [[nodiscard]] SideQueue::Put push_to(LinkQueue& queue, MessageKind kind,
                                         std::span<const std::byte> payload);
    /// Whether a message of this size would be taken. False: on_space is called once it is.
    [[nodiscard]] bool want_room_in(LinkQueue& queue, std::size_t payload_bytes)
    {
        return side_.want_room(queue, payload_bytes, clock_.now());
    }

    // --- sidecar side: memory
    /// A link with such a limit shares this inbox. One message of the largest limit always finds
    /// memory beside what reserve() and receive_buffer() take, or a link would wait for what
    /// another's peer does not send.
    void share_with(std::size_t max_message_bytes) noexcept
    {
        producer_.largest_limit = std::max(producer_.largest_limit, max_message_bytes);
    }
    /// See ReceiveMemory.
    [[nodiscard]] std::span<std::byte> receive_buffer(std::size_t at_least);
    /// A block for a message of this size that is to be filled in place: all of it is counted from
    /// now on, until push_reserved() or cancel_reserved(). Empty when it is too small to be worth it,
    /// or when there is not plenty of memory: what is reserved but has not come takes at most half
    /// of it.
    [[nodiscard]] Block reserve(std::size_t payload_bytes);
    /// False: no space for its record; the block is the caller's still.
    [[nodiscard]] bool push_reserved(LinkId link, MessageKind kind, Block& block,
                                     std::size_t payload_bytes);
    void cancel_reserved(std::size_t payload_bytes) noexcept;

    // --- sidecar side: waiting for space
    /// Whether a message of this size would find space now.
    [[nodiscard]] bool has_space(std::size_t payload_bytes) const noexcept
    {
        return ring_.has_space(payload_bytes);
    }
    /// Asks for one `on_space`. What the consumer freed before is seen after this; so look whether
    /// there is space once more, then wait.
    void ask_for_space() noexcept;
    /// ask_for_space(), and true if it makes no sense to wait any more.
    [[nodiscard]] bool want_space(std::size_t payload_bytes)
    {
        ask_for_space();
        return has_space(payload_bytes) || ended();
    }
    /// Called once after ask_for_space(), when the consumer has freed about half or a link has
    /// released memory. Side: app or sidecar, so it must only post.
    std::function<void()> on_space;

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
    void set_terminal_failure(std::optional<Failure> why);

    /// Whether a receiver would not have to wait.
    [[nodiscard]] bool has_something() const noexcept;

    /// Something was sent, so perhaps there is soon something to receive.
    void expect_answer() noexcept { consumer_.yield.expect_answer(1); }

    [[nodiscard]] const RecordRing& ring() const noexcept { return ring_; }
    [[nodiscard]] const SideQueue& side() const noexcept { return side_; }
    /// Of the ring and of what stands beside it. received = taken + queued + lost, always.
    struct Counts {
        std::uint64_t received = 0, received_bytes = 0, taken = 0, queued = 0, queued_bytes = 0;
        std::uint64_t peak_messages = 0, peak_bytes = 0; ///< the sum of both peaks
        std::array<std::uint64_t, 5> lost{};             ///< by GapReason
        [[nodiscard]] std::uint64_t lost_for(GapReason reason) const noexcept
        {
            return lost[static_cast<std::size_t>(reason)];
        }
    };
    [[nodiscard]] Counts counts() const;
    /// For how long the oldest message waits; zero: none does.
    [[nodiscard]] Duration oldest_age() const;
    /// How old messages were when they were taken.
    [[nodiscard]] Latency ages() const { return consumer_.ages.latency(); }
    [[nodiscard]] std::uint64_t wakeups() const noexcept
    {
        return producer_.wakeups.load(std::memory_order_relaxed);
    }

private:
    class Turn;
    enum class Next { nothing, message, event };

    [[nodiscard]] Next next();
    [[nodiscard]] bool is_final() const noexcept { return ended() || terminal_.is_set(); }
    [[nodiscard]] Failure nothing_left() const;
    /// The message at `position`, as the application sees it.
    [[nodiscard]] MessageView view(std::uint64_t position)
    {
        return ring_.view(position, consumer_.connections.of(ring_.link_of(position)));
    }
    [[nodiscard]] WallTime wall_time(TimePoint at) const;
    /// Of the message at `position`, which has not come before what was told to be before it.
    [[nodiscard]] TimePoint arrival(std::uint64_t position)
    {
        return std::max(arrivals_.of(position), consumer_.told_until);
    }
    void count_taken(TimePoint arrival)
    {
        if (consumer_.ages.count_one()) [[unlikely]]
            consumer_.ages.note(arrival, clock_.now());
    }
    [[nodiscard]] Result<Message> take_message();
    [[nodiscard]] Result<Message> take_copy(std::uint64_t position);
    [[nodiscard]] Result<Message> take_block_of(std::uint64_t position);
    [[nodiscard]] SideQueue::Entry take_beside(SideQueue::Ends ends, bool& is_left);
    void note_beside(SideEntry& entry);
    void publish_ring();
    std::size_t hand_over(MessageHandler handler, std::size_t limit);
    void publish_reads() noexcept;
    void note_idle();
    void wake_space_waiters();
    void publish_all();
    void publish_some();

    static constexpr std::size_t publish_bytes = 4u << 10;
    static constexpr unsigned bits_to_wake_for = 32;
    struct alignas(64) Producer {
        YieldBeforeSleep yield;                // before it runs further ahead of the consumer
        std::size_t largest_limit = 0;         // of a message, of all links
        std::size_t reserved_bytes = 0;        // by reserve()
        unsigned unannounced = 0;              // publications for which nobody was woken
        std::atomic<std::uint64_t> wakeups{0}; // read by anybody
    };

    RecordRing ring_;              // both, each its side
    ReceiveMemory receive_memory_; // sidecar side
    AppClock& clock_;              // both
    const Duration
        spin_;          // both: constant; so long a receiver looks again and again before it sleeps
    Producer producer_; // sidecar side

    alignas(64) SideQueue side_;            // both
    Arrivals arrivals_;                     // both, each its side
    TerminalFailure terminal_;              // both
    std::atomic<bool> ended_{false};        // both: atomic
    std::atomic<bool> space_wanted_{false}; // both: atomic
    WaitPoint arrived_;                     // both; receivers sleep here
    ReadyDescriptor ready_;                 // both

    struct Consumer {
        explicit Consumer(bool is_virtual) noexcept : ages{is_virtual} {}
        MessageAges ages;              // both, each its side
        YieldBeforeSleep yield;        // before a receiver sleeps
        ConnectionNumbers connections; // guarded by right_
        TimePoint told_until{};        // guarded by right_; of the latest that stands at its place
        TimePoint idle_since{}; // guarded by right_; when poll() began to find nothing; or none
    };

    ConsumerRight right_; // app side
    Consumer consumer_;   // app side
};

} // namespace sidecar::detail
