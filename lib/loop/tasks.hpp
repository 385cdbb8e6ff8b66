// The named coroutines of a loop: who runs, who waits for what, who has to be cancelled.
#pragma once

#include "loop/context.hpp"
#include "loop/timers.hpp"

#include <sidecar/stop_report.hpp>
#include <sidecar/task.hpp>

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>

#include <atomic>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace sidecar::detail {

class TaskScope;
struct TaskSlot;

/// One named coroutine. Slots are used again and never freed before the loop, so an executor that
/// outlives its coroutine in the user's hands still points at memory that is there.
struct TaskSlot {
    explicit TaskSlot(TaskScope& its_scope) noexcept : scope{its_scope} {}
    /// Side: sidecar. `what` is a string literal; `now` on the sidecar's clock.
    void waiting(const char* what, TimePoint now) noexcept;

    TaskScope& scope;                              // both: constant
    std::string name;                              // both: guarded by TaskScope::mutex_
    bool in_use = false;                           // both: guarded by TaskScope::mutex_
    bool was_cancelled = false;                    // sidecar side
    bool is_expected_to_end = false;               // sidecar side; when everything is cancelled
    boost::asio::cancellation_signal cancellation; // sidecar side
    std::atomic<const char*> waiting_for{nullptr}; // both: atomic; a string literal
    std::atomic<Duration::rep> since{0};           // both: atomic; on the sidecar's clock
    std::optional<TaskContext> context;            // sidecar side
};

/// The named coroutines of one run. Every coroutine that runs is counted, from spawn()
/// to its completion, so "empty" means that nothing of anybody's runs any more. Owned by the loop.
class TaskScope {
public:
    using Completion = std::function<void(std::exception_ptr)>;

    /// Lifetime: both outlive the tasks.
    TaskScope(boost::asio::io_context& io, const Timers& timers) : io_{io}, timers_{timers} {}
    TaskScope(const TaskScope&) = delete;
    TaskScope& operator=(const TaskScope&) = delete;

    /// Makes a slot for spawn(); two steps, because the coroutine's Context names its slot. Side:
    /// sidecar.
    [[nodiscard]] TaskSlot& open(std::string name);
    /// Runs the coroutine; `completion` gets what it threw, if anything. Side: sidecar.
    void spawn(TaskSlot& slot, Task<> task, Completion completion);
    /// For a slot that spawn() was not called for, or whose spawn() threw. Side: sidecar.
    void abandon(TaskSlot& slot);
    /// Emits cancellation to this one, later in the loop, so that nobody is resumed in the middle
    /// of the caller.
    void cancel(TaskSlot& slot);
    /// Emits cancellation to everything that is left and was not cancelled yet; reports what that
    /// was. Side: sidecar.
    [[nodiscard]] std::vector<TaskReport> cancel_all();
    [[nodiscard]] bool empty() const noexcept { return running_count_ == 0; }
    /// Called after each end of a task. Side: sidecar.
    std::function<void()> on_end;

    /// The executor through which this task's handlers run; it accounts the thread's time to the
    /// task.
    [[nodiscard]] boost::asio::any_io_executor executor(TaskSlot& slot);

    /// Counts the handlers that ran; unchanged over a co_await that did not suspend. Side: sidecar.
    [[nodiscard]] std::uint64_t turn() const noexcept { return turn_; }
    /// When the one that runs began, in real time. Side: sidecar.
    [[nodiscard]] TimePoint turn_began() const noexcept
    {
        return TimePoint{Duration{current_since_.load(std::memory_order_relaxed)}};
    }

    /// Side: both.
    [[nodiscard]] std::vector<TaskReport> snapshot() const;
    [[nodiscard]] Duration longest_busy() const noexcept { return Duration{longest_busy_.load()}; }
    [[nodiscard]] std::string longest_busy_task() const;

    /// Marks the time in which one task holds the thread. Side: sidecar.
    class Running {
    public:
        Running(TaskScope& scope, TaskSlot& slot) noexcept;
        Running(const Running&) = delete;
        Running& operator=(const Running&) = delete;
        ~Running();

    private:
        TaskScope& scope_;
        TaskSlot& slot_;
        TaskSlot* outer_;
        Duration::rep began_;
    };

private:
    struct Finish;
    void finish(TaskSlot& slot);
    [[nodiscard]] TaskReport describe(const TaskSlot& slot) const;

    void note_busy(const TaskSlot& slot, Duration::rep busy) noexcept;

    boost::asio::io_context& io_; // sidecar side
    const Timers& timers_;        // both: for the time
    mutable std::mutex mutex_;
    std::deque<TaskSlot> slots_;    // both: the deque guarded by mutex_; the slots as they say
    std::vector<TaskSlot*> free_;   // both: guarded by mutex_
    std::size_t running_count_ = 0; // sidecar side; coroutines
    std::uint64_t turn_ = 0;        // sidecar side
    std::atomic<TaskSlot*> current_{nullptr};     // both: atomic; the task that holds the thread
    std::atomic<Duration::rep> current_since_{0}; // both: atomic; real time
    std::atomic<Duration::rep> longest_busy_{0};  // both: atomic
    std::string longest_busy_task_;               // both: guarded by mutex_
};

} // namespace sidecar::detail
