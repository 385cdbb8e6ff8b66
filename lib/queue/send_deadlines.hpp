// Which messages of an outbox are to be written in time, or not at all.
#pragma once

#include <sidecar/clock.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>

namespace sidecar::detail {

/// The deadlines of those messages in a queue that have one, by position: few queues have any, so they
/// cost nothing in the queue itself. Owned by the outbox, guarded by its mutex. It decides nothing but
/// what is late. Invariant: positions grow from front to back.
class SendDeadlines {
public:
    /// Of a message that stands behind all the others.
    void add(std::uint64_t position, TimePoint deadline)
    {
        deadlines_.push_back({position, deadline});
    }
    /// It was not queued after all.
    void take_back_last() { deadlines_.pop_back(); }
    [[nodiscard]] bool empty() const noexcept { return deadlines_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return deadlines_.size(); }
    /// The messages before this position are gone.
    void forget_until(std::uint64_t position)
    {
        while (!deadlines_.empty() && deadlines_.front().position < position)
            deadlines_.pop_front();
    }
    /// Where the first message that is late stands; none before `end`: `end`.
    [[nodiscard]] std::uint64_t first_late(std::uint64_t end, TimePoint now) const
    {
        for (const auto& message : deadlines_) {
            if (message.position >= end)
                break;
            if (message.deadline <= now)
                return message.position;
        }
        return end;
    }

private:
    struct Deadline {
        std::uint64_t position;
        TimePoint deadline;
    };
    std::deque<Deadline> deadlines_; // both: guarded by the outbox's mutex
};

} // namespace sidecar::detail
