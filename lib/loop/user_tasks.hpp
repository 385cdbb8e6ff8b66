// Runs the application's coroutines on the loop: spawn() and call().
#pragma once

#include "base/wait_queue.hpp"
#include "loop/event_loop.hpp"

#include <sidecar/detail/call.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <string>

namespace sidecar::detail {

/// Runs the user's coroutine functions as tasks of the loop, and records how they end: in the
/// call's state if there is one, else in the journal. Owned by the run.
class UserTasks {
public:
    /// `refuses`: true once a stop has begun; called on the loop. `progressed`: callers wait there.
    /// Lifetime: `loop` and `progressed` outlive it.
    UserTasks(EventLoop& loop, WaitQueue& progressed, std::function<bool()> refuses)
        : loop_{loop}, progressed_{progressed}, refuses_{std::move(refuses)}
    {
    }

    /// Posts the coroutine to the loop. `state`: receives how it ends; null for spawn(). Throws
    /// bad_alloc. Side: app.
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
    WaitQueue& progressed_;               // both
    const std::function<bool()> refuses_; // sidecar side
};

} // namespace sidecar::detail
