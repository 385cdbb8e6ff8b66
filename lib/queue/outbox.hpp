// A link's queue of messages that are to be sent.
#pragma once

#include "base/stop_request.hpp"
#include "base/wait_point.hpp"
#include "queue/control_lane.hpp"
#include "queue/record_ring.hpp"
#include "queue/send_deadlines.hpp"

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
#include <vector>

namespace sidecar::detail {

/// Any thread of the application pushes, the link's writer takes batches out. Owned by its link,
/// and goes on over its connections. What was accepted is either written or counted as unsent, never
/// both; and what is bound to a connection is written on that one or not at all. Many links never send, so
/// the ring behind it is made by the first push; and each time when the writer has nothing to do,
/// what a burst took of memory goes back but for half a MiB.
class Outbox final : public BatchSource {
public:
    /// Lifetime: `stop`, `written` and `clock` outlive it. `written`: where senders wait.
    Outbox(const QueueLimits& limits, const StopRequest& stop, WaitPoint& written,
           const AppClock& clock) noexcept
        : limits_{limits}, stop_{stop}, written_{written}, clock_{clock}
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
    [[nodiscard]] Push push(LinkId link, MessageKind kind, std::span<const std::byte> payload,
                            Sender& sender);
    [[nodiscard]] Push push(LinkId link, MessageKind kind, std::span<const std::byte> payload)
    {
        Sender sender;
        return push(link, kind, payload, sender);
    }
    /// After a push: true, once, if the writer sleeps and has to be woken.
    [[nodiscard]] bool wakes_writer() noexcept;
    /// The writer could not be woken after all, so the next push has to.
    void note_not_woken() noexcept { writer_sleeps_.store(true, std::memory_order_seq_cst); }
    [[nodiscard]] bool is_open() const noexcept { return is_open_.load(std::memory_order_seq_cst); }
    /// `lost`: some of it is; `late`: all is written but for what was dropped since its time was over,
    /// while somebody waited or since that was last told.
    enum class Fate { waiting, written, lost, late };
    /// Stands behind all that was pushed before, for one who waits for it, and is told what of it is
    /// lost. Lifetime: the outbox outlives it.
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
        bool is_late_told_ = false;             // app side
        std::uint64_t control_ = 0;             // app side; constant
        std::atomic<Fate> loss_{Fate::waiting}; // both: atomic, written with push_mutex_ held
    };
    [[nodiscard]] Fate fate(Mark& mark);
    /// The end of all that was pushed.
    [[nodiscard]] std::uint64_t pushed_position();
    [[nodiscard]] std::size_t largest_message() const noexcept { return largest_.load(); }
    [[nodiscard]] std::size_t limit_bytes() const noexcept { return limits_.bytes; }

    // --- both
    /// From now on pushes are refused, and who waits for room is woken.
    void close() noexcept;
    /// Null as long as nothing was pushed.
    [[nodiscard]] const RecordRing* ring() const noexcept
    {
        return ring_.load(std::memory_order_acquire);
    }
    [[nodiscard]] std::uint64_t queued_messages() const noexcept
    {
        return (ring() ? ring()->counts().queued() : 0) + control_.counts().queued;
    }
    /// Accepted and lost.
    [[nodiscard]] std::uint64_t lost_messages() const
    {
        const auto control = control_.counts();
        return loss_.messages.load() + control.unsent + control.late;
    }
    /// Of those, whose time was over before they were written.
    [[nodiscard]] std::uint64_t late_messages() const
    {
        return deadlines_.late.load() + control_.counts().late;
    }
    [[nodiscard]] const ControlLane& control() const noexcept { return control_; }
    /// Accepted and not written.
    [[nodiscard]] std::uint64_t unsent_messages() const noexcept
    {
        return lost_messages() + queued_messages();
    }

