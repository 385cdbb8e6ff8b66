// The coroutines that the application has the loop run: spawn() and call().
#pragma once

#include "base/wait_point.hpp"
#include "loop/event_loop.hpp"

#include <sidecar/detail/call.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <string>

namespace sidecar::detail {

/// Runs the user's coroutine functions as tasks of the loop, and notes how they end: where somebody
/// waits for it, in the call's state, else in the journal. Owned by the run.
class UserTasks {
public:
    /// `refuses`: asked on the loop, whether a stop has begun. `progressed`: where callers wait.
    UserTasks(EventLoop& loop, WaitPoint& progressed, std::function<bool()> refuses)
        : loop_{loop}, progressed_{progressed}, refuses_{std::move(refuses)}
    {
    }

    /// Side: app. `state`: null for spawn().
    void spawn(std::string name, TaskFactory factory, std::shared_ptr<CallState> state);

private:
    struct Job { // shared by the handlers that run one after the other
        std::string name;
        TaskFactory factory;
        std::shared_ptr<CallState> state;
    };
    void begin(const std::shared_ptr<Job>& job);
    void ended(const Job& job, std::exception_ptr exception);
    void finish(CallState& state, std::exception_ptr exception, bool was_stopped);

    EventLoop& loop_;                     // both
    WaitPoint& progressed_;               // both
    const std::function<bool()> refuses_; // sidecar side
};

} // namespace sidecar::detail
