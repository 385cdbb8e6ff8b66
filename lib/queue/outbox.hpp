// A link's queue of messages to send.
#pragma once

#include "base/stop_request.hpp"
#include "base/wait_queue.hpp"
#include "queue/client_queue.hpp"
#include "queue/priority_queue.hpp"
#include "queue/record_ring.hpp"
#include "queue/send_waiters.hpp"

#include <sidecar/batch.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/options.hpp>
#include <sidecar/send_options.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace sidecar::detail {

/// Of an ordinary message that is written only in time, or only on one connection. Few messages have
/// one. Conditions are outside the ring, so that a send without them costs nothing.
struct SendCondition {
    std::uint64_t position; ///< where the record before the message ends
    TimePoint deadline;
    std::uint32_t connection; ///< 0: any
};

/// Has two queues: the application's ordinary messages in a ring, and the few that precede them. Any
/// thread pushes; the link's writer takes batches out. Owned by its link, and lives over all its
/// connections. A message that was accepted is either written or counted as unsent, never both. The
/// batch that is out does not change until the writer returns it; if its connection ends before,
/// the return settles that. Many links never send, so the first push makes the ring. Whenever the
/// writer has nothing to do, it releases the memory of a burst, except half a MiB.
class Outbox final : public BatchSource {
public:
    /// `written`: senders wait there. `overflow`: of a listener's client, whose messages are in a
    /// ClientQueue in place of the ring; null: of any other link. Lifetime: `stop`, `written`,
    /// `clock` and `overflow` outlive it.
    Outbox(LinkId link, const QueueLimits& limits, const StopRequest& stop, WaitQueue& written,
           const AppClock& clock, const ClientOverflow* overflow = nullptr) noexcept
        : link_{link},
          limits_{limits},
          stop_{stop},
          written_{written},
          clock_{clock},
          overflow_{overflow}
    {
    }

    // --- app side, any thread
    enum class Push { queued, full, closed, too_big, wrong_connection };
    /// The state of one send(), over its attempts to push.
    struct Sender {
        std::optional<std::uint32_t> connection{}; ///< the message is bound to it; empty: to none
        /// How often the queue had been dropped at the first attempt; empty before it. A sender
        /// that waited for room during a drop is refused: its message would have been dropped too.
        std::optional<std::uint64_t> drops{};
        TimePoint deadline = TimePoint::max(); ///< dropped if not being written by then
        Priority priority = Priority::normal;
        std::optional<std::string_view> key{}; ///< by which a client's messages are conflated
    };
    /// Adds a message, without waiting. `closed`: a stop was requested, no connection accepts
    /// sends, or the queue was dropped since the first attempt. Throws bad_alloc, and then has
    /// queued nothing.
    [[nodiscard]] Push push(StoredKind kind, std::span<const std::byte> payload, Sender& sender);
    [[nodiscard]] Push push(StoredKind kind, std::span<const std::byte> payload)
    {
        Sender sender;
        return push(kind, payload, sender);
    }
    /// Adds a broadcast to the queue of a listener's client. `full`: the client does not get it.
    /// `too_slow`: likewise, and the policy ends the client. Throws bad_alloc as push() does.
    enum class Broadcast { queued, full, too_slow, closed };
    [[nodiscard]] Broadcast push_broadcast(const std::shared_ptr<SharedMessage>& message,
                                           std::optional<std::string_view> key);
    /// Call it when a send to a client ends with `full`: whether the policy ends the client.
    [[nodiscard]] bool is_too_slow();
    /// Call it when a send ends with `full`: on_room is called once half of the queue is free and
    /// such a message has room. True: the caller wakes the writer, which looks for room then.
    [[nodiscard]] bool want_room(std::size_t payload_bytes, Priority priority);
    /// Call it after a push. True once if the writer sleeps: the caller wakes it.
    [[nodiscard]] bool wakes_writer() noexcept
    {
        return writer_sleeps_.load(std::memory_order_seq_cst) && writer_sleeps_.exchange(false);
    }
    [[nodiscard]] bool is_open() const noexcept { return is_open_.load(std::memory_order_seq_cst); }
    /// `lost`: a connection ended with unwritten messages. `late`: the rest is written, and some
    /// expired during the wait or since the last report. A loss with an earlier connection is
    /// reported until the next one is open.
    enum class FlushResult { waiting, written, lost, late };
    /// Marks the end of all messages that were pushed before it. Lifetime: the outbox outlives it.
    class Mark {
    public:
        explicit Mark(Outbox& outbox);
        Mark(const Mark&) = delete;
        Mark& operator=(const Mark&) = delete;
        ~Mark();

