// The request to stop: made once, from anywhere, seen by everybody.
#pragma once

#include "base/notify_fd.hpp"

#include <sidecar/clock.hpp>
#include <sidecar/error.hpp>

#include <atomic>
#include <chrono>

namespace sidecar::detail {

/// When a run's stop was requested, whether it is over, and a descriptor that wakes the loop for it.
/// Owned by the run. Once made it stays. Side: any thread; make() any signal handler too.
class StopRequest {
public:
    /// True: it is the first.
    bool make() noexcept
    {
        Duration::rep none = 0;
        const bool is_first = made_at_.compare_exchange_strong(
            none, std::chrono::steady_clock::now().time_since_epoch().count());
        fd_.raise(); // each time: the thread of the first may be off its core before it comes to this
        return is_first;
    }
    [[nodiscard]] bool is_made() const noexcept { return made_at_.load() != 0; }
    /// On the real clock. Only when it is made.
    [[nodiscard]] TimePoint made_at() const noexcept
    {
        return TimePoint{Duration{made_at_.load()}};
    }
    /// The stop is over: joined, or the thread was left alone.
    void note_over() noexcept { is_over_.store(true); }
    [[nodiscard]] bool is_over() const noexcept { return is_over_.load(); }
    /// What a call says that comes too late.
    [[nodiscard]] Error refusal() const noexcept
    {
        return is_over() ? Error::stopped : Error::stopping;
    }
    /// Readable from the request on.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

private:
    std::atomic<Duration::rep> made_at_{0}; // both: atomic; real time, 0: not made
    std::atomic<bool> is_over_{false};      // both: atomic
    NotifyFd fd_;                           // both
};

} // namespace sidecar::detail
