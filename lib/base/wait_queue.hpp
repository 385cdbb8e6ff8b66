// Threads of the application sleep on a WaitQueue, on the sidecar's clock, real or virtual.
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

class WaitQueue;

/// One thread that sleeps on virtual time. Virtual time may jump while at least one ticket is
/// counted.
struct Ticket {
    WaitQueue& point;         // both: constant
    const TimePoint deadline; // both: constant
    bool has_expired = false; // both: guarded by the point's mutex
    bool has_ended = false;   // both: guarded by the point's mutex; woken, expired or given up
    bool is_counted = false;  // both: guarded by the point's mutex
};

/// The clock of a sidecar, for the application's threads. Side: any thread, unless a call says
/// otherwise.
class AppClock {
public:
    virtual ~AppClock() = default;
    [[nodiscard]] virtual TimePoint now() const noexcept = 0;
    /// Returns when the running handler of the loop began; the loop knows it without reading the
    /// clock. Side: sidecar, in a task.
    [[nodiscard]] virtual TimePoint iteration_began() const noexcept { return now(); }
    [[nodiscard]] virtual bool is_virtual() const noexcept = 0;
    /// Virtual time: informs the loop that a thread sleeps until the ticket's deadline. Called with
    /// the point's mutex held.
    virtual void arm(std::shared_ptr<Ticket> ticket) = 0;
    /// Virtual time: called when a counted ticket has ended, with the point's mutex held.
    virtual void uncount() noexcept = 0;
};

/// Threads sleep here until a condition holds. The thread that makes it hold does so by a
/// sequentially consistent store, then calls wake(), which costs one load while nobody sleeps.
class WaitQueue {
public:
    /// Waits until `condition()` holds. False: the deadline passed first. Side: app, any thread;
    /// several threads may evaluate their conditions at once. On real time it spins for `busy_poll`
    /// before it sleeps. On virtual time the wait also ends in real time, so that a hanging loop is
    /// noticed: at `give_up`, or when the timeout has passed in real time, after one second at the
    /// earliest.
    template <class Condition>
    [[nodiscard]] bool wait_until(AppClock& clock, TimePoint deadline, Condition condition,
                                  Duration busy_poll = {}, TimePoint give_up = TimePoint::max())
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
        if (busy_poll > Duration{}
            && spin_until(std::min(deadline, deadline_after(clock.now(), busy_poll)), condition))
            return true;
        return wait_real(deadline, condition);
    }

    /// Wakes all threads that sleep here; they evaluate their conditions again. True: a thread
    /// slept. Side: any thread.
    bool wake() noexcept
    {
        if (sleepers_.load(std::memory_order_seq_cst) == 0)
            return false;
        {
            // Before the futex: a thread that is already awake may wait again, and this should not
            // end its new ticket.
            std::lock_guard lock{mutex_};
            for (const auto& ticket : tickets_)
                end(*ticket);
            tickets_.clear();
            changed_.notify_all();
        }
        futex_.wake();
        return true;
    }
    /// Like wake(), but locks no mutex; a thread that waits on virtual time checks again by itself
    /// within 5 ms. Side: any thread and any signal handler.
    void wake_from_signal() noexcept
    {
        if (sleepers_.load(std::memory_order_seq_cst) != 0)
            futex_.wake();
    }

    /// Counts a ticket in `counter`. False: its thread no longer sleeps. Side: the loop's thread.
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
    /// Ends a ticket whose deadline has passed. Side: the loop's thread.
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
        // Once true, the condition is not evaluated again: it may have acquired a lock, say.
        bool held = condition();
        while (!held) {
            const auto ticket =
                std::make_shared<Ticket>(Ticket{.point = *this, .deadline = deadline});
            tickets_.push_back(ticket);
            clock.arm(ticket);
            const auto is_over = [&] { return ticket->has_ended || (held = condition()); };
            bool in_time = true;
            // Polls, since wake_from_signal() does not notify
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
