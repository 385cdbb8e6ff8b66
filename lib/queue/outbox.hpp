// A link's queue of messages that are to be sent.
#pragma once

#include "base/stop_request.hpp"
#include "base/wait_point.hpp"
#include "queue/priority_lane.hpp"
#include "queue/record_ring.hpp"

#include <sidecar/batch.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/options.hpp>
#include <sidecar/send_options.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace sidecar::detail {

/// Two lanes: the application's ordinary messages in a ring, and the few that go before them. Any
/// thread pushes, the link's writer takes batches out. Owned by its link, and goes on over its
/// connections. A message that was accepted is either written or counted as unsent, never both. The
/// batch that is out stays as it is until the writer returns it: a connection that ends before
/// then is settled at the return. Many links never send, so the ring is made by the first push; each
/// time when the writer has nothing to do, the memory of a burst is released but for half a MiB.
class Outbox final : public BatchSource {
public:
    /// Of the link `link`. Lifetime: `stop`, `written` and `clock` outlive it. `written`: where
    /// senders wait.
    Outbox(LinkId link, const QueueLimits& limits, const StopRequest& stop, WaitPoint& written,
           const AppClock& clock) noexcept
        : link_{link}, limits_{limits}, stop_{stop}, written_{written}, clock_{clock}
    {
    }

    // --- app side, any thread
    enum class Push { queued, full, closed, too_big, wrong_connection };
    /// Of one send(), over its attempts to push.
    struct Sender {
        std::optional<std::uint32_t> connection{}; ///< which the message is bound to; empty: none
        /// How often the queue had been dropped at the first attempt. Who has waited for room since
        /// before a drop is refused like those who had found some.
        std::optional<std::uint64_t> drops{};
        TimePoint deadline =
            TimePoint::max(); ///< if it is not being written by then, it is dropped
        Lane lane = Lane::ordinary;
    };
    [[nodiscard]] Push push(MessageKind kind, std::span<const std::byte> payload, Sender& sender);
    [[nodiscard]] Push push(MessageKind kind, std::span<const std::byte> payload)
    {
        Sender sender;
        return push(kind, payload, sender);
    }
    /// After a push: true, once, if the writer sleeps and has to be woken.
    [[nodiscard]] bool wakes_writer() noexcept
    {
        return writer_sleeps_.load(std::memory_order_seq_cst) && writer_sleeps_.exchange(false);
    }
    [[nodiscard]] bool is_open() const noexcept { return is_open_.load(std::memory_order_seq_cst); }
    /// `lost`: a connection ended with unwritten messages. `late`: the rest is written, and some
    /// expired during the wait or since the last report. A loss with an earlier connection is
    /// reported until the next one is there.
    enum class Fate { waiting, written, lost, late };
    /// Waits behind all that was pushed before it. Lifetime: the outbox outlives it.
    class Mark {
    public:
        explicit Mark(Outbox& outbox);
        Mark(const Mark&) = delete;
        Mark& operator=(const Mark&) = delete;
        ~Mark();

    private:
        friend class Outbox;
        Outbox& outbox_;                        // app side
        std::uint64_t position_ = 0;            // app side; constant
        std::uint64_t number_ = 0;              // app side; constant; in the priority lane
        bool is_late_told_ = false;             // app side
        std::atomic<Fate> loss_{Fate::waiting}; // both: atomic, written with mutex_ held
    };
    [[nodiscard]] Fate fate(Mark& mark);
    [[nodiscard]] std::size_t largest_message() const noexcept
    {
        return RecordRing::largest_message(limits_);
    }
    [[nodiscard]] std::size_t limit_bytes() const noexcept { return limits_.bytes; }

    // --- both
    /// Adds a message of the link itself to the priority lane; a subscription gets its place behind
    /// all ordinary messages so far if `keeps_place`. Gives its number. The caller wakes the writer.
    std::uint64_t push_priority(PriorityMessage message, bool keeps_place = false);
    /// True: it was waiting, and will not be written.
    bool withdraw(std::uint64_t number);
    /// True: it was waiting, and says this from now on.
    bool replace(std::uint64_t number, Message message);
    /// From now on pushes are refused, and who waits for room is woken.
    void close() noexcept;
    /// Null as long as nothing was pushed.
    [[nodiscard]] const RecordRing* ring() const noexcept
    {
        return ring_.load(std::memory_order_acquire);
    }
    struct Counts {
        std::uint64_t accepted = 0; ///< messages of the link itself count when they are written
        std::uint64_t sent = 0, sent_bytes = 0;
        std::uint64_t lost = 0; ///< accepted and lost, `late` included
        std::uint64_t late = 0; ///< expired before they were written
        std::uint64_t queued = 0, queued_bytes = 0;
        std::uint64_t peak_messages = 0, peak_bytes = 0;
        /// Accepted and not written.
        [[nodiscard]] std::uint64_t unsent() const noexcept { return lost + queued; }
    };
    [[nodiscard]] Counts counts() const;

