#include "queue/topic_counters.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace sidecar::detail {

void TopicCounters::add(std::string_view topic, std::size_t bytes, TimePoint now) noexcept
{
    if (most_ == 0)
        return;
    std::lock_guard lock{mutex_};
    auto& count = count_of(topic);
    ++count.messages;
    count.bytes += bytes;
    count.last_arrival = now;
}

TopicCounters::Count& TopicCounters::count_of(std::string_view topic)
{
    if (const auto found = counts_.find(topic); found != counts_.end())
        return found->second;
    if (topic.empty() || counts_.size() == most_)
        return others_;
    try {
        return counts_[std::string{topic}];
    } catch (const std::bad_alloc&) {
        return others_;
    }
}

std::vector<TopicStats> TopicCounters::stats() const
{
    std::vector<TopicStats> stats;
    std::lock_guard lock{mutex_};
    for (const auto& [topic, count] : counts_)
        stats.push_back({topic, count.messages, count.bytes, count.last_arrival});
    std::sort(stats.begin(), stats.end(), [](const auto& a, const auto& b) {
        return std::pair{b.messages, std::string_view{a.topic}}
               < std::pair{a.messages, std::string_view{b.topic}};
    });
    if (others_.messages != 0)
        stats.push_back({"", others_.messages, others_.bytes, others_.last_arrival});
    return stats;
}

} // namespace sidecar::detail
