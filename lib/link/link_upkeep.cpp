// What a link does beside moving messages: it asks its peer for signs of life, and ends without them.
#include "link/link.hpp"

#include <utility>

namespace sidecar::detail {

void LinkImpl::ask_peer()
{
    if (auto* heartbeats = upkeep_.keep_alive.heartbeats()) {
        heartbeats->set_due(true);
        connection_->wake_writer();
    } else {
        connection_->ping();
    }
}

void LinkImpl::tell_data(Event::Kind kind, Duration data_age)
{
    push_event({.position = 0, .kind = kind, .link = id(), .failure = {}, .data_age = data_age});
}

void LinkImpl::drop(FailureDetails why)
{
    why.endpoint = settings_.endpoint;
    Failure failure{Error::unresponsive, std::move(why)};
    if (life_.state() == Life::State::preparing) {
        if (give_up(std::move(failure)))
            connection_->cancel_connecting();
    } else if (writing_ended(std::move(failure))) {
        connection_->abort();
    }
}

} // namespace sidecar::detail
