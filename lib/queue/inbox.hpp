// The queue from the loop to the application: messages of all links and their events, in one order.
#pragma once

#include "base/spin.hpp"
#include "base/wait_queue.hpp"
#include "queue/consumer_lock.hpp"
#include "queue/message_ages.hpp"
#include "queue/policy_queue.hpp"
#include "queue/ready_descriptor.hpp"
#include "queue/receive_buffers.hpp"
#include "queue/record_ring.hpp"

#include <sidecar/detail/message_handler.hpp>
#include <sidecar/error.hpp>
#include <sidecar/event.hpp>
#include <sidecar/message.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

namespace sidecar::detail {

/// Consists of a ring of messages, memory to receive in, and queues of links outside the ring.
/// Receivers wait here for a message, links for free space. Owned by the run. The loop is the only
/// producer; one thread of the application at a time consumes. Invariants: everything that was put
/// in comes out, in order, before `stopped` or a terminal failure; the memory of messages, whole or
/// not, stays within the limits of the inbox and of the links' queues. A message that found no
/// space is not counted: it waits in its link. When a receiver has found nothing for half a second,
/// the memory outside the ring shrinks to two receive buffers and at most 256 KiB of blocks.
class Inbox {
public:
    /// After so long without a message the inbox releases the memory of a burst.
    static constexpr Duration idle_time = std::chrono::milliseconds{500};

    Inbox(const QueueLimits& limits, Duration busy_poll, AppClock& clock)
        : ring_{limits},
          receive_buffers_{ring_},
          clock_{clock},
          busy_poll_{busy_poll},
          beside_{clock},
          consumer_{clock.is_virtual()}
    {
    }

    // --- sidecar side: messages
    /// Adds a message; one in receive_buffer() is not copied if it is large enough for a slice.
    /// False: no space, nothing changed. The receiver sees the message after publish() at the
    /// latest: a long batch is published in parts of 4 KiB, so that a receiver that is awake can
    /// work meanwhile. A sleeping receiver is woken after 32 parts. Throws bad_alloc.
    [[nodiscard]] bool push(LinkId link, StoredKind kind, std::span<const std::byte> payload,
                            std::uint32_t connection = 1)
    {
        if (producer_.stamped_link != static_cast<std::uint32_t>(link)) [[unlikely]]
            stamp(link, connection, payload.size());
        const bool is_pushed = receive_buffers_.is_slice(payload)
                                   ? receive_buffers_.push(LinkId{}, kind, payload)
                                   : ring_.push(LinkId{}, kind, payload);
        if (!is_pushed) {
            producer_.stamped_link = no_link; // a later handler may push it
            return false;
        }
        if (ring_.unpublished_bytes() >= publish_bytes) [[unlikely]]
            publish_some();
        return true;
    }
    /// Publishes pushed messages, and wakes a sleeping receiver if there are new ones.
    void publish()
    {
        if (!ring_.is_published() || producer_.unannounced != 0)
            publish_all();
    }
    /// Adds an event behind all that was pushed before. Sets its time to the begin of the running
    /// handler, like that of messages. Throws bad_alloc, and then has added nothing.
    void push_event(Event event);
    /// Adds a gap of messages that the peer has not delivered, as push_event().
    void push_gap(LinkId link, std::uint64_t missing);

    // --- sidecar side: links with a separate queue
    /// See PolicyQueue::open().
    [[nodiscard]] LinkQueue& open_queue(LinkId link, Overflow overflow)
    {
        return beside_.open(link, std::move(overflow));
    }
    /// Side: any.
    void close_queue(LinkQueue& queue) noexcept { beside_.close(queue); }
    /// Adds a message to this queue. Throws bad_alloc, and the exceptions of the key function.
    [[nodiscard]] LinkQueue::PutOutcome push_to(LinkQueue& queue, StoredKind kind,
                                                std::span<const std::byte> payload);
    /// Whether a message of this size would be taken. False: on_space is called once it would be.
    [[nodiscard]] bool want_room_in(LinkQueue& queue, std::size_t payload_bytes)
    {
        return beside_.want_room(queue, payload_bytes, clock_.now());
    }