    // --- sidecar side
    /// This connection is up.
    void open(std::uint32_t connection);
    /// It is gone, and nothing is written before the next open(). `keep`: pushes that are not bound
    /// to a connection go on, and what is queued stays, but for what is bound to the one that is
    /// gone and for what of an unfinished batch may be written in part. Otherwise all that is queued
    /// is lost and counted, and pushes are refused.
    void end_connection(bool keep);
    /// Waits for pushes that are half done; after close() nothing comes any more.
    void settle_pushes() { std::lock_guard lock{push_mutex_}; }
    /// Whether something is accepted and not written, or just being written.
    [[nodiscard]] bool has_unsent() const noexcept
    {
        return loss_.is_writing || (ring() && !ring()->empty()) || control_.counts().queued != 0;
    }
    /// What goes before all ordinary messages; empty: nothing. Then note_control_written(), or
    /// give_up_batch() after a failure.
    [[nodiscard]] std::vector<Message> take_control();
    void note_control_written();
    /// All that is queued now, up to this position; empty: nothing. Then finish(), or
    /// give_up_batch() after a failure.
    [[nodiscard]] std::optional<Batch> next_batch(std::uint64_t limit = UINT64_MAX);
    /// How far it is written.
    [[nodiscard]] std::uint64_t written_position() const noexcept
    {
        return ring() ? ring()->reads_published() : 0;
    }
    /// The writer is about to sleep. False: something has come, so it must not.
    [[nodiscard]] bool prepare_sleep() noexcept;
    void woke() noexcept { writer_sleeps_.store(false, std::memory_order_relaxed); }
    /// What of the batch was not marked yet is written.
    void finish(const Batch& batch);
    /// Only this part of it, its front, is handed to the transport.
    void narrow_batch(const Batch& part) noexcept { loss_.batch_end = part.end_position(); }
    /// None of it was written.
    void put_back_batch() noexcept
    {
        loss_.is_writing = false;
        loss_.batch_end = 0;
    }
    /// Its write failed.
    void give_up_batch();
    struct Written { // both: atomic
        std::atomic<std::uint64_t> messages{0}, bytes{0};
    };
    [[nodiscard]] const Written& sent() const noexcept { return sent_; }
    /// Grows with each piece that the system takes, of a message too.
    [[nodiscard]] std::uint64_t progress() const noexcept { return progress_; }

    // BatchSource
    [[nodiscard]] MessageView read(std::uint64_t& position) const override;
    void mark_written(std::size_t count, std::uint64_t end) override;

private:
    [[nodiscard]] RecordRing& make_ring();
    void keep_what_may_follow(RecordRing& ring);
    void lose_until(RecordRing& ring, std::uint64_t position);
    void lose_one(RecordRing& ring);
    template <class IsBefore>
    void tell_marks(Fate loss, IsBefore is_before) noexcept;
    void tell_loss(std::uint64_t position, Fate loss) noexcept;
    void tell_control_loss(std::uint64_t number, Fate loss) noexcept;
    [[nodiscard]] std::uint64_t pass_over_stale(RecordRing& ring, std::uint64_t end);
    [[nodiscard]] Push push_with_deadline(RecordRing& ring, LinkId link, MessageKind kind,
                                          std::span<const std::byte> payload, TimePoint deadline);
    [[nodiscard]] std::uint64_t pass_over_late(RecordRing& ring, std::uint64_t end);
    [[nodiscard]] bool is_stale(const RecordRing& ring, std::uint64_t position) const noexcept;

    /// In a record of ours, whose link is known, beside what is left of its number.
    static constexpr std::uint32_t bound_bit = 1u << 23;

    const QueueLimits limits_; // both: constant
    const StopRequest& stop_;  // both
    WaitPoint& written_;       // both
    const AppClock& clock_;    // both

    std::mutex push_mutex_;                  // app side: one producer at a time
    std::unique_ptr<RecordRing> owner_;      // app side: guarded by push_mutex_
    std::atomic<RecordRing*> ring_{nullptr}; // app side produces, sidecar side consumes
    std::atomic<std::size_t> largest_{0};    // both: atomic; 0: no ring yet
    std::atomic<bool> is_open_{false};       // both: atomic
    std::atomic<bool> writer_sleeps_{false}; // both: atomic
    Written sent_;                           // both: atomic
    std::uint64_t progress_ = 0;             // sidecar side

    struct Losses {
        std::atomic<std::uint64_t> messages{0}; // both: atomic
        std::uint32_t connection = 0; // both: guarded by push_mutex_; the present one; 0: none
        std::uint64_t drops = 0;      // both: guarded by push_mutex_
        bool is_late_untold =
            false;                // both: guarded by push_mutex_; something was, and nobody knows
        std::vector<Mark*> marks; // both: guarded by push_mutex_; who waits at present
        std::uint64_t stale_until = 0; // sidecar side; what is bound before it is lost
        std::uint64_t batch_end = 0;   // sidecar side; of the batch that is out, or failed
        bool is_writing = false;       // sidecar side; a batch is out
        bool batch_was_marked = false; // sidecar side; in that batch something was marked
    };
    struct Deadlines {
        SendDeadlines pending;              // both: guarded by push_mutex_
        std::atomic<bool> is_any{false};    // both: atomic
        std::atomic<std::uint64_t> late{0}; // both: atomic; messages that were dropped
    };
    Deadlines deadlines_; // as its members say
    ControlLane control_; // both
    Losses loss_;         // as its members say
};

} // namespace sidecar::detail
