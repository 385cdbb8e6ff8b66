// The part of Connection that waits for the answers to its subscriptions.
#include "link/connection.hpp"
#include "link/link.hpp"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>

namespace sidecar::detail {

void Connection::watch_for_answers()
{
    const bool expects = link_.subscriptions().expects_answers();
    if (expects == is_watching_)
        return;
    is_watching_ = expects;
    if (expects)
        link_.sink().watch(link_.subscriptions());
    else
        link_.sink().unwatch(link_.subscriptions());
}

void Connection::subscription_answered()
{
    watch_for_answers();
    link_.writer().wake();
}

/// Called by the writer, so that the application receives the answer before `ready`.
void Connection::look_whether_restored()
{
    if (link_.outbox().gate() == SendGate::restoring && link_.subscriptions().is_restored())
        finish_restoring(std::nullopt);
}

void Connection::answers_overdue()
{
    constexpr std::size_t max_named = 16;
    if (link_.outbox().gate() != SendGate::restoring)
        return;
    const auto keys = link_.subscriptions().unacknowledged();
    std::string text = "no answer to";
    for (std::size_t i = 0; i < keys.size() && i < max_named; ++i)
        text += fmt::format("{} \"{}\"", i == 0 ? "" : ",", keys[i]);
    if (keys.size() > max_named)
        text += fmt::format(" and {} more", keys.size() - max_named);
    finish_restoring(Failure{Error::unacknowledged,
                             {.attempted = "send the subscriptions",
                              .endpoint = link_.endpoint(),
                              .explanation = std::move(text)}});
}

void Connection::finish_restoring(std::optional<Failure> failure)
{
    answers_.cancel();
    link_.subscriptions().stop_waiting();
    link_.outbox().set_gate(SendGate::open);
    link_.writer().wake();
    link_.restored(std::move(failure));
}

} // namespace sidecar::detail