    // --- sidecar side: memory
    /// See ReceiveBuffers.
    [[nodiscard]] std::span<std::byte> receive_buffer(std::size_t at_least);
    /// Takes a block in which a message of this size is received: all its bytes count from now on,
    /// until cancel_reserved() or until the pushed message is read. Empty: the message is too small
    /// to be worth it, or memory is not plentiful; see MemoryBudget::lend(). Throws bad_alloc.
    [[nodiscard]] Block reserve(std::size_t payload_bytes);
    /// Pushes a message in a reserved block. False: no space for its record; the caller keeps the
    /// block.
    [[nodiscard]] bool push_reserved(LinkId link, StoredKind kind, Block& block,
                                     std::size_t payload_bytes, std::uint32_t connection = 1);
    void cancel_reserved(std::size_t payload_bytes) noexcept;

    // --- sidecar side: waiting for space
    /// Returns up to which size any message finds space once the application has taken the others,
    /// whatever memory is lent to peers.
    [[nodiscard]] std::size_t largest_message() const noexcept
    {
        return ring_.budget().limit() / 2;
    }
    /// Whether a message of this size would find space now.
    [[nodiscard]] bool has_space(std::size_t payload_bytes) const noexcept
    {
        return ring_.has_space(payload_bytes);
    }
    /// Whether there is space for it, or the inbox has ended and nobody should wait. False:
    /// on_space is called once.
    [[nodiscard]] bool want_space(std::size_t payload_bytes)
    {
        space_wanted_.store(true, std::memory_order_seq_cst);
        lock_.fence(); // space that the consumer freed before is seen after this
        return has_space(payload_bytes) || ended();
    }
    /// Called after want_space() or want_room_in(), when the consumer has freed about half or a
    /// link has released memory. If it throws, it is called again when the consumer unlocks next.
    /// Side: app or sidecar, so it must only post.
    std::function<void()> on_space;
    /// Called with each message that has an envelope, when the application has taken it. Side: app,
    /// the consumer, which holds the lock: it must not take messages.
    std::function<void(const MessageView&)> on_taken;

    // --- both
    /// Ends the inbox: receivers that have taken everything get `stopped`.
    void end();
    /// Like end(), using only futexes. Side: any thread and any signal handler.
    void end_from_signal() noexcept;
    [[nodiscard]] bool ended() const noexcept { return ended_.load(std::memory_order_seq_cst); }

    // --- app side, any thread
    /// Returns the next message; skips `up`, returns the failure of a `down`. Blocks: at most
    /// `timeout`; zero polls. Errors: timed_out, stopped, misuse, gap, a link's failure, the
    /// terminal failure. Cancellation: end() wakes it; queued messages come first.
    [[nodiscard]] Result<Message> receive(Duration timeout);
    /// Returns the next event or message. The event `stopped` comes once, and then the error of
    /// that name. Blocks: at most `timeout`; zero polls. Errors: timed_out, stopped, misuse, the
    /// terminal failure. Cancellation: as for receive().
    [[nodiscard]] Result<Event> next_event(Duration timeout);
    /// Hands over up to `limit` messages that are there now, without waiting; 0 if another thread
    /// consumes. An exception of the handler passes through, its message counted as taken. Errors:
    /// as for receive(), except timed_out.
    [[nodiscard]] Result<std::size_t> poll(MessageHandler handler, std::size_t limit);
    /// Keeps `fd` readable from now on while a receiver would not have to wait.
    void notify_through(std::shared_ptr<const NotifyFd> fd);
    /// Sets the failure that receive() returns when nothing is queued and no link can bring
    /// anything; empty while one can.
    void set_terminal_failure(const std::optional<Failure>& why);

    /// Records whether a link is up or tries to be. Call it before the last link's `down` is pushed:
    /// it decides Failure::will_retry(). Side: sidecar.
    void set_has_link(bool has_link) noexcept
    {
        has_link_.store(has_link, std::memory_order_relaxed);
    }

    /// Whether a receiver would not have to wait.
    [[nodiscard]] bool has_something() const noexcept;

    /// Call it after a send: an answer may arrive soon.
    void hint_reply_expected() noexcept
    {
        if (!consumer_.is_reply_expected.load(std::memory_order_relaxed))
            consumer_.is_reply_expected.store(true, std::memory_order_relaxed);
    }

