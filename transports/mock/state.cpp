#include "state.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sidecar::mock {

void State::end(std::uint32_t connection, Failure why, bool cuts_writes)
{
    apply([&](State& s) {
        if (connection != 0 && !s.can_receive(connection))
            return;
        if (connection == 0 && s.current.is_up && !s.current.is_ending)
            connection = s.current.number;
        if (connection != 0) {
            s.current.is_ending = true;
            s.current.is_cut = cuts_writes;
        }
        s.incoming.push_back(
            {.what = Incoming::Kind::end, .failure = std::move(why), .connection = connection});
    });
}

void State::add_to_trace(TimePoint now, std::string_view what)
{
    std::lock_guard lock{mutex};
    last_seen = now;
    trace.push_back(fmt::format(
        "{:.3f} {}", std::chrono::duration<double>{now.time_since_epoch()}.count(), what));
}

std::uint32_t State::begin(TimePoint now, std::string token)
{
    if (now < last_seen) { // a new run, whose clock begins at zero
        std::multimap<TimePoint, Incoming> rest;
        for (auto& [when, next] : due)
            rest.emplace(now + std::max(Duration{}, when - last_seen), std::move(next));
        due = std::move(rest);
    }
    last_seen = now;
    Current next{.number = connect_count + 1, .token = token};
    logs.push_back({.number = next.number, .token = std::move(token), .began = now});
    current = std::move(next); // last: there may be no memory for the others
    return ++connect_count;
}

void State::accept(TimePoint now)
{
    const auto is_lost = [&](const Incoming& next) {
        return next.connection != 0 && next.connection != current.number;
    };
    std::erase_if(incoming, is_lost);
    std::erase_if(delayed, [&](const auto& each) { return is_lost(each.second); });
    std::erase_if(due, [&](const auto& each) { return is_lost(each.second); });
    if (const auto end = std::ranges::find(incoming, Incoming::Kind::end, &Incoming::what);
        end != incoming.end()) {
        end->connection = current.number;
        current.is_ending = true;
    }
    current.is_up = true;
    if (auto* log = log_of(current.number))
        log->accepted = now;
}

void State::record_end(std::uint32_t connection, TimePoint now, MockConnectionLog::End end,
                       std::optional<Failure> why)
{
    auto* const log = log_of(connection);
    if (!log || log->end != MockConnectionLog::End::open)
        return;
    log->end = end;
    log->ended = now;
    if (why && why->error() == Error::closed_by_peer) {
        log->close_code = why->close_code();
        log->close_reason = why->close_reason();
    }
    log->failure = std::move(why);
}

std::optional<Incoming> State::take_incoming(bool takes_end)
{
    if (!has_incoming())
        return std::nullopt;
    const auto next = current.is_silent
                          ? std::ranges::find(incoming, Incoming::Kind::end, &Incoming::what)
                          : incoming.begin();
    if (next->what == Incoming::Kind::end && !takes_end)
        return std::nullopt;
    auto taken = std::move(*next);
    incoming.erase(next);
    return taken;
}

TimePoint State::admit_delayed(TimePoint now)
{
    last_seen = now;
    for (auto& [delay, next] : delayed)
        due.emplace(deadline_after(now, delay), std::move(next));
    delayed.clear();
    while (!due.empty() && due.begin()->first <= now) {
        incoming.push_back(std::move(due.begin()->second));
        due.erase(due.begin());
    }
    return due.empty() ? TimePoint::max() : due.begin()->first;
}

} // namespace sidecar::mock