    private:
        friend class Outbox;
        Outbox& outbox_;                // app side
        std::uint64_t position_ = 0;    // app side; constant
        std::uint64_t number_ = 0;      // app side; constant; in the priority queue
        bool is_late_reported_ = false; // app side
        std::atomic<FlushResult> loss_{
            FlushResult::waiting}; // both: atomic, written with mutex_ held
    };
    /// Returns how the messages before the mark ended, or `waiting`.
    [[nodiscard]] FlushResult result(Mark& mark);
    [[nodiscard]] std::size_t largest_message() const noexcept
    {
        return overflow_ ? limits_.bytes : RecordRing::largest_message(limits_);
    }
    [[nodiscard]] std::size_t limit_bytes() const noexcept { return limits_.bytes; }

    // --- both
    /// Adds a message of the link itself to the priority queue, and returns its number. With
    /// `keeps_place` it goes behind all ordinary messages pushed so far. The caller wakes the
    /// writer.
    std::uint64_t push_priority(PriorityMessage message, bool keeps_place = false);
    /// Adds the acknowledgement of a message that was taken. False: too many wait, for the peer reads
    /// nothing; it delivers the message again.
    [[nodiscard]] bool push_acknowledgement(Message message);
    /// Removes a message that waits. False: it no longer waits.
    bool withdraw(std::uint64_t number);
    /// Replaces the content of a message that waits. False: it no longer waits.
    bool replace(std::uint64_t number, Message message);
    /// Refuses pushes from now on, and wakes senders that wait for room.
    void close() noexcept;
    /// Null until the first push.
    [[nodiscard]] const RecordRing* ring() const noexcept
    {
        return ring_.load(std::memory_order_acquire);
    }
    struct Counts {
        std::uint64_t accepted = 0; ///< messages of the link itself count when they are written
        std::uint64_t sent = 0, sent_bytes = 0;
        std::uint64_t lost = 0;                   ///< accepted and lost, `late` included
        std::uint64_t late = 0;                   ///< expired before they were written
        std::uint64_t dropped = 0, conflated = 0; ///< by the policy of a listener's client
        std::uint64_t queued = 0, queued_bytes = 0;
        std::uint64_t peak_messages = 0, peak_bytes = 0;
        /// Accepted and not written.
        [[nodiscard]] std::uint64_t unsent() const noexcept { return lost + queued; }
    };
    [[nodiscard]] Counts counts() const;

    // --- sidecar side
    /// Sets what to call after want_room(), while pushes are accepted; again, if it throws.
    void on_room(std::function<void()> function) { written_.on_room = std::move(function); }
    /// Whether a sender waits for that call.
    [[nodiscard]] bool has_wish() const noexcept { return written_.has_wish(); }
    /// Calls that function if it is due.
    void look_for_room() noexcept
    {
        if (written_.has_wish()) [[unlikely]]
            grant_wishes();
    }
    /// Sets which messages the writer may take.
    void set_gate(SendGate gate) noexcept { out_.gate = gate; }
    [[nodiscard]] SendGate gate() const noexcept { return out_.gate; }
    /// Begins a connection; pushes are accepted.
    void open(std::uint32_t connection);
    /// Ends the connection; nothing is written before the next open(). With `keep`, pushes that are
    /// not bound to a connection are still accepted. Queued messages stay then, except those bound
    /// to the connection and those of an unfinished batch that may be written in part. Without
    /// `keep`, all queued messages are lost and counted, and pushes are refused. The queue changes
    /// once no batch is out.
    void end_connection(bool keep);
    /// Waits for pushes that are half done; after close() no more messages are added.
    void settle_pushes() { std::lock_guard lock{mutex_}; }
    /// Whether an accepted message of the application or an acknowledgement is not written, or a
    /// batch is out.
    [[nodiscard]] bool has_unsent() const;
    /// Returns all messages that may be written now: of the priority queue, or else ordinary ones.
    /// Empty: there are none. Call begin_write() then, and finish() or give_up(); or put_back().
    [[nodiscard]] std::optional<Batch> next_batch();
    /// Whether the batch that is out counts for the rate limit.
    [[nodiscard]] bool is_rate_limited() const noexcept { return !is_not_limited(out_.origin); }
    [[nodiscard]] bool is_priority() const noexcept { return (out_.end & priority_bit) != 0; }
    /// Limits the batch to this part, its front, which is handed to the transport.
    void begin_write(const Batch& part);
    /// Returns the batch; none of it was written.
    void put_back();
    /// Returns the batch; the rest of it is written.
    void finish(const Batch& batch);
    /// Returns the batch, if there is one, after its write failed: messages that may be written in
    /// part are lost.
    void give_up();
    /// Call it before the writer sleeps. False: there is something to write, so it must not sleep.
    [[nodiscard]] bool prepare_sleep() noexcept;
    void woke() noexcept { writer_sleeps_.store(false, std::memory_order_relaxed); }
    /// Grows with each piece that the system accepts, also of one message.
    [[nodiscard]] std::uint64_t progress() const noexcept { return progress_; }

