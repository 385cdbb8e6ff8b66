// How often something had to wait, and for how long.
#pragma once

#include <sidecar/clock.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>

namespace sidecar::detail {

/// Written by the sidecar side, read by any thread. Owned by what waits: the listener for space in the
/// inbox, the writer for the rate limit.
class PauseMeter {
public:
    /// While a pause is under way: no effect. `is_counted`: false where this one goes on with the
    /// pause before it.
    void begin(TimePoint now, bool is_counted = true) noexcept
    {
        if (is_paused())
            return;
        if (is_counted)
            count_.fetch_add(1, std::memory_order_relaxed);
        since_ = now;
    }
    /// False: there is no pause.
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
        Duration total{}; ///< the present one included
    };
    [[nodiscard]] Pauses pauses(TimePoint now) const noexcept
    {
        const auto since = since_.load();
        return {count_.load(), ended_.load() + (since == none ? Duration{} : now - since)};
    }

private:
    static constexpr TimePoint none = TimePoint::max();

    std::atomic<std::uint64_t> count_{0}; // both: atomic
    std::atomic<Duration> ended_{};       // both: atomic; the time of the pauses before
    std::atomic<TimePoint> since_{none};  // both: atomic
};

} // namespace sidecar::detail
