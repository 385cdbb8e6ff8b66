// The named coroutines of a loop: which run, what each waits for, which have to be cancelled.
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
class PhaseNote;

/// One named coroutine, and its view of the loop. Slots are used again and never freed before the
/// loop, so a Context or an executor that outlives its coroutine in the user's hands still points at
/// memory that is there. Side of the calls: sidecar.
struct TaskSlot final : ContextBase {
    explicit TaskSlot(EventLoop& its_loop) noexcept : loop{its_loop} {}

    /// The executor through which this task's handlers run; it accounts the thread's time to the
    /// task.
    boost::asio::any_io_executor executor() override;
    TimePoint now() const override;
    Task<> sleep_until(TimePoint when) override;
    Task<bool> wait(LoopEvent& event, TimePoint deadline) override;
    Task<std::vector<boost::asio::ip::address>> resolve(std::string host) override;
    void phase(Phase phase, std::string_view detail) override;
    void negotiated(std::string_view protocol) override;
    void tried(std::string_view address, std::string_view outcome, Duration took) override;
    void waiting_for(const char* what) override;
    void log(LogLevel level, std::string_view text) override;

    EventLoop& loop;                               // sidecar side
    PhaseNote* link = nullptr;                     // sidecar side; null: it is no link's
    std::string name;                              // both: guarded by TaskScope::mutex_
    bool in_use = false;                           // both: guarded by TaskScope::mutex_
    bool was_cancelled = false;                    // sidecar side
    bool wants_signal = false;                     // sidecar side; the cancellation's, soon
    bool is_expected_to_end = false;               // sidecar side; when everything is cancelled
    boost::asio::cancellation_signal cancellation; // sidecar side
    std::atomic<const char*> waits_for{nullptr};   // both: atomic; a string literal
    std::atomic<Duration::rep> since{0};           // both: atomic; on the sidecar's clock
};

/// The named coroutines of one run. Every coroutine that runs is counted, from spawn()
/// to its completion, so "empty" means that no coroutine runs. Owned by the loop.
class TaskScope {
public:
    using Completion = std::function<void(std::exception_ptr)>;
    using Factory = std::function<Task<>(TaskSlot&)>;

    explicit TaskScope(EventLoop& loop);
    TaskScope(const TaskScope&) = delete;
    TaskScope& operator=(const TaskScope&) = delete;

    /// Makes a coroutine, which may begin at once; `completion` gets the exception that ends it, or
    /// null. `link`: whose task it is, or null. Throws bad_alloc, and what `make` throws: then nothing
    /// runs. Side: sidecar.
    void spawn(std::string name, PhaseNote* link, const Factory& make, Completion completion);
    /// Emits cancellation to this one, later in the loop, so that no task is resumed in the middle of
    /// the caller. Needs no memory.
    void cancel(TaskSlot& slot) noexcept;
    /// Emits cancellation to everything that is left and was not cancelled yet; reports what that
    /// was. Side: sidecar.
    [[nodiscard]] std::vector<TaskReport> cancel_all();
    [[nodiscard]] bool empty() const noexcept { return running_count_ == 0; }
    /// Called after each end of a task. Side: sidecar.
    std::function<void()> on_end;

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
    [[nodiscard]] TaskSlot& open(std::string name, PhaseNote* link);
    void release(TaskSlot& slot);
    [[nodiscard]] TaskReport describe(const TaskSlot& slot) const;
    void record_busy(const TaskSlot& slot, Duration::rep busy) noexcept;

    EventLoop& loop_; // sidecar side, but for the time
    WakeUp signals_;  // sidecar side
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
