// The request to stop: any thread or signal handler makes it, once, and all threads see it.
#pragma once

#include "base/notify_fd.hpp"

#include <sidecar/clock.hpp>
#include <sidecar/close_reason.hpp>
#include <sidecar/error.hpp>

#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <utility>

namespace sidecar::detail {

/// Holds when a run's stop was requested and whether the stop is over; wakes the loop through a
/// descriptor. A request cannot be withdrawn. Owned by the run. Side: any thread; make() any signal
/// handler too.
class StopRequest {
public:
    /// Requests the stop. True: this is the first request.
    bool make() noexcept
    {
        Duration::rep none = 0;
        const bool is_first = made_at_.compare_exchange_strong(
            none, std::chrono::steady_clock::now().time_since_epoch().count());
        fd_.raise(); // each time: the first thread may be suspended before this line
        return is_first;
    }
    [[nodiscard]] bool is_made() const noexcept { return made_at_.load() != 0; }
    /// Returns the time of the request on the real clock. Call it only if is_made().
    [[nodiscard]] TimePoint made_at() const noexcept
    {
        return TimePoint{Duration{made_at_.load()}};
    }
    /// Records that the stop is over: the thread is joined or orphaned, or never started.
    void mark_over() noexcept { is_over_.store(true); }
    [[nodiscard]] bool is_over() const noexcept { return is_over_.load(); }
    /// Returns the error of a call that comes too late.
    [[nodiscard]] Error refusal() const noexcept
    {
        return is_over() ? Error::stopped : Error::stopping;
    }
    /// Sets what the closes of this stop say; the first call counts.
    void set_reason(CloseReason reason)
    {
        std::lock_guard lock{mutex_};
        if (!reason_)
            reason_ = std::move(reason);
    }
    [[nodiscard]] CloseReason reason() const
    {
        std::lock_guard lock{mutex_};
        return reason_.value_or(CloseReason{});
    }
    /// Returns a descriptor that is readable from the request on.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

private:
    std::atomic<Duration::rep> made_at_{0}; // both: atomic; real time, 0: not made
    std::atomic<bool> is_over_{false};      // both: atomic
    NotifyFd fd_;                           // both
    mutable std::mutex mutex_;              // never in a signal handler
    std::optional<CloseReason> reason_;     // both: guarded by mutex_
};

} // namespace sidecar::detail
