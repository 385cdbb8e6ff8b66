// How old messages were when the application took them.
#pragma once

#include "base/latency_histogram.hpp"

#include <sidecar/clock.hpp>
#include <sidecar/histogram.hpp>

#include <atomic>
#include <cstdint>
#include <mutex>

namespace sidecar::detail {

/// Counts every message that is taken, and measures some: each, where they are taken slowly or on
/// virtual time; where they are taken fast one in a few microseconds, for a look at the clock costs
/// more than such a message itself. What is not measured counts as the one measured before it. Owned
/// by the inbox. Invariant: what latency() tells of a range never becomes less.
class MessageAges {
public:
    static constexpr std::uint64_t most_stride = 512;

    explicit MessageAges(bool is_virtual) noexcept : is_virtual_{is_virtual} {}
    MessageAges(const MessageAges&) = delete;
    MessageAges& operator=(const MessageAges&) = delete;

    // --- app side, who consumes
    /// One more is taken. True: it is to be measured, with note().
    [[nodiscard]] bool count_one() noexcept
    {
        const auto unmeasured = unmeasured_.load(std::memory_order_relaxed) + 1;
        if (unmeasured >= stride_)
            return true;
        unmeasured_.store(unmeasured, std::memory_order_relaxed);
        return false;
    }
    void note(TimePoint arrival, TimePoint now);
    /// Nothing was there, so the next one is measured.
    void ran_dry() noexcept { stride_ = 1; }

    // --- both
    [[nodiscard]] Latency latency() const;

private:
    const bool is_virtual_;    // both: constant
    std::uint64_t stride_ = 1; // app side, who consumes
    TimePoint noted_at_{};     // app side, who consumes
    /// Since the last one that was. Both: atomic; set to zero with mutex_ held.
    std::atomic<std::uint64_t> unmeasured_{0};

    mutable std::mutex mutex_;
    LatencyHistogram ages_; // both: guarded by mutex_
};

} // namespace sidecar::detail
