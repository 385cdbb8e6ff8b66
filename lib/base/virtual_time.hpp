// Virtual time, and the turns of the threads that share it: loops and threads of the application.
#pragma once

#include "base/futex.hpp"

#include <sidecar/clock.hpp>

#include <boost/intrusive/list.hpp>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace sidecar::detail {

/// Gives the turn to one thread at a time, so that each run of a program gives the same result. A
/// loop gets turns only while a thread of the application waits. A waiting thread gets the turn
/// when it was woken or its deadline has passed, and no loop can run at the present moment. When
/// nobody can run, time jumps to the next timer or deadline. An interleaving other than zero is a
/// seed: it draws whose turn is next, and how many handlers a loop runs in a turn.
///
/// A thread of the application may take turns too, see enter(): then nobody else runs while it does
/// not wait. Other threads are unknown while they do not wait. The effect of an unknown thread, a
/// signal or a socket is seen within 5 ms of real time. Shared by the loops of one clock. Side: any
/// thread, unless a call says otherwise.
class VirtualTime {
public:
    /// A thread that can have the turn. Guarded by the clock's mutex, unless constant.
    struct Member {
        std::condition_variable has_turn; // its thread waits here
    };
    /// A loop. Owned by its EventLoop.
    struct Loop : Member {
        TimePoint next_timer = TimePoint::max();
        bool may_be_ready = true;
        std::atomic<bool> is_noted{false}; // atomic; see note()
        bool is_inside = false;            // its thread waits in a call that a handler made
        bool is_added = false;
    };
    /// A thread that waits. Lives on its stack.
    struct Waiter : Member, boost::intrusive::list_base_hook<> {
        const Futex* queue = nullptr; // constant; null: it waits for time only
        std::uint32_t ticket = 0;     // the queue's, when the thread last evaluated its condition
        TimePoint deadline = TimePoint::max(); // constant
        bool may_pass_limit = false;           // constant
        bool is_due = false;                   // it may run: its deadline has passed, or it begins
        const char* why_never = nullptr;       // it may run: time cannot pass, for this reason
    };

    /// `limit`: how far time may pass. `interleaving`: a seed, or zero.
    VirtualTime(Duration limit, std::uint64_t interleaving) noexcept
        : limit_{deadline_after(TimePoint{}, limit)},
          interleaving_{interleaving},
          random_state_{interleaving}
    {
    }
    VirtualTime(const VirtualTime&) = delete;
    VirtualTime& operator=(const VirtualTime&) = delete;

    [[nodiscard]] TimePoint now() const noexcept
    {
        return TimePoint{Duration{now_.load(std::memory_order_acquire)}};
    }
    /// Says why the latest wait of this thread ended early: time could not pass. Empty: it did not.
    [[nodiscard]] static std::string why_never();
    /// Returns whether time is near its limit, and a wait has failed for that: a loop that only
    /// looks should end too.
    [[nodiscard]] bool is_at_limit() const noexcept;

    /// Returns another number at each call, the same ones in each run of a test.
    [[nodiscard]] std::uint64_t next_seed() noexcept { return seeds_.fetch_add(1); }

    // --- loops
    /// Adds a loop. Call it before its thread runs. Side: app.
    void add(Loop& loop);
    /// Removes a loop, which takes no more turns and runs at any moment. No effect if it was
    /// removed before.
    void remove(Loop& loop) noexcept;
    /// Waits for the loop's turn. Returns how many handlers it may run; 0: it was removed. If no
    /// thread of the application has waited for a second of real time, the loop gets a turn too: the
    /// application probably waits for its effects elsewhere. Side: the loop's thread.
    [[nodiscard]] std::size_t begin_turn(Loop& loop);
    /// `has_run`: it ran a handler. `is_quiet`: none is ready. Handlers that become ready then run
    /// after touch(), at `next_timer`, or within 5 ms of real time. Side: the loop's thread.
    void end_turn(Loop& loop, bool has_run, bool is_quiet, TimePoint next_timer);
    /// Lets the loop run, since something was posted to it.
    void touch(Loop& loop) noexcept;
    /// Does the same when a thread next waits, or within 5 ms. Side: any signal handler too.
    static void note(Loop& loop) noexcept { loop.is_noted.store(true); }
    /// Lets a waiting thread run, since its queue was woken.
    void poke() noexcept;

    // --- threads of the application
    /// Waits until `condition()` holds. False: the deadline has passed; or why_never() says why it
    /// cannot; or another member has not ended its turn until `give_up`, or for as long as the
    /// timeout (at least one second), in real time. The limit does not count if there is a
    /// `give_up`.
    [[nodiscard]] bool wait(const Futex& queue, TimePoint deadline,
                            const std::function<bool()>& condition,
                            TimePoint give_up = TimePoint::max());
    /// Returns whether this is the thread of one of the loops.
    [[nodiscard]] bool is_loop_thread() const noexcept;
    /// Lets everything happen that can happen at the present moment. No effect on a loop's thread.
    void settle();
    /// Lets this time pass. False: it cannot; see why_never().
    [[nodiscard]] bool advance(Duration duration);

    /// From now on this thread takes turns, until leave(); counts nested calls. Throws Exception
    /// (misuse) on a loop's thread, and if the thread takes turns on another clock.
    void enter();
    void leave() noexcept;
    /// Adds a thread that takes turns. It calls begin(waiter) first and end() last. Side: a thread
    /// that takes turns.
    void announce(Waiter& waiter);
    void renounce(Waiter& waiter) noexcept; ///< there is no such thread
    void begin(Waiter& waiter);
    void end() noexcept;

private:
    using Lock = std::unique_lock<std::mutex>;
    class Patience;

    [[nodiscard]] bool wait_for_turn(Waiter& waiter, Lock& lock, Patience& patience);
    void acquire(Waiter& waiter, Lock& lock);
    void schedule() noexcept;
    void fail_waits(const char* why) noexcept;
    [[nodiscard]] Member* next() noexcept;
    [[nodiscard]] Member* next_at_random() noexcept;
    [[nodiscard]] bool pass_time() noexcept;
    void give_turn(Member& member) noexcept;
    void wake_loops() noexcept;
    [[nodiscard]] static bool is_ready(Loop& loop) noexcept;
    [[nodiscard]] bool may_run(const Waiter& waiter) const noexcept;
    [[nodiscard]] std::size_t random(std::size_t below) noexcept;
    [[nodiscard]] Member* present_member() const noexcept;

    const TimePoint limit_;               // both: constant
    const std::uint64_t interleaving_;    // both: constant
    std::atomic<Duration::rep> now_{0};   // both: atomic; written with mutex_ held
    std::atomic<bool> has_failed_{false}; // both: atomic; a wait ended because of the limit
    std::atomic<std::uint64_t> seeds_{0}; // both: atomic
    std::mutex mutex_;
    std::vector<Loop*> loops_; // both: guarded by mutex_, as all below
    /// In order of their waits. Intrusive: a wait needs no memory.
    boost::intrusive::list<Waiter, boost::intrusive::constant_time_size<false>> waiters_;
    Member* turn_ = nullptr;     // whose turn it is; null: nobody's
    std::uint64_t progress_ = 0; // changes when a handler ran, a thread continued, or time passed
    std::size_t last_loop_ = 0;  // the index of the loop that had the latest turn
    /// Turns of loops since time passed or a waiting thread had its turn.
    std::size_t busy_turns_ = 0;
    std::uint64_t random_state_;
};

} // namespace sidecar::detail
