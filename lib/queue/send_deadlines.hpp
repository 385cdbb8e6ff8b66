// Which messages of an outbox are to be written in time, or not at all.
#pragma once

#include <sidecar/clock.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

namespace sidecar::detail {

/// The deadlines of those messages in a queue that have one, by position: few queues have any, so they
/// cost nothing in the queue itself; and no memory before the first. Owned by the outbox, guarded by its
/// mutex. It decides nothing but what is late. Invariant: positions grow from front to back.
class SendDeadlines {
public:
    /// Of a message that stands behind all the others.
    void add(std::uint64_t position, TimePoint deadline)
    {
        if (!deadlines_)
            deadlines_ = std::make_unique<std::deque<Deadline>>();
        deadlines_->push_back({position, deadline});
    }
    /// It was not queued after all.
    void take_back_last() { deadlines_->pop_back(); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    [[nodiscard]] std::size_t size() const noexcept { return deadlines_ ? deadlines_->size() : 0; }
    /// The messages before this position are gone.
    void forget_until(std::uint64_t position)
    {
        while (!empty() && deadlines_->front().position < position)
            deadlines_->pop_front();
    }
    /// Where the first message that is late stands; none before `end`: `end`.
    [[nodiscard]] std::uint64_t first_late(std::uint64_t end, TimePoint now) const
    {
        if (empty())
            return end;
        for (const auto& message : *deadlines_) {
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
    std::unique_ptr<std::deque<Deadline>>
        deadlines_; // both: guarded by the outbox's mutex; null: none yet
};

} // namespace sidecar::detail
