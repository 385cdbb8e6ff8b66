// Counts messages by topic, in bounded memory.
#pragma once

#include <sidecar/stats.hpp>

#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace sidecar::detail {

/// Counts the first `most` topics one by one, and further ones together. Side: add(): sidecar;
/// stats(): any.
class TopicCounters {
public:
    explicit TopicCounters(std::size_t most) noexcept : most_{most} {}

    /// Without memory for a further topic it counts with the others.
    void add(std::string_view topic, std::size_t bytes, TimePoint now) noexcept;
    /// Returns the topics with the most messages first; the sum of the others is the last.
    [[nodiscard]] std::vector<TopicStats> stats() const;

private:
    struct Hash : std::hash<std::string_view> {
        using is_transparent = void;
    };
    struct Count {
        std::uint64_t messages = 0, bytes = 0;
        TimePoint last_arrival{};
    };
    [[nodiscard]] Count& count_of(std::string_view topic);

    const std::size_t most_; // constant; 0: it counts nothing
    mutable std::mutex mutex_;
    std::unordered_map<std::string, Count, Hash, std::equal_to<>> counts_; // guarded by mutex_
    Count others_;                                                         // guarded by mutex_
};

} // namespace sidecar::detail
