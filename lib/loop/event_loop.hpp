// The event loop of a run: what runs on its thread, and how that thread waits.
#pragma once

#include "base/journal.hpp"
#include "base/wait_point.hpp"
#include "base/yield_before_sleep.hpp"
#include "loop/tasks.hpp"
#include "loop/timers.hpp"
#include "loop/wake_up.hpp"

#include <sidecar/loop_event.hpp>
#include <sidecar/options.hpp>
#include <sidecar/task.hpp>

#include <boost/asio/io_context.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace sidecar::detail {

/// Runs handlers, timers and named tasks, on real or on virtual time. Virtual time jumps to the next
/// timer once nothing can run, but only while a thread of the application waits for time to pass: one
/// that computes may still do something at the present moment. The loop knows nothing of links, queues
/// or stops: its owner, the run, says when it ends. A posted function holds, or is outlived by, all that
/// it touches. Side: sidecar, but where a call says otherwise.
class EventLoop final : public AppClock {
public:
    struct Settings {
        bool is_virtual = false;
        Duration spin{};                                ///< see Options::spin
        Lookup lookup{};                                ///< see Options::lookup
        std::function<std::uint64_t()> bytes_gone_by{}; ///< how busy it is; for the yielding
        std::function<void()> on_wake{};                ///< called on the loop after a wake()
    };

    /// Throws Exception (no_resources). Lifetime: `journal` outlives it.
    EventLoop(Settings settings, Journal& journal);
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;
    ~EventLoop() override { discard_pending(); }

    /// Runs handlers until stop(), and records what they throw. Side: the thread that it makes the
    /// loop's.
    void run() noexcept;
    void stop() noexcept { io_->stop(); }
    /// Frees what still waits to run, while all that it may refer to is there. After run(), or where
    /// that never was.
    void discard_pending() noexcept;

    /// Runs `function` on the loop's thread, soon; not at all if the loop has ended. Throws bad_alloc.
    /// Side: any.
    void post(std::function<void()> function);
    /// Has on_wake called, soon. Allocates nothing. Side: any.
    void wake() noexcept;
    /// Side: any.
    [[nodiscard]] bool is_loop_thread() const noexcept { return running_here == this; }
    /// The owner of the loop. A thread that the loop does not wait for holds it weakly, and posts only
    /// while it is there. Set before the loop runs.
    void keep_through(std::weak_ptr<void> keeper) noexcept { keeper_ = std::move(keeper); }
    [[nodiscard]] const std::weak_ptr<void>& keeper() const noexcept { return keeper_; }

    /// Something was sent: perhaps there is soon something to read, and then something to write.
    void expect_answer() noexcept { yield_.expect_answer(2); }

    [[nodiscard]] boost::asio::io_context& io() noexcept { return *io_; }
    [[nodiscard]] Timers& timers() noexcept { return timers_; }
    [[nodiscard]] TaskScope& tasks() noexcept { return tasks_; }
    [[nodiscard]] const TaskScope& tasks() const noexcept { return tasks_; }
    [[nodiscard]] Journal& journal() noexcept { return journal_; }
    [[nodiscard]] const Settings& settings() const noexcept { return settings_; }

    // AppClock. Side: any.
    [[nodiscard]] TimePoint now() const noexcept override { return timers_.now(); }
    [[nodiscard]] TimePoint turn_began() const noexcept override
    {
        return settings_.is_virtual ? timers_.now() : tasks_.turn_began();
    }
    [[nodiscard]] bool is_virtual() const noexcept override { return settings_.is_virtual; }
    void arm(std::shared_ptr<Ticket> ticket) override;
    void uncount() noexcept override { sleepers_.fetch_sub(1); }

private:
    void run_handlers();
    [[nodiscard]] bool look_again();

    /// The loop whose thread this is; null on the application's. (A thread's id would not do: it is
    /// given out again as soon as the thread has been joined.)
    static thread_local const EventLoop* running_here;

    const Settings settings_; // both: constant
    Journal& journal_;        // both
    std::mutex io_mutex_;
    std::unique_ptr<boost::asio::io_context>
        io_;                       // both: app side guarded by io_mutex_; null at the end
    Timers timers_;                // sidecar side
    TaskScope tasks_;              // as its members say
    WakeUp wake_up_;               // both
    YieldBeforeSleep yield_;       // both
    std::weak_ptr<void> keeper_;   // both: constant once the loop runs
    std::atomic<int> sleepers_{0}; // both: atomic; threads that wait on virtual time
    std::vector<std::pair<std::shared_ptr<Ticket>, Timers::Timer>> tickets_; // sidecar side
};

} // namespace sidecar::detail
