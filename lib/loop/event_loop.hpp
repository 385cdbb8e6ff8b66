// A run's part of an event loop.
#pragma once

#include "base/journal.hpp"
#include "base/wait_point.hpp"
#include "loop/loop_host.hpp"
#include "loop/posted.hpp"
#include "loop/tasks.hpp"
#include "loop/timers.hpp"
#include "loop/virtual_time.hpp"

#include <sidecar/loop_event.hpp>
#include <sidecar/options.hpp>
#include <sidecar/task.hpp>

#include <boost/asio/io_context.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace sidecar::detail {

/// What one run has of a loop: its tasks, its timers, what it posts, its journal. The thread may be
/// the run's own or shared with others; nothing here depends on which. It knows nothing of links,
/// queues or stops: whoever owns it says when it leaves the loop. Whatever is posted to it must hold,
/// or be outlived by, what it touches. Invariant: once it has left, nothing of the run runs on the
/// thread, and nothing in the loop's queue refers to the run. Side: sidecar, but where a call says
/// otherwise.
class EventLoop final : public AppClock, private EngineMember, private PostedRunner {
public:
    struct Settings {
        std::string owner{};                            ///< what others on the thread call it
        Duration spin{};                                ///< see Options::spin
        Lookup lookup{};                                ///< see Options::lookup
        std::function<std::uint64_t()> bytes_gone_by{}; ///< how busy it is; for the yielding
    };

    /// Throws Exception (no_resources). Lifetime: `journal` outlives it.
    EventLoop(LoopLease lease, Settings settings, Journal& journal);
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;
    ~EventLoop() override;

    /// Has the loop run what is posted. `keeper` keeps this alive, and is held until the run has left;
    /// `released` opens after that. `on_attached` and `on_leaving`: called on the loop, first and last
    /// of all; `on_left`: when nothing of the run can run there any more. Side: app, once.
    struct Hooks {
        std::function<void()> on_attached{};
        std::function<void()> on_leaving{};
        std::function<void()> on_left{};
    };
    void attach(const std::shared_ptr<void>& keeper, std::shared_ptr<Latch> released, Hooks hooks);
    /// True: the loop has not come to run anything of this, and never will. Side: app.
    [[nodiscard]] bool withdraw() noexcept;
    /// Leaves the loop, soon. All tasks have ended.
    void stop();
    /// Frees what still waits to run, while all that it may refer to is there. Where the run is not,
    /// or not any more, on the loop.
    void discard_pending() noexcept;

    /// Runs `function` on the loop's thread, soon; not at all if the run has left it. Side: any.
    void post(std::function<void()> function) { posted_.post(std::move(function)); }
    /// Side: any.
    [[nodiscard]] bool is_loop_thread() const noexcept { return engine().is_loop_thread(); }
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
    void expect_answer() noexcept { engine().expect_answer(); }

    [[nodiscard]] boost::asio::io_context& io() noexcept { return engine().io(); }
    [[nodiscard]] Timers& timers() noexcept { return timers_; }
    [[nodiscard]] TaskScope& tasks() noexcept { return tasks_; }
    [[nodiscard]] const TaskScope& tasks() const noexcept { return tasks_; }
    [[nodiscard]] Journal& journal() noexcept { return journal_; }
    [[nodiscard]] const Settings& settings() const noexcept { return settings_; }
    [[nodiscard]] LoopHost& host() const noexcept { return lease_.host(); }

    // AppClock. Side: any.
    [[nodiscard]] TimePoint now() const noexcept override { return timers_.now(); }
    [[nodiscard]] TimePoint turn_began() const noexcept override
    {
        return is_virtual() ? timers_.now() : tasks_.turn_began();
    }
    [[nodiscard]] bool is_virtual() const noexcept override { return engine().is_virtual(); }
    void arm(std::shared_ptr<Ticket> ticket) override;
    void uncount() noexcept override { sleepers_.remove_one(); }

private:
    enum class Membership { none, coming, member, left };

    [[nodiscard]] Engine& engine() const noexcept { return lease_.host().engine(); }
    void leave();

    // EngineMember
    void attached() override;
    [[nodiscard]] std::uint64_t bytes_gone_by() const override { return settings_.bytes_gone_by(); }
    [[nodiscard]] Duration spin() const override { return settings_.spin; }
    [[nodiscard]] bool has_sleeper() const override { return !sleepers_.empty(); }
    [[nodiscard]] TimePoint next_timer() const override { return timers_.next(); }
    void fire_timers() override { timers_.fire_due(); }
    void record(std::exception_ptr exception) override;
    // PostedRunner
    void run_posted() override;

    const Settings settings_;                              // both: constant
    Journal& journal_;                                     // both
    LoopLease lease_;                                      // both: constant, but for giving it back
    Hooks hooks_;                                          // both: constant once it is attached
    TaskScope& tasks_;                                     // sidecar side
    Timers timers_;                                        // sidecar side
    VirtualSleepers sleepers_;                             // both
    Posted posted_;                                        // both
    std::weak_ptr<void> keeper_;                           // both: constant once the loop runs
    bool is_leaving_ = false;                              // sidecar side
    std::atomic<Membership> membership_{Membership::none}; // both: atomic
};

} // namespace sidecar::detail
