// Where threads of the application sleep: a timed wait on the sidecar's clock, real or virtual.
#pragma once

#include "base/futex.hpp"

#include <sidecar/clock.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace sidecar::detail {

class WaitPoint;

/// A sleeping thread's claim on virtual time: while one is counted, time may jump.
struct Ticket {
    WaitPoint& point;         // both: constant
    const TimePoint deadline; // both: constant
    bool has_expired = false; // both: guarded by the point's mutex
    bool has_ended = false;   // both: guarded by the point's mutex; woken, expired or given up
    bool is_counted = false;  // both: guarded by the point's mutex
};

/// The clock of a sidecar as the application's threads see it.
class AppClock {
public:
    virtual ~AppClock() = default;
    [[nodiscard]] virtual TimePoint now() const noexcept = 0;
    /// When what runs just now on the loop's thread began, which is known already. Side: sidecar, in
    /// a task.
    [[nodiscard]] virtual TimePoint turn_began() const noexcept { return now(); }
    [[nodiscard]] virtual bool is_virtual() const noexcept = 0;
    /// Virtual time: tells the loop that a thread sleeps until the ticket's deadline. Called with the
    /// point's mutex held.
    virtual void arm(std::shared_ptr<Ticket> ticket) = 0;
    /// Virtual time: a counted ticket has ended. Called with the point's mutex held.
    virtual void uncount() noexcept = 0;
};

/// Threads sleep here until a condition holds; whoever makes it hold calls wake(), which costs one
/// load while nobody sleeps. The condition must be made true by a sequentially consistent store
/// before wake().
class WaitPoint {
public:
    /// Waits until `condition()`; false when the deadline came first. Side: app, any thread;
    /// several may ask their conditions at once. Before it sleeps it looks again and again for
    /// `spin` of real time. On virtual time the wait ends in real time too, so that a loop that
    /// hangs is noticed: at `give_up`, or after a second where the deadline is nearer.
    template <class Condition>
    [[nodiscard]] bool wait_until(AppClock& clock, TimePoint deadline, Condition condition,
                                  Duration spin = {}, TimePoint give_up = TimePoint::max())
    {
        if (condition())
            return true;
        if (clock.is_virtual()) {
            std::unique_lock lock{mutex_};
            sleepers_.fetch_add(1, std::memory_order_seq_cst);
            const bool held = wait_virtual(lock, clock, deadline, condition, give_up);
            sleepers_.fetch_sub(1, std::memory_order_relaxed);
            return held;
        }
        if (spin > Duration{}
            && spin_until(std::min(deadline, deadline_after(clock.now(), spin)), condition))
            return true;
        return wait_real(deadline, condition);
    }

    /// Wakes all who sleep here, to look at their conditions again. Side: any thread. True if
    /// somebody slept.
    bool wake() noexcept
    {
        if (sleepers_.load(std::memory_order_seq_cst) == 0)
            return false;
        {
            // First, so that a thread that is awake by then does not lose its next ticket to this.
            std::lock_guard lock{mutex_};
            for (const auto& ticket : tickets_)
                end(*ticket);
            tickets_.clear();
            changed_.notify_all();
        }
        futex_.wake();
        return true;
    }
    /// The same where a mutex cannot be taken; a thread that waits on virtual time looks again a
    /// moment later by itself. Side: any thread and any signal handler.
    void wake_from_signal() noexcept
    {
        if (sleepers_.load(std::memory_order_seq_cst) != 0)
            futex_.wake();
    }

    /// The loop takes note of a ticket; false if its sleeper has gone. Side: the loop's thread.
    [[nodiscard]] bool count(Ticket& ticket, std::atomic<int>& counter)
    {
        std::lock_guard lock{mutex_};
        if (ticket.has_ended)
            return false;
        ticket.is_counted = true;
        counter.fetch_add(1);
        return true;
    }
    [[nodiscard]] bool has_ended(const Ticket& ticket)
    {
        std::lock_guard lock{mutex_};
        return ticket.has_ended;
    }
    /// The ticket's deadline has passed. Side: the loop's thread.
    void expire(Ticket& ticket)
    {
        std::lock_guard lock{mutex_};
        if (ticket.has_ended)
            return;
        ticket.has_expired = true;
        end(ticket);
        changed_.notify_all();
    }

private:
    template <class Condition>
    static bool spin_until(TimePoint until, const Condition& condition)
    {
        do {
            for (int i = 0; i < 64; ++i) {
                if (condition())
                    return true;
                pause();
            }
        } while (std::chrono::steady_clock::now() < until);
        return false;
    }
    static void pause() noexcept
    {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    template <class Condition>
    bool wait_real(TimePoint deadline, const Condition& condition)
    {
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        bool held = false;
        for (;;) {
            const auto ticket = futex_.ticket();
            held = condition();
            if (held
                || (deadline != TimePoint::max() && std::chrono::steady_clock::now() >= deadline))
                break;
            futex_.wait(ticket, deadline);
        }
        sleepers_.fetch_sub(1, std::memory_order_relaxed);
        return held;
    }

    template <class Condition>
    bool wait_virtual(std::unique_lock<std::mutex>& lock, AppClock& clock, TimePoint deadline,
                      const Condition& condition, TimePoint give_up)
    {
        clock_ = &clock;
        const auto patience = std::max<Duration>(deadline - clock.now(), std::chrono::seconds{1});
        const auto real_deadline =
            std::min(give_up, deadline_after(std::chrono::steady_clock::now(), patience));
        // A condition that takes what it waited for must not be asked again once it held.
        bool held = condition();
        while (!held) {
            const auto ticket =
                std::make_shared<Ticket>(Ticket{.point = *this, .deadline = deadline});
            tickets_.push_back(ticket);
            clock.arm(ticket);
            const auto is_over = [&] { return ticket->has_ended || (held = condition()); };
            bool in_time = true;
            // For wake_from_signal()
            while (!changed_.wait_for(lock, std::chrono::milliseconds{5}, is_over)) {
                in_time = std::chrono::steady_clock::now() < real_deadline;
                if (!in_time)
                    break;
            }
            const bool expired = ticket->has_expired;
            end(*ticket);
            std::erase(tickets_, ticket);
            held = held || condition();
            if (expired || !in_time)
                break;
        }
        return held;
    }

    void end(Ticket& ticket) noexcept
    {
        ticket.has_ended = true;
        if (std::exchange(ticket.is_counted, false))
            clock_->uncount();
    }

    std::atomic<int> sleepers_{0}; // both: atomic
    Futex futex_;                  // both; real time
    std::mutex mutex_;             // virtual time, all below
    std::condition_variable changed_;
    std::vector<std::shared_ptr<Ticket>> tickets_; // both: guarded by mutex_
    AppClock* clock_ = nullptr;                    // both: guarded by mutex_
};

} // namespace sidecar::detail
