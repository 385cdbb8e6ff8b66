// The event loop of a sidecar: what runs on its one thread, and how that thread waits.
#pragma once

#include "base/journal.hpp"
#include "base/wait_point.hpp"
#include "base/yield_before_sleep.hpp"
#include "loop/tasks.hpp"
#include "loop/timers.hpp"
#include "loop/virtual_time.hpp"

#include <sidecar/loop_event.hpp>
#include <sidecar/options.hpp>
#include <sidecar/task.hpp>

#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace sidecar::detail {

/// Runs handlers, timers and named tasks, on real or on virtual time. It knows nothing of links,
/// queues or stops: whoever owns it says when it ends. Whatever is posted to it must hold, or be
/// outlived by, what it touches. Side: sidecar, but where a call says otherwise.
class EventLoop final : public AppClock {
public:
    struct Settings {
        bool is_virtual = false;
        Duration spin{};                                ///< see Options::spin
        Lookup lookup{};                                ///< see Options::lookup
        std::function<std::uint64_t()> bytes_gone_by{}; ///< how busy it is; for the yielding
    };

    /// Throws Exception (no_resources). Lifetime: `journal` outlives it.
    EventLoop(Settings settings, Journal& journal);
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;
    ~EventLoop() override;

    /// Runs handlers until stop(); what one throws is recorded. Side: the loop's thread, which it
    /// makes the calling one.
    void run() noexcept;
    void stop() noexcept { io_->stop(); }

    /// Frees what still waits to run, while all that it may refer to is there. After run() only.
    void discard_pending() noexcept;

    /// Runs `function` on the loop's thread, soon; not at all if the loop has ended. Side: any.
    void post(std::function<void()> function);
    /// Side: any.
    [[nodiscard]] bool is_loop_thread() const noexcept { return running_here == this; }
    /// Who keeps the loop alive. A thread that the loop does not wait for holds it weakly, and
    /// posts only while it has it. Set before the loop runs.
    void keep_through(std::weak_ptr<void> keeper) noexcept { keeper_ = std::move(keeper); }
    [[nodiscard]] const std::weak_ptr<void>& keeper() const noexcept { return keeper_; }

    /// Makes a task's slot and the Context in it; spawn() through tasks(). `link`: whose task it is.
    [[nodiscard]] TaskSlot& open_task(std::string name, PhaseListener* link);
    [[nodiscard]] Context context(TaskSlot& slot, TimePoint deadline = TimePoint::max()) const
    {
        return {*slot.context, deadline};
    }
    [[nodiscard]] Task<> sleep_until(TimePoint when);
    [[nodiscard]] Task<bool> wait(LoopEvent& event, TimePoint deadline);
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
    void uncount() noexcept override { sleepers_.remove_one(); }

private:
    void run_handlers();
    void run_yielding();
    void run_spinning();
    void run_on_virtual_time();

    /// The loop whose thread this is; null on the application's. (A thread's id would not do: it is
    /// given out again as soon as the thread has been joined.)
    static thread_local const EventLoop* running_here;

    const Settings settings_;                     // both: constant
    Journal& journal_;                            // both
    std::unique_ptr<boost::asio::io_context> io_; // both: app side only posts
    Timers timers_;                               // sidecar side
    TaskScope tasks_;                             // sidecar side
    VirtualSleepers sleepers_;                    // both
    YieldBeforeSleep yield_;                      // sidecar side
    std::weak_ptr<void> keeper_;                  // both: constant once the loop runs
};

} // namespace sidecar::detail
