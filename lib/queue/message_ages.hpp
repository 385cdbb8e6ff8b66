// Measures how old messages are when the application takes them.
#pragma once

#include "base/latency_histogram.hpp"

#include <sidecar/clock.hpp>
#include <sidecar/histogram.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

namespace sidecar::detail {

/// Counts every message that is taken, and measures some: each at low rates or on virtual time; at
/// high rates one in a few microseconds, since a look at the clock costs more than such a message
/// itself. A message that is not measured counts like the one measured before it. Owned by the
/// inbox. Invariant: no count in latency() ever decreases.
class MessageAges {
public:
    static constexpr std::uint64_t max_stride = 512;

    explicit MessageAges(bool is_virtual) noexcept : is_virtual_{is_virtual} {}
    MessageAges(const MessageAges&) = delete;
    MessageAges& operator=(const MessageAges&) = delete;

    // --- app side, the consumer
    /// Counts one taken message. True: it is to be measured, with note().
    [[nodiscard]] bool count_one() noexcept
    {
        const auto unmeasured = unmeasured_.load(std::memory_order_relaxed) + 1;
        if (unmeasured >= stride_)
            return true;
        unmeasured_.store(unmeasured, std::memory_order_relaxed);
        return false;
    }
    /// Measures one message, and chooses after how many to measure again.
    void note(TimePoint arrival, TimePoint now)
    {
        const auto elapsed = now - noted_at_;
        noted_at_ = now;
        if (is_virtual_ || elapsed > often_enough * 64)
            stride_ = 1;
        else if (elapsed < often_enough)
            stride_ = std::min(stride_ * 2, max_stride);
        std::lock_guard lock{mutex_};
        if (const auto unmeasured = unmeasured_.exchange(0, std::memory_order_relaxed))
            ages_.add(ages_.last(), unmeasured);
        ages_.add(now - arrival);
    }
    /// The queue was empty: the next message is measured.
    void ran_dry() noexcept { stride_ = 1; }

    // --- both
    [[nodiscard]] Latency latency() const
    {
        LatencyHistogram ages;
        std::lock_guard lock{mutex_};
        ages.add(ages_);
        ages.add(ages_.last(), unmeasured_.load(std::memory_order_relaxed));
        return ages.latency();
    }

private:
    /// A measurement costs about 60 ns, which is negligible at this interval.
    static constexpr Duration often_enough = std::chrono::microseconds{4};

    const bool is_virtual_;    // both: constant
    std::uint64_t stride_ = 1; // app side, the consumer
    TimePoint noted_at_{};     // app side, the consumer
    /// Messages since the last measured one. Both: atomic; set to zero with mutex_ held.
    std::atomic<std::uint64_t> unmeasured_{0};

    mutable std::mutex mutex_;
    LatencyHistogram ages_; // both: guarded by mutex_
};

} // namespace sidecar::detail
