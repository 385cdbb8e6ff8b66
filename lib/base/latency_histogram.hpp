// Counts durations in bounded memory, for their quantiles and for the coarser histogram of the
// stats.
#pragma once

#include <sidecar/histogram.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace sidecar::detail {

/// Counts durations in 24 ranges for each power of ten, from 10 microseconds to 100 seconds; the
/// ends of the ranges include all of Histogram::bounds. Its owner guards it. Many links never
/// measure anything, so the first add() allocates the counters.
class LatencyHistogram {
public:
    LatencyHistogram() = default;
    LatencyHistogram(LatencyHistogram&&) = default;
    LatencyHistogram& operator=(LatencyHistogram&&) = default;

    /// Adds `duration`, `times` times; below zero counts as zero. Throws bad_alloc.
    void add(Duration duration, std::uint64_t times = 1);
    /// Adds all that another has counted; last() is then the other's, if that has one. Throws
    /// bad_alloc.
    void add(const LatencyHistogram& other);
    [[nodiscard]] Latency latency() const;
    [[nodiscard]] Duration last() const noexcept { return last_; }

private:
    static constexpr std::size_t steps_per_decade = 25;
    static constexpr std::size_t decades = 7;
    static constexpr std::size_t bound_count = steps_per_decade * decades + 1;
    using Bounds = std::array<Duration, bound_count>;
    using Counts = std::array<std::uint64_t, bound_count + 1>;

    static constexpr Bounds make_bounds();
    static const Bounds bounds;
    [[nodiscard]] Counts& counts();
    [[nodiscard]] Duration quantile(std::uint64_t percent) const;

    std::unique_ptr<Counts> counts_; // null: nothing was added
    std::uint64_t count_ = 0;
    Duration last_{};
    Duration min_{};
    Duration max_{};
    Duration sum_{};
};

} // namespace sidecar::detail
