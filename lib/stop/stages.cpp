#include "stop/stages.hpp"

#include <algorithm>
#include <chrono>

namespace sidecar::detail {
namespace {

/// a + b, at most `limit`, without overflow.
Duration add_up_to(Duration limit, Duration a, Duration b) noexcept
{
    return a >= limit - std::min(b, limit) ? limit : a + b;
}

} // namespace

StopStages StopStages::from(TimePoint began, const StopBudget& budget) noexcept
{
    const auto total = budget.total;
    const auto join = std::min<Duration>(total / 8, std::chrono::milliseconds{50});
    const auto cancel = std::min(budget.cancel, total / 4);
    const auto close_by =
        add_up_to(total - join - cancel, std::min(budget.drain, total), budget.close);
    const auto drain_by = std::min(budget.drain, close_by);
    const auto cancel_by = add_up_to(total - join, close_by, budget.cancel);
    return {deadline_after(began, drain_by), deadline_after(began, close_by),
            deadline_after(began, cancel_by)};
}

} // namespace sidecar::detail