    [[nodiscard]] const RecordRing& ring() const noexcept { return ring_; }
    [[nodiscard]] const PolicyQueue& beside() const noexcept { return beside_; }
    /// Sums over the ring and the links' queues. received = taken + queued + lost, always.
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
    /// Returns for how long the oldest message waits; zero: none does.
    [[nodiscard]] Duration oldest_age() const;
    /// Returns how old messages were when they were taken.
    [[nodiscard]] Latency ages() const { return consumer_.ages.latency(); }
    [[nodiscard]] std::uint64_t wakeups() const noexcept
    {
        return producer_.wakeups.load(std::memory_order_relaxed);
    }

private:
    friend class ReceiveCall;
    enum class Next { nothing, message, event };

    void stamp(LinkId link, std::uint32_t connection, std::size_t payload_bytes);
    void publish_ring();
    void publish_all();
    void publish_some();

    [[nodiscard]] Next next();
    [[nodiscard]] bool is_final() const noexcept
    {
        return ended() || is_terminal_.load(std::memory_order_seq_cst);
    }
    [[nodiscard]] Failure nothing_left() const;
    [[nodiscard]] WallTime wall_time(TimePoint at) const;
    void count_taken(TimePoint arrival)
    {
        if (consumer_.ages.count_one()) [[unlikely]]
            consumer_.ages.note(arrival, clock_.now());
    }
    [[nodiscard]] Result<Message> take_message();
    void tell_taken(const MessageView& message)
    {
        if (Stored{message}.kind.has_envelope() && on_taken) [[unlikely]]
            on_taken(message);
    }
    void update_front() noexcept;
    [[nodiscard]] PolicyQueue::Taken take_beside(PolicyQueue::Ends ends);
    [[nodiscard]] std::size_t hand_over(MessageHandler handler, std::size_t limit);
    void poll_found(std::size_t count);
    void release_spare_memory();
    void publish_reads() noexcept;
    void unlock() noexcept;
    void wake_space_waiters() noexcept
    {
        if (space_wanted_.load(std::memory_order_seq_cst)
            || space_due_.load(std::memory_order_relaxed)) [[unlikely]]
            look_for_space_waiters();
    }
    void look_for_space_waiters() noexcept;
    void call_on_space() noexcept;

    static constexpr auto nested_in_handler =
        "called within a handler of poll(), which has the messages to itself";
    static constexpr std::size_t publish_bytes = 4u << 10;
    static constexpr unsigned bits_to_wake_for = 32;
    static constexpr auto no_link = UINT64_MAX;
    struct alignas(64) Producer {
        Spin spin_for_consumer;                // before it gets further ahead
        std::uint64_t stamped_link = no_link;  // its messages need no stamp, until publish()
        Stamp stamp;                           // the latest one
        unsigned unannounced = 0;              // publications since the last wake-up
        std::atomic<std::uint64_t> wakeups{0}; // read by any thread
    };
    struct Consumer {
        explicit Consumer(bool is_virtual) noexcept : ages{is_virtual} {}
        MessageAges ages;       // both, each its side
        Spin spin_for_next;     // before a receiver sleeps: for the next message
        Spin spin_for_reply;    // and for an answer to a send
        TimePoint idle_since{}; // guarded by lock_; begin of poll()'s empty calls, or 0
        std::atomic<bool> is_reply_expected{false}; // any thread: atomic
        std::atomic<bool> has_stopped{false};       // next_event() has returned `stopped`
        std::atomic<Duration::rep> arrival{
            0}; // read by any thread; of a handler's message; 0: none
    };

    mutable RecordRing ring_;        // both sides; mutable: a look skips other records
    ReceiveBuffers receive_buffers_; // sidecar side
    AppClock& clock_;                // both
    const Duration busy_poll_;       // both: constant; how long a receiver spins
    Producer producer_;              // sidecar side

    alignas(64) PolicyQueue beside_;        // both
    mutable std::mutex terminal_mutex_;     //
    std::optional<Failure> terminal_;       // both: guarded by terminal_mutex_
    std::atomic<bool> is_terminal_{false};  // both: atomic
    std::atomic<bool> has_link_{false};     // both: atomic; the queue's mutex orders it
    std::atomic<bool> ended_{false};        // both: atomic
    std::atomic<bool> space_wanted_{false}; // both: atomic
    std::atomic<bool> space_due_{false};    // both: atomic; on_space is to be called
    WaitQueue arrived_;                     // both; receivers sleep here
    ReadyDescriptor ready_;                 // both

    mutable ConsumerLock lock_; // both: held to consume, or to look
    Consumer consumer_;         // app side
};

} // namespace sidecar::detail
