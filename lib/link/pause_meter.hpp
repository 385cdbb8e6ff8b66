// PauseMeter: counts pauses and adds up their time.
#pragma once

#include <sidecar/clock.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>

namespace sidecar::detail {

/// Written by the sidecar side, read by any thread. Owned by the waiting part: the sink for its
/// listener (inbox capacity), the writer (rate limit).
class PauseMeter {
public:
    /// Begins a pause; no effect during one. `is_counted`: false if this pause continues the
    /// previous one.
    void begin(TimePoint now, bool is_counted = true) noexcept
    {
        if (is_paused())
            return;
        if (is_counted)
            count_.fetch_add(1, std::memory_order_relaxed);
        since_ = now;
    }
    /// Ends the pause. Returns false if there is none.
    bool end(TimePoint now) noexcept
    {
        const auto since = since_.exchange(none);
        if (since != none)
            ended_.store(ended_.load() + (now - since));
        return since != none;
    }
    [[nodiscard]] bool is_paused() const noexcept { return since_.load() != none; }
    struct Pauses {
        std::uint64_t count = 0;
        Duration total{}; ///< including the current one
    };
    [[nodiscard]] Pauses pauses(TimePoint now) const noexcept
    {
        const auto since = since_.load();
        return {count_.load(), ended_.load() + (since == none ? Duration{} : now - since)};
    }

private:
    static constexpr TimePoint none = TimePoint::max();

    std::atomic<std::uint64_t> count_{0}; // both: atomic
    std::atomic<Duration> ended_{};       // both: atomic; of ended pauses
    std::atomic<TimePoint> since_{none};  // both: atomic
};

} // namespace sidecar::detail
