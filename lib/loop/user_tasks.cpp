#include "loop/user_tasks.hpp"

#include <utility>

namespace sidecar::detail {
namespace {

Task<> rethrow(std::exception_ptr exception)
{
    std::rethrow_exception(exception);
    co_return;
}

} // namespace

void UserTasks::spawn(std::string name, TaskFactory factory, std::shared_ptr<CallState> state)
{
    loop_.post([this, job = std::make_shared<Job>(Job{std::move(name), std::move(factory),
                                                      std::move(state)})] { begin(job); });
}

void UserTasks::begin(const std::shared_ptr<Job>& job)
{
    if (refuses_()) {
        if (job->state)
            finish(*job->state, nullptr, true);
        return;
    }
    const auto make = [&](TaskSlot& slot) {
        try {
            const TaskScope::Running running{slot};
            slot.waiting_for("an operation of the application");
            return job->factory({slot, TimePoint::max()});
        } catch (...) {
            return rethrow(std::current_exception());
        }
    };
    try {
        loop_.tasks().spawn(job->name, nullptr, make, [this, job](std::exception_ptr exception) {
            ended(*job, std::move(exception));
        });
    } catch (...) { // no memory
        ended(*job, std::current_exception());
    }
}

void UserTasks::ended(const Job& job, std::exception_ptr exception)
{
    const auto failure =
        exception ? to_failure(exception, Error::callback_failed, "run the task", job.name)
                  : Failure{};
    const bool was_stopped = refuses_() && exception && failure == Error::cancelled;
    if (!job.state) {
        if (exception && !was_stopped) {
            loop_.journal().record(failure);
            loop_.journal().log(LogLevel::error, failure.message());
        }
        return;
    }
    if (!exception)
        return finish(*job.state, nullptr, was_stopped);
    // Later, since this coroutine's frame must first release the exception: the caller is to be its
    // only holder. If the loop ends before that, the stop reports to the caller.
    loop_.post([this, state = job.state, e = std::move(exception), was_stopped]() mutable {
        finish(*state, std::move(e), was_stopped);
    });
}

void UserTasks::finish(CallState& state, std::exception_ptr exception, bool was_stopped)
{
    state.exception = std::move(exception);
    state.was_stopped = was_stopped;
    state.done.store(true, std::memory_order_seq_cst);
    progressed_.wake();
}

} // namespace sidecar::detail
