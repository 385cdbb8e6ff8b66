// The named coroutines of a loop: starts and cancels them, and reports what each waits for.
#pragma once

#include "loop/wake_up.hpp"

#include <sidecar/context.hpp>
#include <sidecar/stop_report.hpp>
#include <sidecar/task.hpp>

#include <boost/asio/cancellation_signal.hpp>

#include <atomic>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar::detail {

class EventLoop;
class PhaseTracker;

/// One named coroutine, and its view of the loop. Slots are reused and never freed before the loop,
/// so a Context or an executor that the user keeps after its coroutine has ended still points at
/// valid memory. Side of the calls: sidecar.
struct TaskSlot final : ContextBase {
    explicit TaskSlot(EventLoop& its_loop) noexcept : loop{its_loop} {}

    /// Returns the executor of this task's handlers; it measures for how long they hold the thread.
    boost::asio::any_io_executor executor() override;
    TimePoint now() const override;
    std::optional<MockClock> mock_clock() const override;
    Task<> sleep_until(TimePoint when) override;
    Task<bool> wait(LoopEvent& event, TimePoint deadline) override;
    Task<std::vector<boost::asio::ip::address>> resolve(std::string host) override;
    void phase(Phase phase, std::string_view detail) override;
    void negotiated(std::string_view protocol) override;
    void tried(std::string_view address, std::string_view outcome, Duration elapsed) override;
    void waiting_for(const char* what) override;
    void log(LogLevel level, std::string_view text) override;

    EventLoop& loop;                               // sidecar side
    PhaseTracker* link = nullptr;                  // sidecar side; null: not a task of a link
    std::string name;                              // both: guarded by TaskScope::mutex_
    bool in_use = false;                           // both: guarded by TaskScope::mutex_
    bool was_cancelled = false;                    // sidecar side
    bool wants_signal = false;                     // sidecar side; cancellation is to be emitted
    bool is_expected_to_end = false;               // sidecar side; cancel_all() does not report it
    boost::asio::cancellation_signal cancellation; // sidecar side
    std::atomic<const char*> waits_for{nullptr};   // both: atomic; a string literal
    std::atomic<Duration::rep> since{0};           // both: atomic; on the sidecar's clock
};

/// The named coroutines of one run. Counts each from spawn() to its completion, so empty() means
/// that no coroutine runs. Owned by the loop.
class TaskScope {
public:
    using Completion = std::function<void(std::exception_ptr)>;
    using Factory = std::function<Task<>(TaskSlot&)>;

    explicit TaskScope(EventLoop& loop);
    TaskScope(const TaskScope&) = delete;
    TaskScope& operator=(const TaskScope&) = delete;

    /// Starts a coroutine, which may run at once; `completion` gets the exception that ends it, or
    /// null. `link`: the link that owns the task, or null. Throws bad_alloc, and the exceptions of
    /// `make`: then nothing runs. Side: sidecar.
    void spawn(std::string name, PhaseTracker* link, const Factory& make, Completion completion);
    /// Emits cancellation to this task, later in the loop, so that no task is resumed in the middle
    /// of the caller. Allocates nothing. Side: sidecar.
    void cancel(TaskSlot& slot) noexcept;
    /// Cancels each task that was not cancelled before; returns those that were not expected to
    /// end. Side: sidecar.
    [[nodiscard]] std::vector<TaskReport> cancel_all();
    [[nodiscard]] bool empty() const noexcept { return running_count_ == 0; }
    /// Called after each end of a task. Side: sidecar.
    std::function<void()> on_end;

    /// Returns how many handlers ran; a co_await that did not suspend leaves it unchanged. Side:
    /// sidecar.
    [[nodiscard]] std::uint64_t iteration() const noexcept { return iteration_; }
    /// Returns when the running handler began, in real time. Side: sidecar.
    [[nodiscard]] TimePoint iteration_began() const noexcept
    {
        return TimePoint{Duration{current_since_.load(std::memory_order_relaxed)}};
    }

    /// Side: both.
    [[nodiscard]] std::vector<TaskReport> snapshot() const;
    [[nodiscard]] Duration longest_busy() const noexcept { return Duration{longest_busy_.load()}; }
    [[nodiscard]] std::string longest_busy_task() const;

    /// Measures for how long one task holds the thread. Side: sidecar.
    class Running {
    public:
        explicit Running(TaskSlot& slot) noexcept;
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
    void emit_signals();
    [[nodiscard]] TaskSlot& open(std::string name, PhaseTracker* link);
    void release(TaskSlot& slot);
    [[nodiscard]] TaskReport describe(const TaskSlot& slot) const;
    void record_busy(const TaskSlot& slot, Duration::rep busy) noexcept;

    EventLoop& loop_; // sidecar side, except now()
    WakeUp signals_;  // sidecar side
    mutable std::mutex mutex_;
    std::deque<TaskSlot> slots_;                  // both: deque guarded by mutex_; slots: see there
    std::vector<TaskSlot*> free_;                 // both: guarded by mutex_
    std::size_t running_count_ = 0;               // sidecar side; coroutines
    std::uint64_t iteration_ = 0;                 // sidecar side
    std::atomic<TaskSlot*> current_{nullptr};     // both: atomic; the task that holds the thread
    std::atomic<Duration::rep> current_since_{0}; // both: atomic; real time
    std::atomic<Duration::rep> longest_busy_{0};  // both: atomic
    std::string longest_busy_task_;               // both: guarded by mutex_
};

} // namespace sidecar::detail
