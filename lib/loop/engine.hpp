// What runs on a loop's thread, and how that thread waits.
#pragma once

#include "base/latch.hpp"
#include "base/yield_before_sleep.hpp"
#include "loop/tasks.hpp"
#include "loop/timers.hpp"

#include <sidecar/clock.hpp>

#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace sidecar::detail {

/// A run's part of a loop, as the engine sees it. Side: sidecar.
class EngineMember {
public:
    /// It is among the members now.
    virtual void attached() = 0;
    [[nodiscard]] virtual std::uint64_t bytes_gone_by() const = 0;
    [[nodiscard]] virtual Duration spin() const = 0;
    /// Virtual time: whether a thread of the application waits for it to pass, when the next timer is
    /// due, and that it may be due now.
    [[nodiscard]] virtual bool has_sleeper() const = 0;
    [[nodiscard]] virtual TimePoint next_timer() const = 0;
    virtual void fire_timers() = 0;
    /// Something failed of which nobody knows whose it is.
    virtual void record(std::exception_ptr exception) = 0;

protected:
    ~EngineMember() = default;
};

/// Runs handlers on real or on virtual time, for one run or for several. It knows nothing of links,
/// queues or stops. Owned by the loop's host. Side: sidecar, but where a call says otherwise.
class Engine {
public:
    /// Side: app. Throws Exception (no_resources).
    explicit Engine(bool is_virtual);
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    /// Runs handlers until stop(), frees those that wait to run still, and lets go of the members.
    /// Side: the thread that it makes the loop's.
    void run() noexcept;
    /// Side: any.
    void stop() noexcept { io_->stop(); }
    /// Side: any.
    [[nodiscard]] bool is_loop_thread() const noexcept { return running_here == this; }
    [[nodiscard]] bool is_virtual() const noexcept { return is_virtual_; }

    /// The member, and whatever keeps it alive; `released` opens once the engine has let go of both.
    struct Membership {
        std::shared_ptr<EngineMember> member;
        std::shared_ptr<Latch> released;
    };
    void add(Membership membership);
    /// Lets go of a member, which may free it; of the last one, before an end, only once nothing is
    /// left in the loop that may refer to it.
    void remove(const EngineMember& member, bool is_the_end);
    /// Something was sent: perhaps there is soon something to read, and then something to write.
    /// Side: any.
    void expect_answer() noexcept { yield_.expect_answer(2); }

    /// A scope for a run's tasks; given back by give_back(). Side: any.
    [[nodiscard]] TaskScope& lend_scope(std::string owner, const Timers& timers);
    void give_back(TaskScope& scope) noexcept;

    /// Side: any; other threads only post.
    [[nodiscard]] boost::asio::io_context& io() noexcept { return *io_; }
    /// Null on real time. Side: any.
    [[nodiscard]] const VirtualNow* virtual_now() const noexcept
    {
        return is_virtual_ ? &virtual_now_ : nullptr;
    }

private:
    void run_handlers();
    [[nodiscard]] bool look_again();
    [[nodiscard]] bool jump();
    void record(std::exception_ptr exception);
    void note_spin();

    /// The engine whose thread this is; null on the application's. (A thread's id would not do: it is
    /// given out again as soon as the thread has been joined.)
    static thread_local const Engine* running_here;

    const bool is_virtual_;           // both: constant
    VirtualNow virtual_now_;          // both
    ThreadUse use_;                   // both
    YieldBeforeSleep yield_;          // both
    std::vector<Membership> members_; // sidecar side
    std::vector<Membership> leaving_; // sidecar side; go once nothing refers to them
    Duration spin_{};                 // sidecar side; the longest that a member asks for

    std::mutex mutex_;
    std::vector<std::unique_ptr<TaskScope>> scopes_; // both: guarded by mutex_
    std::vector<TaskScope*> free_scopes_;            // both: guarded by mutex_

    // Goes first: what still waits to run in it may refer to all of the above.
    std::unique_ptr<boost::asio::io_context> io_; // both: app side only posts
};

} // namespace sidecar::detail
