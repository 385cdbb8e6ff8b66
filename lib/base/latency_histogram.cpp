#include "base/latency_histogram.hpp"

#include <algorithm>

namespace sidecar::detail {
namespace {

/// Returns Duration::max() on overflow.
Duration product(Duration duration, std::uint64_t times) noexcept
{
    constexpr auto most = static_cast<std::uint64_t>(Duration::max().count());
    const auto count = static_cast<std::uint64_t>(duration.count());
    return count != 0 && times > most / count ? Duration::max()
                                              : Duration{static_cast<Duration::rep>(count * times)};
}

} // namespace

/// A bound is at most an eighth above the one before it, and each of Histogram::bounds is one.
constexpr LatencyHistogram::Bounds LatencyHistogram::make_bounds()
{
    constexpr std::array<int, steps_per_decade> tenths{10, 11, 12, 13, 14, 15, 16, 18, 20,
                                                       22, 24, 25, 28, 30, 33, 37, 41, 46,
                                                       50, 56, 60, 67, 75, 84, 94};
    Bounds bounds{};
    Duration decade = std::chrono::microseconds{1};
    for (std::size_t i = 0; i < decades; ++i, decade *= 10)
        for (std::size_t j = 0; j < tenths.size(); ++j)
            bounds[i * tenths.size() + j] = decade * tenths[j];
    bounds.back() = decade * 10;
    return bounds;
}

constexpr LatencyHistogram::Bounds LatencyHistogram::bounds = make_bounds();

LatencyHistogram::Counts& LatencyHistogram::counts()
{
    if (!counts_)
        counts_ = std::make_unique<Counts>();
    return *counts_;
}

void LatencyHistogram::add(Duration duration, std::uint64_t times)
{
    if (times == 0)
        return;
    duration = std::max(duration, Duration{});
    const auto at = std::lower_bound(bounds.begin(), bounds.end(), duration) - bounds.begin();
    counts()[static_cast<std::size_t>(at)] += times;
    min_ = count_ == 0 ? duration : std::min(min_, duration);
    max_ = std::max(max_, duration);
    last_ = duration;
    sum_ = deadline_after(TimePoint{sum_}, product(duration, times)).time_since_epoch();
    count_ += times;
}

void LatencyHistogram::add(const LatencyHistogram& other)
{
    if (other.count_ == 0)
        return;
    auto& mine = counts();
    for (std::size_t i = 0; i < mine.size(); ++i)
        mine[i] += (*other.counts_)[i];
    min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
    max_ = std::max(max_, other.max_);
    last_ = other.last_;
    sum_ = deadline_after(TimePoint{sum_}, other.sum_).time_since_epoch();
    count_ += other.count_;
}

/// Returns the end of its range, between the least and the most that was added.
Duration LatencyHistogram::quantile(std::uint64_t percent) const
{
    const auto wanted = (count_ / 100) * percent + ((count_ % 100) * percent + 99) / 100;
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < bounds.size(); ++i) {
        seen += (*counts_)[i];
        if (seen >= wanted)
            return std::clamp(bounds[i], min_, max_);
    }
    return max_;
}

Latency LatencyHistogram::latency() const
{
    Latency latency{.count = count_, .last = last_, .min = min_, .max = max_};
    if (count_ == 0)
        return latency;
    latency.p50 = quantile(50);
    latency.p99 = quantile(99);
    latency.histogram.sum = sum_;
    const auto& coarse = Histogram::bounds;
    for (std::size_t i = 0; i < counts_->size(); ++i) {
        const auto at = i == bounds.size()
                            ? coarse.end()
                            : std::lower_bound(coarse.begin(), coarse.end(), bounds[i]);
        latency.histogram.counts[static_cast<std::size_t>(at - coarse.begin())] += (*counts_)[i];
    }
    return latency;
}

} // namespace sidecar::detail
