// A link's queue of messages that are to be sent.
#pragma once

#include "base/stop_request.hpp"
#include "base/wait_point.hpp"
#include "queue/record_ring.hpp"

#include <sidecar/batch.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/options.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

namespace sidecar::detail {

/// Any thread of the application pushes, the link's writer takes batches out. Owned by its link.
/// What was accepted is either written or counted as unsent, never both. Many links never send, so
/// the ring behind it is made by the first push; and each time when the writer has nothing to do,
/// what a burst took of memory goes back but for half a MiB.
class Outbox final : public BatchSource {
public:
    /// Lifetime: `stop` and `written` outlive it. `written`: where senders wait.
    Outbox(const QueueLimits& limits, const StopRequest& stop, WaitPoint& written) noexcept
        : limits_{limits}, stop_{stop}, written_{written}
    {
    }

    // --- app side, any thread
    enum class Push { queued, full, closed, too_big };
    [[nodiscard]] Push push(LinkId link, MessageKind kind, std::span<const std::byte> payload);
    /// After a push: true, once, if the writer sleeps and has to be woken.
    [[nodiscard]] bool wakes_writer() noexcept;
    /// The writer could not be woken after all, so the next push has to.
    void note_not_woken() noexcept { writer_sleeps_.store(true, std::memory_order_seq_cst); }
    [[nodiscard]] bool is_open() const noexcept { return is_open_.load(std::memory_order_seq_cst); }
    /// The position behind all that was pushed before.
    [[nodiscard]] std::uint64_t pushed_position();
    [[nodiscard]] bool is_written(std::uint64_t position) const noexcept
    {
        return position == 0 || ring()->reads_published() >= position;
    }
    [[nodiscard]] std::size_t largest_message() const noexcept { return largest_.load(); }

    // --- both
    /// From now on pushes are refused, and who waits for room is woken.
    void close() noexcept;
    /// Null as long as nothing was pushed.
    [[nodiscard]] const RecordRing* ring() const noexcept
    {
        return ring_.load(std::memory_order_acquire);
    }
    /// Accepted and not written.
    [[nodiscard]] std::uint64_t unsent_messages() const noexcept
    {
        return ring() ? ring()->counts().queued() : 0;
    }

    // --- sidecar side
    void open() noexcept { is_open_.store(true, std::memory_order_seq_cst); }
    /// Waits for pushes that are half done; after close() nothing comes any more.
    void settle_pushes() { std::lock_guard lock{push_mutex_}; }
    /// Whether something is accepted and not written, or just being written.
    [[nodiscard]] bool has_unsent() const noexcept
    {
        return is_writing_ || (ring() && !ring()->empty());
    }
    /// All that is queued now; empty: nothing. Then finish() or give_up_batch().
    [[nodiscard]] std::optional<Batch> next_batch();
    /// The writer is about to sleep. False: something has come, so it must not.
    [[nodiscard]] bool prepare_sleep() noexcept;
    void woke() noexcept { writer_sleeps_.store(false, std::memory_order_relaxed); }
    /// What of the batch was not marked yet is written.
    void finish(const Batch& batch);
    /// Its write failed.
    void give_up_batch() noexcept { is_writing_ = false; }
    struct Written { // both: atomic
        std::atomic<std::uint64_t> messages{0}, bytes{0};
    };
    [[nodiscard]] const Written& sent() const noexcept { return sent_; }

    // BatchSource
    [[nodiscard]] MessageView read(std::uint64_t& position) const override;
    void mark_written(std::size_t count, std::uint64_t end) override;

private:
    [[nodiscard]] RecordRing& make_ring();

    const QueueLimits limits_; // both: constant
    const StopRequest& stop_;  // both
    WaitPoint& written_;       // both

    std::mutex push_mutex_;                  // app side: one producer at a time
    std::unique_ptr<RecordRing> owner_;      // app side: guarded by push_mutex_
    std::atomic<RecordRing*> ring_{nullptr}; // app side produces, sidecar side consumes
    std::atomic<std::size_t> largest_{0};    // both: atomic; 0: no ring yet
    std::atomic<bool> is_open_{false};       // both: atomic
    std::atomic<bool> writer_sleeps_{false}; // both: atomic
    Written sent_;                           // both: atomic
    bool is_writing_ = false;                // sidecar side; a batch is out
};

} // namespace sidecar::detail
