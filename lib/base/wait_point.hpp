// Where threads of the application sleep: a timed wait on the sidecar's clock, real or virtual.
#pragma once

#include "base/futex.hpp"
#include "base/many_points.hpp"

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

class AppClock;

/// A sleeping thread's claim on a virtual clock: while one is counted, its time may jump. It ends when
/// what the thread waits for may have come, when its deadline has, or when the thread gives it up; who
/// waits at several points has it at each, and the first wake-up ends it. Side: both, guarded by its
/// mutex.
class Ticket {
public:
    /// `point`: where its deadline wakes who sleeps. Lifetime: both outlive those who may call it.
    Ticket(WaitPoint& point, AppClock& clock, TimePoint its_deadline) noexcept
        : deadline{its_deadline}, point_{point}, clock_{clock}
    {
    }

    /// The loop takes note of it; false if its sleeper has gone. Side: the loop's thread.
    [[nodiscard]] bool count(std::atomic<int>& counter)
    {
        std::lock_guard lock{mutex_};
        if (has_ended_)
            return false;
        is_counted_ = true;
        counter.fetch_add(1);
        return true;
    }
    /// Its deadline has come. Side: the loop's thread.
    void expire();
    void end();
    [[nodiscard]] bool has_ended() const
    {
        std::lock_guard lock{mutex_};
        return has_ended_;
    }
    [[nodiscard]] bool has_expired() const
    {
        std::lock_guard lock{mutex_};
        return has_expired_;
    }

    const TimePoint deadline; // both: constant

private:
    void end_it();

    WaitPoint& point_; // both: constant
    AppClock& clock_;  // both: constant
    mutable std::mutex mutex_;
    bool has_expired_ = false; // both: guarded by mutex_
    bool has_ended_ = false;   // both: guarded by mutex_
    bool is_counted_ = false;  // both: guarded by mutex_
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
    /// Virtual time: tells the loop that a thread sleeps until the ticket's deadline. May be called
    /// with a mutex held.
    virtual void arm(std::shared_ptr<Ticket> ticket) = 0;
    /// Virtual time: a counted ticket has ended. Called with a mutex held.
    virtual void uncount() noexcept = 0;
};

inline void Ticket::end_it()
{
    has_ended_ = true;
    if (std::exchange(is_counted_, false))
        clock_.uncount();
}

inline void Ticket::end()
{
    std::lock_guard lock{mutex_};
    end_it();
}

/// Threads sleep here until a condition holds; whoever makes it hold calls wake(), which costs one
/// load while nobody sleeps. The condition must be made true by a sequentially consistent store
/// before wake(). A thread that waits at several points announces itself at each before it looks, and
/// sleeps on ManyPoints.
class WaitPoint {
public:
    /// Waits until `condition()`; false when the deadline came first. Side: app, any thread;
    /// several may ask their conditions at once. Before it sleeps it looks again and again for
    /// `spin` of real time. On virtual time the wait ends in real time too, so that a loop that
    /// hangs is noticed.
    template <class Condition>
    [[nodiscard]] bool wait_until(AppClock& clock, TimePoint deadline, Condition condition,
                                  Duration spin = {})
    {
        if (condition())
            return true;
        if (clock.is_virtual()) {
            std::unique_lock lock{mutex_};
            sleepers_.fetch_add(1, std::memory_order_seq_cst);
            const bool held = wait_virtual(lock, clock, deadline, condition);
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
    bool wake()
    {
        if (sleepers_.load(std::memory_order_seq_cst) == 0)
            return false;
        {
            // First, so that whoever is awake by then does not lose the next ticket to this wake-up.
            std::lock_guard lock{mutex_};
            for (const auto& ticket : tickets_)
                ticket->end();
            tickets_.clear();
            changed_.notify_all();
        }
        (void)wake_from_signal();
        return true;
    }
    /// The same where a mutex cannot be taken; who waits on virtual time looks again a moment later
    /// by himself. Side: any thread and any signal handler.
    bool wake_from_signal() noexcept
    {
        const auto sleepers = sleepers_.load(std::memory_order_seq_cst);
        if (sleepers == 0)
            return false;
        if ((sleepers & counted_sleepers) != 0)
            futex_.wake();
        wake_announced();
        return true;
    }

    /// The next wake() wakes also those who sleep on ManyPoints with this bit; once. Side: any thread.
    void announce(std::uint32_t bit) noexcept
    {
        sleepers_.fetch_or(std::uint64_t{bit} << 32, std::memory_order_seq_cst);
    }
    /// The next wake() ends the ticket, of who waits at several points on virtual time; until
    /// remove_ticket(). Side: any thread.
    void add_ticket(std::shared_ptr<Ticket> ticket)
    {
        std::lock_guard lock{mutex_};
        tickets_.push_back(std::move(ticket));
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
    }
    void remove_ticket(const std::shared_ptr<Ticket>& ticket)
    {
        std::lock_guard lock{mutex_};
        std::erase(tickets_, ticket);
        sleepers_.fetch_sub(1, std::memory_order_relaxed);
    }

    /// A ticket's deadline has come: wakes who sleeps on it. Side: the loop's thread.
    void wake_for_deadline()
    {
        std::lock_guard lock{mutex_};
        changed_.notify_all();
        wake_announced();
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
                      const Condition& condition)
    {
        const auto patience = std::max<Duration>(deadline - clock.now(), std::chrono::seconds{1});
        const auto real_deadline = deadline_after(std::chrono::steady_clock::now(), patience);
        // A condition that takes what it waited for must not be asked again once it held.
        bool held = condition();
        while (!held) {
            const auto ticket = std::make_shared<Ticket>(*this, clock, deadline);
            tickets_.push_back(ticket);
            clock.arm(ticket);
            const auto is_over = [&] { return ticket->has_ended() || (held = condition()); };
            bool in_time = true;
            // For wake_from_signal()
            while (!changed_.wait_for(lock, std::chrono::milliseconds{20}, is_over)) {
                in_time = std::chrono::steady_clock::now() < real_deadline;
                if (!in_time)
                    break;
            }
            const bool expired = ticket->has_expired();
            ticket->end();
            std::erase(tickets_, ticket);
            held = held || condition();
            if (expired || !in_time)
                break;
        }
        return held;
    }

    void wake_announced() noexcept
    {
        if (sleepers_.load(std::memory_order_seq_cst) <= counted_sleepers)
            return;
        const auto old = sleepers_.fetch_and(counted_sleepers, std::memory_order_seq_cst);
        ManyPoints::word().wake_some(static_cast<std::uint32_t>(old >> 32));
    }

    static constexpr std::uint64_t counted_sleepers = 0xffff'ffff;

    /// Below, how many sleep here; above, the bits of those who wait here and elsewhere. One word, so
    /// that wake() asks one.
    std::atomic<std::uint64_t> sleepers_{0}; // both: atomic
    Futex futex_;                            // both; real time
    std::mutex mutex_;                       // virtual time, all below
    std::condition_variable changed_;
    std::vector<std::shared_ptr<Ticket>> tickets_; // both: guarded by mutex_
};

inline void Ticket::expire()
{
    {
        std::lock_guard lock{mutex_};
        if (has_ended_)
            return;
        has_expired_ = true;
        end_it();
    }
    point_.wake_for_deadline();
}

} // namespace sidecar::detail
