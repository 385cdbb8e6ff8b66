// The event loop of a run: runs handlers, timers and tasks on one thread, and lets that thread
// wait.
#pragma once

#include "base/journal.hpp"
#include "base/spin.hpp"
#include "base/virtual_time.hpp"
#include "base/wait_queue.hpp"
#include "loop/tasks.hpp"
#include "loop/timers.hpp"
#include "loop/wake_up.hpp"

#include <sidecar/loop_event.hpp>
#include <sidecar/options.hpp>
#include <sidecar/task.hpp>

#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

namespace sidecar::detail {

/// Runs handlers, timers and named tasks, on real time or, in turns with other threads, on virtual
/// time. The loop knows nothing of links, queues or stops: its owner, the run, ends it. A posted
/// function holds all that it touches, or is outlived by it. Side: sidecar, unless a call says
/// otherwise.
class EventLoop final : public AppClock {
public:
    struct Settings {
        std::shared_ptr<VirtualTime> time{}; ///< virtual time; null: real time
        Duration busy_poll{};                ///< see Options::busy_poll
        Lookup lookup{};                     ///< see Options::lookup
        std::function<void()> on_wake{};     ///< called on the loop after a wake()
    };

    /// Throws boost::system::system_error if the system refuses a resource. Lifetime: `journal`
    /// outlives it. On virtual time it takes turns from now on, until leave().
    EventLoop(Settings settings, Journal& journal);
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;
    ~EventLoop() override
    {
        leave();
        discard_pending();
    }

    /// Runs handlers until stop(), and records their exceptions. Side: the calling thread, which
    /// becomes the loop's.
    void run() noexcept;
    void stop() noexcept { io_->stop(); }
    /// Ends the turns on virtual time: the last that the thread does, or what is done to a thread
    /// that is left to itself. Side: any.
    void leave() noexcept;
    /// Destroys all waiting handlers and timers, while the objects that they refer to still exist.
    /// Call it after run(), or if the loop never ran.
    void discard_pending() noexcept;

    /// Runs `function` on the loop's thread, soon; not at all if the loop has ended. Throws
    /// bad_alloc. Side: any.
    void post(std::function<void()> function);
    /// Schedules a call of on_wake. Allocates nothing. Side: any.
    void wake() noexcept;
    /// On virtual time: lets the loop run, since something was posted to its io_context from outside.
    /// Side: any.
    void touch() noexcept
    {
        if (settings_.time && !is_loop_thread())
            settings_.time->touch(turns_);
    }
    /// Does the same later; see VirtualTime::note(). Side: any signal handler too.
    void note() noexcept { VirtualTime::note(turns_); }
    /// Side: any.
    [[nodiscard]] bool is_loop_thread() const noexcept { return running_here == this; }
    /// Sets the owner of the loop, before the loop runs. A helper thread that the loop does not
    /// wait for holds the owner weakly, and posts only while the owner exists.
    void keep_through(std::weak_ptr<void> keeper) noexcept { keeper_ = std::move(keeper); }
    [[nodiscard]] const std::weak_ptr<void>& keeper() const noexcept { return keeper_; }

    /// Returns the context, also while discard_pending() destroys it.
    [[nodiscard]] boost::asio::io_context& io() noexcept { return context_; }
    [[nodiscard]] Timers& timers() noexcept { return timers_; }
    [[nodiscard]] TaskScope& tasks() noexcept { return tasks_; }
    [[nodiscard]] const TaskScope& tasks() const noexcept { return tasks_; }
    [[nodiscard]] Journal& journal() noexcept { return journal_; }
    [[nodiscard]] const Settings& settings() const noexcept { return settings_; }

    // AppClock. Side: any.
    [[nodiscard]] TimePoint now() const noexcept override { return timers_.now(); }
    [[nodiscard]] TimePoint iteration_began() const noexcept override
    {
        return settings_.time ? timers_.now() : tasks_.iteration_began();
    }
    [[nodiscard]] VirtualTime* virtual_time() const noexcept override
    {
        return settings_.time.get();
    }

private:
    void run_handlers();
    void take_turn(VirtualTime& time);
    [[nodiscard]] bool spin();

    /// The loop that runs on this thread; null on the application's threads. A thread's id would
    /// not do: the system reuses it as soon as the thread is joined.
    static thread_local const EventLoop* running_here;

    const Settings settings_; // both: constant
    Journal& journal_;        // both
    std::mutex io_mutex_;
    std::unique_ptr<boost::asio::io_context>
        io_;                           // both: app side guarded by io_mutex_; null at the end
    boost::asio::io_context& context_; // sidecar side
    Timers timers_;                    // sidecar side
    TaskScope tasks_;                  // see TaskScope
    WakeUp wake_up_;                   // both
    Spin spin_;                        // sidecar side
    std::weak_ptr<void> keeper_;       // both: constant once the loop runs
    VirtualTime::Loop turns_;          // see VirtualTime
};

} // namespace sidecar::detail
