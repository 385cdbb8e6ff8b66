#include "queue/arrivals.hpp"

#include <algorithm>

namespace sidecar::detail {

void Arrivals::add(std::uint64_t position, TimePoint now)
{
    std::lock_guard lock{mutex_};
    if (stamps_.size() <= 1)
        spacing_ = finest_; // the consumer has caught up
    else if (stamps_.size() >= most)
        thin_out();
    stamps_.push_back({position, now});
    producer_next_ = deadline_after(now, spacing_);
    version_.fetch_add(1, std::memory_order_release);
}

/// Every second goes, so that what stays is the earlier of two.
void Arrivals::thin_out()
{
    std::size_t kept = 0;
    for (std::size_t i = 0; i < stamps_.size(); i += 2)
        stamps_[kept++] = stamps_[i];
    stamps_.resize(kept);
    spacing_ = std::max(spacing_ * 2, (stamps_.back().at - stamps_.front().at)
                                          / static_cast<Duration::rep>(most / 2));
}

TimePoint Arrivals::look_up(std::uint64_t position)
{
    std::lock_guard lock{mutex_};
    while (stamps_.size() > 1 && stamps_[1].position <= position)
        stamps_.pop_front();
    if (stamps_.empty())
        return {};
    consumer_ = {.until = stamps_.size() > 1 ? stamps_[1].position : 0,
                 .is_last = stamps_.size() == 1,
                 .version = version_.load(std::memory_order_relaxed),
                 .at = stamps_.front().at};
    return consumer_.at;
}

std::optional<TimePoint> Arrivals::peek(std::uint64_t position) const
{
    std::lock_guard lock{mutex_};
    const auto behind =
        std::upper_bound(stamps_.begin(), stamps_.end(), position,
                         [](std::uint64_t p, const Stamp& stamp) { return p < stamp.position; });
    if (stamps_.empty())
        return std::nullopt;
    return (behind == stamps_.begin() ? *behind : *(behind - 1)).at;
}

} // namespace sidecar::detail
