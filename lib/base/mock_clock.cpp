#include <sidecar/mock_clock.hpp>

#include "base/virtual_time.hpp"

#include <sidecar/error.hpp>

#include <fmt/format.h>

#include <atomic>
#include <exception>
#include <thread>
#include <utility>

namespace sidecar {

MockClock::MockClock(const Options& options)
    : time_{std::make_shared<detail::VirtualTime>(options.virtual_time, options.interleaving)}
{
}

TimePoint MockClock::now() const noexcept { return time_->now(); }

void MockClock::advance(Duration duration) const
{
    if (time_->is_loop_thread())
        throw Exception{Failure{Error::misuse,
                                {.attempted = "let time pass",
                                 .explanation = "time cannot pass while a loop's thread runs"}}};
    if (!time_->advance(duration))
        throw Exception{Failure{Error::time_limit,
                                {.attempted = "let time pass", .explanation = time_->why_never()}}};
}

void MockClock::settle() const { time_->settle(); }

struct MockThread::State {
    std::shared_ptr<detail::VirtualTime> time; // both: constant
    std::function<void()> function;            // the thread's
    detail::VirtualTime::Waiter beginning;     // see VirtualTime
    detail::Futex ended_or_not;                // both
    std::atomic<bool> has_ended{false};        // both: atomic
    std::exception_ptr exception;              // the thread's, until has_ended
    std::thread thread;                        // app side

    void run() noexcept
    {
        time->begin(beginning);
        try {
            function();
        } catch (...) {
            exception = std::current_exception();
        }
        function = {};
        has_ended = true;
        ended_or_not.wake();
        time->end();
    }
};

MockThread::MockThread(const MockClock& clock, std::function<void()> function)
    : state_{std::make_shared<State>()}
{
    state_->time = clock.time_;
    state_->function = std::move(function);
    state_->time->enter();
    state_->time->announce(state_->beginning);
    try {
        state_->thread = std::thread{[state = state_] { state->run(); }};
    } catch (...) {
        state_->time->renounce(state_->beginning);
        state_->time->leave();
        throw;
    }
}

MockThread::~MockThread()
{
    try {
        join();
    } catch (...) { // documented
    }
}

void MockThread::join()
{
    if (!state_)
        return;
    const auto state = std::exchange(state_, nullptr);
    // Without a limit: the thread must end before this object.
    while (!state->time->wait(state->ended_or_not, TimePoint::max(),
                              [&] { return state->has_ended.load(); })) {
    }
    state->thread.join();
    state->time->leave();
    if (state->exception)
        std::rethrow_exception(std::exchange(state->exception, nullptr));
}

} // namespace sidecar
