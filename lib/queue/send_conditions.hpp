// Which messages of an outbox are written only in time, or only on one connection.
#pragma once

#include <sidecar/clock.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

namespace sidecar::detail {

/// The deadlines and connections of those messages in a queue that have one, by position: few have,
/// so they cost nothing in the queue itself, and no memory before the first. A message's position is
/// where the record before it ends. Owned by the outbox, guarded by its mutex. Invariant: positions
/// grow from front to back.
class SendConditions {
public:
    struct Condition {
        std::uint64_t position;
        TimePoint deadline;       ///< max(): none
        std::uint32_t connection; ///< 0: any
    };
    /// Of a message behind all the others.
    void add(const Condition& condition)
    {
        if (!conditions_)
            conditions_ = std::make_unique<std::deque<Condition>>();
        conditions_->push_back(condition);
    }
    /// It was not queued after all.
    void take_back_last() noexcept { conditions_->pop_back(); }
    [[nodiscard]] bool empty() const noexcept { return !conditions_ || conditions_->empty(); }
    /// The messages before this position are gone.
    void forget_until(std::uint64_t position) noexcept
    {
        while (!empty() && conditions_->front().position < position)
            conditions_->pop_front();
    }
    /// The first message before `end` that may not be written on this connection, or not any more;
    /// empty: there is none.
    [[nodiscard]] std::optional<Condition> first_unmet(std::uint64_t end, std::uint32_t connection,
                                                       TimePoint now) const noexcept
    {
        if (!empty())
            for (const auto& condition : *conditions_) {
                if (condition.position >= end)
                    break;
                if (condition.deadline <= now
                    || (condition.connection != 0 && condition.connection != connection))
                    return condition;
            }
        return std::nullopt;
    }

private:
    std::unique_ptr<std::deque<Condition>>
        conditions_; // both: guarded by the outbox's mutex; null: none yet
};

} // namespace sidecar::detail