    // BatchSource
    [[nodiscard]] MessageView read(std::uint64_t& position) const override;
    [[nodiscard]] SharedMessage* shared(std::uint64_t position) const override;
    void mark_written(std::size_t count, std::uint64_t end) override;
    void mark_rest_unwritten() noexcept override;

private:
    /// Set in positions of the priority queue, whose other bits are the message's number.
    static constexpr std::uint64_t priority_bit = std::uint64_t{1} << 63;

    [[nodiscard]] RecordRing& make_ring();
    [[nodiscard]] Push push_conditionally(RecordRing& ring, StoredKind kind,
                                          std::span<const std::byte> payload, const Sender& sender);
    [[nodiscard]] Push push_high(StoredKind kind, std::span<const std::byte> payload,
                                 const Sender& sender);
    [[nodiscard]] Batch hand_out(std::uint64_t begin, std::uint64_t end) noexcept;
    [[nodiscard]] Push push_to_client(StoredKind kind, std::span<const std::byte> payload,
                                      const Sender& sender);
    [[nodiscard]] ClientQueue& make_client_queue();
    [[nodiscard]] std::optional<Batch> next_client_batch();
    void report_gap();
    [[nodiscard]] bool take_priority(std::uint64_t& end);
    /// Whether a subscription waits, which no later message may overtake.
    [[nodiscard]] bool holds_ordinary_messages()
    {
        std::lock_guard lock{mutex_};
        return priority_.first_place() != UINT64_MAX;
    }
    [[nodiscard]] std::uint64_t pass_over_unmet(RecordRing& ring, std::uint64_t end);
    void mark_priority_written(std::size_t count);
    void mark_client_written(std::size_t count);
    [[nodiscard]] bool has_room(std::size_t payload_bytes, Priority priority) const;
    void grant_wishes() noexcept;
    void settle_end();
    void lose_until(RecordRing& ring, std::uint64_t position);
    template <class IsBefore>
    void report_to_marks(FlushResult loss, IsBefore is_before) noexcept;
    void report_loss(std::uint64_t position, FlushResult loss) noexcept;
    void report_client_loss(std::uint64_t position, FlushResult loss) noexcept;
    void report_priority_loss(std::uint64_t number, FlushResult loss) noexcept;
    void update_has_priority() noexcept
    {
        has_priority_.store(!priority_.empty(), std::memory_order_seq_cst);
    }

    const LinkId link_;                    // both: constant
    const QueueLimits limits_;             // both: constant
    const StopRequest& stop_;              // both
    SendWaiters written_;                  // both
    const AppClock& clock_;                // both
    const ClientOverflow* const overflow_; // both: constant; null: no listener's client

    mutable std::mutex mutex_;                     // one producer at a time
    std::unique_ptr<RecordRing> owner_;            // both: guarded by mutex_
    std::atomic<RecordRing*> ring_{nullptr};       // app side produces, sidecar side consumes
    std::atomic<bool> is_open_{false};             // both: atomic
    std::atomic<bool> writer_sleeps_{false};       // both: atomic
    std::unique_ptr<ClientQueue> client_;          // both: guarded by mutex_; made by a push
    std::vector<SendCondition> conditions_;        // both: guarded by mutex_; positions grow
    std::atomic<bool> has_conditions_{false};      // both: atomic
    PriorityQueue priority_;                       // both: guarded by mutex_, except its `writing`
    std::atomic<bool> has_priority_{false};        // both: atomic
    std::uint32_t connection_ = 0;                 // both: guarded by mutex_; 0: none
    std::uint64_t drops_ = 0;                      // both: guarded by mutex_
    bool is_late_untold_ = false;                  // both: guarded by mutex_; for the next mark
    bool has_lost_ = false;                        // both: guarded by mutex_; since open()
    std::vector<Mark*> marks_;                     // both: guarded by mutex_; all that exist
    std::atomic<std::uint64_t> lost_{0}, late_{0}; // both: atomic; of the ordinary queue
    std::atomic<std::uint64_t> sent_{0}, sent_bytes_{0}; // both: atomic
    std::uint64_t progress_ = 0;                         // sidecar side

    /// The batch that is out, and an end of the connection that waits for its return.
    struct Out {
        SendGate gate = SendGate::shut;
        bool is_out = false;
        /// Of its last message; also once it is back.
        PriorityMessage::Origin origin = PriorityMessage::Origin::application;
        bool was_marked = false; // a part of it is written
        std::uint64_t end = 0;
        /// Set if the connection ended meanwhile: whether messages are kept.
        std::optional<bool> keep_at_end{};
    };
    Out out_; // sidecar side
};

} // namespace sidecar::detail
