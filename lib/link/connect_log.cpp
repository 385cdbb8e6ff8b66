#include "link/connect_log.hpp"

#include <string>

namespace sidecar::detail {

void ConnectLog::begin(TimePoint now)
{
    std::lock_guard lock{mutex_};
    trace_ = {};
    began_ = step_began_ = now;
    is_under_way_ = true;
}

void ConnectLog::close_step(ConnectTrace& trace, TimePoint now) const
{
    if (!trace.steps.empty())
        trace.steps.back().took += now - step_began_;
    trace.total = now - began_;
}

void ConnectLog::enter(Phase phase, std::string_view detail, TimePoint now)
{
    std::lock_guard lock{mutex_};
    if (!is_under_way_)
        return;
    auto& steps = trace_.steps;
    // What comes before the transport says anything belongs to the first thing it does.
    if (!steps.empty())
        close_step(trace_, now);
    const bool goes_on = !steps.empty() && steps.back().phase == phase;
    if (goes_on)
        steps.back().detail = detail;
    else if (steps.size() < most_entries)
        steps.push_back({phase, std::string{detail}, steps.empty() ? now - began_ : Duration{}});
    step_began_ = now;
}

void ConnectLog::tried(std::string_view address, std::string_view outcome, Duration took)
{
    std::lock_guard lock{mutex_};
    if (is_under_way_ && trace_.attempts.size() < most_entries)
        trace_.attempts.push_back({std::string{address}, std::string{outcome}, took});
}

void ConnectLog::end(TimePoint now)
{
    std::lock_guard lock{mutex_};
    if (!is_under_way_)
        return;
    is_under_way_ = false;
    close_step(trace_, now);
}

ConnectTrace ConnectLog::trace(TimePoint now) const
{
    std::lock_guard lock{mutex_};
    auto trace = trace_;
    if (is_under_way_)
        close_step(trace, now);
    return trace;
}

} // namespace sidecar::detail