    // --- sidecar side
    /// How much the writer may take from now on.
    void set_gate(SendGate gate) noexcept { out_.gate = gate; }
    [[nodiscard]] SendGate gate() const noexcept { return out_.gate; }
    /// This connection is up, and pushes are accepted.
    void open(std::uint32_t connection);
    /// It is gone, and nothing is written before the next open(). `keep`: pushes that are not bound
    /// to a connection go on, and what is queued stays, but for what is bound to the one that is
    /// gone and for what of an unfinished batch may be written in part. Otherwise all that is queued
    /// is lost and counted, and pushes are refused. Takes effect when no batch is out.
    void end_connection(bool keep);
    /// Waits for pushes that are half done; after close() nothing comes any more.
    void settle_pushes() { std::lock_guard lock{mutex_}; }
    /// Whether a message of the application's is accepted and not written, or a batch is out.
    [[nodiscard]] bool has_unsent() const;
    /// All that may be written now: of the priority lane, or else of the ordinary one. Empty:
    /// nothing. Then begin_write() and finish() or give_up(); or put_back().
    [[nodiscard]] std::optional<Batch> next_batch();
    /// Whether the batch that is out counts for the rate limit.
    [[nodiscard]] bool is_rate_limited() const noexcept { return !out_.is_heartbeat; }
    [[nodiscard]] bool is_priority() const noexcept { return (out_.end & priority_bit) != 0; }
    /// Only this part of it, its front, is handed to the transport.
    void begin_write(const Batch& part);
    /// None of it was written.
    void put_back();
    /// The rest of it is written.
    void finish(const Batch& batch);
    /// Its write failed, or there is none.
    void give_up();
    /// The writer is about to sleep. False: there is something to write, so it must not.
    [[nodiscard]] bool prepare_sleep() noexcept;
    void woke() noexcept { writer_sleeps_.store(false, std::memory_order_relaxed); }
    /// Grows with each piece that the system takes, of a message too.
    [[nodiscard]] std::uint64_t progress() const noexcept { return progress_; }

    // BatchSource
    [[nodiscard]] MessageView read(std::uint64_t& position) const override;
    void mark_written(std::size_t count, std::uint64_t end) override;

private:
    /// In a position of the priority lane, beside the message's number.
    static constexpr std::uint64_t priority_bit = std::uint64_t{1} << 63;

    /// What applies to an ordinary message that is written only in time, or only on one connection,
    /// and where the record before it ends. Few messages have one.
    using Condition = std::pair<std::uint64_t, Sender>;

    [[nodiscard]] RecordRing& make_ring();
    [[nodiscard]] Push push_conditionally(RecordRing& ring, MessageKind kind,
                                          std::span<const std::byte> payload, const Sender& sender);
    [[nodiscard]] bool take_priority(std::uint64_t& end);
    [[nodiscard]] std::uint64_t pass_over_unmet(RecordRing& ring, std::uint64_t end);
    void mark_priority_written(std::size_t count);
    void settle_end();
    void lose_until(RecordRing& ring, std::uint64_t position);
    template <class IsBefore>
    void tell_marks(Fate loss, IsBefore is_before) noexcept;
    void tell_loss(std::uint64_t position, Fate loss) noexcept;
    void tell_priority_loss(std::uint64_t number, Fate loss) noexcept;
    void note_lane() noexcept { has_priority_.store(!lane_.empty(), std::memory_order_seq_cst); }

    const LinkId link_;        // both: constant
    const QueueLimits limits_; // both: constant
    const StopRequest& stop_;  // both
    WaitPoint& written_;       // both
    const AppClock& clock_;    // both

    mutable std::mutex mutex_;                // one producer at a time
    std::unique_ptr<RecordRing> owner_;       // both: guarded by mutex_
    std::atomic<RecordRing*> ring_{nullptr};  // app side produces, sidecar side consumes
    std::atomic<bool> is_open_{false};        // both: atomic
    std::atomic<bool> writer_sleeps_{false};  // both: atomic
    std::vector<Condition> conditions_;       // both: guarded by mutex_; positions grow
    std::atomic<bool> has_conditions_{false}; // both: atomic
    PriorityLane lane_;                       // both: guarded by mutex_, but for its `writing`
    std::atomic<bool> has_priority_{false};   // both: atomic
    std::uint32_t connection_ = 0;            // both: guarded by mutex_; the present one; 0: none
    std::uint64_t drops_ = 0;                 // both: guarded by mutex_
    bool is_late_untold_ = false;             // both: guarded by mutex_; no mark was there
    bool has_lost_ = false;                   // both: guarded by mutex_; something, since open()
    std::vector<Mark*> marks_;                // both: guarded by mutex_; who waits at present
    std::atomic<std::uint64_t> lost_{0}, late_{0};       // both: atomic; of the ordinary lane
    std::atomic<std::uint64_t> sent_{0}, sent_bytes_{0}; // both: atomic
    std::uint64_t progress_ = 0;                         // sidecar side

    /// The batch that is out, and what waits for its return.
    struct Out {
        SendGate gate = SendGate::shut;
        bool is_out = false;
        bool is_heartbeat = false;
        bool was_marked = false; // something of it is written
        std::uint64_t end = 0;
        /// The connection ended meanwhile; whether messages are kept.
        std::optional<bool> keep_at_end{};
    };
    Out out_; // sidecar side
};

} // namespace sidecar::detail
