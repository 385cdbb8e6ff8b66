#include "link/life.hpp"

#include <utility>

namespace sidecar::detail {

bool Life::connected()
{
    if (cause_ || is_quiesced_)
        return false;
    state_ = State::up;
    return true;
}

bool Life::give_up_connecting(Failure why)
{
    if (state_ != State::connecting || cause_)
        return false;
    cause_ = std::move(why);
    return true;
}

bool Life::quiesce()
{
    is_quiesced_ = true;
    return state_ == State::connecting;
}

bool Life::writing_ended(std::optional<Failure> why)
{
    if (!why || *why == Error::cancelled || state_ != State::up || is_closing())
        return false;
    cause_ = std::move(why);
    return true;
}

void Life::close_ended(std::optional<Failure> why)
{
    close_ = Close::ended;
    close_failure_ = std::move(why);
}

Life::End Life::reading_ended(std::optional<Failure> why)
{
    const bool was_connecting = state_ == State::connecting;
    const bool was_up = state_ == State::up;
    auto failure = why ? *std::move(why) : Failure{Error::cancelled};
    if (cause_ && !(failure == Error::closed_by_peer))
        failure = *cause_; // what followed the first cause is only its consequence
    if (is_quiesced_ && (failure == Error::cancelled || was_connecting))
        failure = Error::stopping;
    state_ = State::down;
    cause_ = failure;
    // During a stop only what broke by itself is worth telling: not what the close brought about.
    const bool broke = was_up && !is_closing() && !(failure == Error::stopping);
    return {.failure = std::move(failure),
            .is_recorded = !is_quiesced_ || broke,
            .is_announced = was_up && !is_quiesced_};
}

} // namespace sidecar::detail
