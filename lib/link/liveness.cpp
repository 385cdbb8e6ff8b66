#include "link/liveness.hpp"

#include <algorithm>

namespace sidecar::detail {

LivenessMonitor::LivenessMonitor(const Liveness& options, bool can_ask) noexcept
    : interval_{options.interval},
      timeout_{options.timeout},
      data_timeout_{options.data_timeout},
      asks_{can_ask && options.interval > Duration{}},
      drops_stale_{options.on_stale == OnStale::drop}
{
}

void LivenessMonitor::up(TimePoint now) noexcept
{
    up_at_ = now;
    question_ = Question::none;
    is_stale_ = false;
}

void LivenessMonitor::asked_written(TimePoint now) noexcept
{
    if (question_ != Question::unwritten)
        return;
    question_ = Question::written;
    deadline_from_ = now;
}

/// What came before the connection, or before the last pause, does not count.
TimePoint LivenessMonitor::begin_of(TimePoint last, const Signs& signs) const noexcept
{
    return std::max({up_at_, last, signs.resumed_at});
}

LivenessMonitor::Verdict LivenessMonitor::look(const Signs& signs, TimePoint now) noexcept
{
    if (signs.is_paused) {
        const auto shortest = std::min(asks_ ? interval_ : Duration::max(),
                                       watches_data() ? data_timeout_ : Duration::max());
        return {.next_look = deadline_after(now, shortest)};
    }
    const auto data = look_for_data(signs, now);
    if (data.what != What::wait)
        return data;
    auto life = look_for_life(signs, now);
    life.next_look = std::min(life.next_look, data.next_look);
    return life;
}

LivenessMonitor::Verdict LivenessMonitor::look_for_data(const Signs& signs, TimePoint now) noexcept
{
    if (!watches_data())
        return {};
    if (is_stale_) {
        if (signs.data_at == stale_data_at_)
            return {};
        is_stale_ = false;
        return {.what = What::tell_fresh,
                .silence = signs.data_at - std::max(up_at_, stale_data_at_)};
    }
    const auto since = begin_of(signs.data_at, signs);
    const auto due = deadline_after(since, data_timeout_);
    if (now < due)
        return {.next_look = due};
    stale_data_at_ = signs.data_at;
    is_stale_ = true;
    return {.what = drops_stale_ ? What::drop_stale : What::tell_stale, .silence = now - since};
}

LivenessMonitor::Verdict LivenessMonitor::look_for_life(const Signs& signs, TimePoint now) noexcept
{
    if (!asks_)
        return {};
    const auto alive_at = begin_of(signs.heard_at, signs);
    if (question_ == Question::written && alive_at >= asked_at_)
        question_ = Question::none;
    if (question_ == Question::none) {
        const auto due = deadline_after(alive_at, interval_);
        if (now < due)
            return {.next_look = due};
        question_ = Question::unwritten;
        asked_at_ = deadline_from_ = now;
        written_ = signs.written;
        return {.what = What::ask, .silence = now - alive_at};
    }
    if (question_ == Question::unwritten) {
        // It waits behind what the system takes bit by bit, so somebody at the other end takes it.
        if (signs.written != written_)
            deadline_from_ = now;
        written_ = signs.written;
        deadline_from_ = std::max(deadline_from_, alive_at);
    }
    const auto deadline = deadline_after(deadline_from_, timeout_);
    // An answer that comes meanwhile begins an interval, which may end before the deadline
    if (now < deadline)
        return {.next_look = std::min(deadline, deadline_after(now, interval_))};
    return {.what = What::drop_dead,
            .silence = now - alive_at,
            .was_asked = question_ == Question::written};
}

Result<void> check_liveness(const Liveness& options)
{
    const auto zero = Duration{};
    const auto refuse = [](const char* why) -> Result<void> {
        return Failure{Error::bad_options,
                       {.attempted = "start", .explanation = std::string{"liveness: "} + why}};
    };
    if (options.interval < zero || options.timeout < zero || options.data_timeout < zero)
        return refuse("no time may be negative");
    if (options.interval > zero && options.timeout == zero)
        return refuse("a timeout of zero leaves no time for an answer");
    if (options.interval > options.timeout && options.interval > zero)
        return refuse("the interval is longer than the timeout; a shorter interval finds a dead "
                      "peer as soon, and takes fewer slow ones for dead");
    if (options.on_stale == OnStale::drop && options.data_timeout == zero)
        return refuse("on_stale without a data_timeout would never drop");
    if (options.heartbeat && options.interval == zero)
        return refuse("a heartbeat without an interval would never be sent");
    return {};
}

} // namespace sidecar::detail
