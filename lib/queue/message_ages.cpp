#include "queue/message_ages.hpp"

#include <algorithm>
#include <chrono>

namespace sidecar::detail {
namespace {

/// To measure costs about 60 ns; so often it is not felt.
constexpr Duration often_enough = std::chrono::microseconds{4};

} // namespace

void MessageAges::note(TimePoint arrival, TimePoint now)
{
    const auto elapsed = now - noted_at_;
    noted_at_ = now;
    if (is_virtual_ || elapsed > often_enough * 64)
        stride_ = 1;
    else if (elapsed < often_enough)
        stride_ = std::min(stride_ * 2, most_stride);
    std::lock_guard lock{mutex_};
    ages_.add(ages_.last(), unmeasured_.exchange(0, std::memory_order_relaxed));
    ages_.add(now - arrival);
}

Latency MessageAges::latency() const
{
    LatencyHistogram ages;
    std::lock_guard lock{mutex_};
    ages.add(ages_);
    ages.add(ages_.last(), unmeasured_.load(std::memory_order_relaxed));
    return ages.latency();
}

} // namespace sidecar::detail
