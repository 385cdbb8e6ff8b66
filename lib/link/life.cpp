#include "link/life.hpp"

#include <utility>

namespace sidecar::detail {

bool Life::connected()
{
    if (cause_ || is_quiesced_)
        return false;
    state_ = State::preparing;
    return true;
}

bool Life::prepared()
{
    if (state_ != State::preparing || cause_ || is_quiesced_)
        return false;
    state_ = State::up;
    was_up_ = true;
    return true;
}

bool Life::give_up(Failure why)
{
    if ((state_ != State::connecting && state_ != State::preparing) || cause_ || is_quiesced_)
        return false;
    cause_ = std::move(why);
    return true;
}

bool Life::quiesce()
{
    is_quiesced_ = true;
    if (state_ == State::backing_off)
        state_ = State::down;
    return state_ != State::up;
}

bool Life::condemn(Failure why)
{
    if (!is_open() || cause_ || is_closing())
        return false;
    cause_ = std::move(why);
    return true;
}

bool Life::writing_ended(std::optional<Failure> why)
{
    if (!why || *why == Error::cancelled || !is_open() || cause_ || is_closing())
        return false;
    cause_ = std::move(why);
    is_cause_of_send_ = true;
    return true;
}

void Life::close_ended(std::optional<Failure> why)
{
    close_ = Close::ended;
    close_failure_ = std::move(why);
}

Life::End Life::reading_ended(std::optional<Failure> why)
{
    const bool was_up = state_ == State::up;
    auto failure = why ? *std::move(why) : Failure{Error::cancelled};
    // What followed the first cause is only its consequence
    if (cause_ && !(is_cause_of_send_ && failure == Error::closed_by_peer))
        failure = *cause_;
    if (is_quiesced_ && (failure == Error::cancelled || !was_up))
        failure = Error::stopping;
    // During a stop only what broke by itself is worth telling: not what the close brought about.
    const bool broke = was_up && !is_closing() && !(failure == Error::stopping);
    if (is_closed_by_application_ && !broke)
        failure = Error::link_closed;
    state_ = State::down;
    cause_ = failure;
    return {.failure = std::move(failure),
            .is_recorded = !is_quiesced_ || broke,
            .is_announced = was_up && (!is_quiesced_ || is_closed_by_application_),
            .may_return = may_return()};
}

bool Life::retry()
{
    if (state_ != State::backing_off || is_quiesced_)
        return false;
    state_ = State::connecting;
    cause_.reset();
    is_cause_of_send_ = false;
    return true;
}

} // namespace sidecar::detail
