#include "link/link_state.hpp"

#include <utility>

namespace sidecar::detail {

bool is_of_network(Error error) noexcept
{
    switch (error) {
    case Error::connect_failed:
    case Error::disconnected:
    case Error::timed_out:
    case Error::tls_failed:
    case Error::unacknowledged:
    case Error::unresponsive: return true;
    default: return false;
    }
}

bool LinkState::connected()
{
    if (cause_ || is_quiesced_)
        return false;
    state_ = State::preparing;
    return true;
}

bool LinkState::prepared()
{
    if (state() != State::preparing || cause_ || is_quiesced_)
        return false;
    state_ = State::up;
    was_up_ = true;
    return true;
}

bool LinkState::announce()
{
    if (std::exchange(is_announced_, true))
        return false;
    connection_.fetch_add(1);
    return true;
}

bool LinkState::give_up(Failure why)
{
    if (state() > State::preparing || cause_ || is_quiesced_)
        return false;
    cause_ = std::move(why);
    return true;
}

bool LinkState::quiesce()
{
    is_quiesced_ = true;
    if (state() == State::backing_off)
        go_down();
    return state() != State::up && state() != State::failing;
}

bool LinkState::condemn(Failure why)
{
    if (!is_open() || cause_ || is_closing())
        return false;
    cause_ = std::move(why);
    if (state() == State::up)
        state_ = State::failing;
    return true;
}

bool LinkState::writing_ended(std::optional<Failure> why)
{
    if (!why || *why == Error::cancelled || !condemn(*std::move(why)))
        return false;
    is_cause_of_send_ = true;
    return true;
}

void LinkState::close_began()
{
    if (close_ == Close::none)
        close_ = Close::under_way;
}

void LinkState::close_ended(std::optional<Failure> why)
{
    if (std::exchange(close_, Close::ended) != Close::ended)
        close_failure_ = std::move(why);
}

LinkState::End LinkState::reading_ended(std::optional<Failure> why)
{
    const bool was_up = state() == State::up || state() == State::failing;
    const bool was_announced = std::exchange(is_announced_, false);
    auto failure = why ? *std::move(why) : Failure{Error::cancelled};
    // Failures after the first cause are only its consequences
    if (cause_ && !(is_cause_of_send_ && failure == Error::closed_by_peer))
        failure = *cause_;
    if (is_quiesced_ && (failure == Error::cancelled || !was_up))
        failure = Error::stopping;
    // During a stop, report only a failure that the close did not cause.
    const bool broke = was_up && !is_closing() && !(failure == Error::stopping);
    if (is_closed_by_application_ && !broke)
        failure = Error::link_closed;
    // The end of an announced outage is its last `retry`, with no further `down`. The application's
    // close is the exception: it reports a `down`.
    const bool is_closed = connection() != 0 && failure == Error::link_closed;
    state_ = may_return() ? State::backing_off : State::down;
    cause_ = failure;
    return {.failure = std::move(failure),
            .is_recorded = !is_quiesced_ || broke,
            .was_announced = was_announced,
            .is_announced =
                (was_announced || is_closed) && (!is_quiesced_ || is_closed_by_application_),
            .may_return = may_return()};
}

bool LinkState::retry()
{
    if (state() != State::backing_off || is_quiesced_)
        return false;
    state_ = State::connecting;
    cause_.reset();
    is_cause_of_send_ = false;
    return true;
}

} // namespace sidecar::detail
