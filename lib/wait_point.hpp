// Where threads of the application sleep: a timed wait on the sidecar's clock, real or virtual.
#pragma once

#include <sidecar/clock.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace sidecar::detail {

class WaitPoint;

/// A sleeping thread's claim on virtual time. While one is counted, time may jump.
struct Ticket {
    WaitPoint* point;
    TimePoint deadline;
    bool expired = false; // both: guarded by point's mutex
    bool ended = false;   // both: guarded by point's mutex; woken, expired or given up
    bool counted = false; // both: guarded by point's mutex
};

/// The clock of a sidecar as the application's threads see it.
class AppClock {
public:
    virtual ~AppClock() = default;
    [[nodiscard]] virtual TimePoint now() const noexcept = 0;
    [[nodiscard]] virtual bool is_virtual() const noexcept = 0;
    /// Virtual time: tells the loop that a thread sleeps until the ticket's deadline. Called with the mutex held.
    virtual void arm(std::shared_ptr<Ticket> ticket) = 0;
    /// Virtual time: a counted ticket has ended. Called with the mutex held.
    virtual void uncount() noexcept = 0;
};

/// Threads sleep here until a condition holds; whoever makes it hold calls wake(), which costs one load while
/// nobody sleeps. The condition must be made true by a sequentially consistent store before wake().
class WaitPoint {
public:
    /// Waits until `condition()`; false when the deadline came first. Side: app, any thread.
    /// On virtual time the wait ends in real time too, so that a loop that hangs is noticed.
    template <class Condition>
    [[nodiscard]] bool wait_until(AppClock& clock, TimePoint deadline, Condition condition)
    {
        if (condition())
            return true;
        std::unique_lock lock{mutex_};
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        const bool held = clock.is_virtual() ? wait_virtual(lock, clock, deadline, condition)
                                             : wait_real(lock, deadline, condition);
        sleepers_.fetch_sub(1, std::memory_order_relaxed);
        return held;
    }

    /// Wakes all who sleep here, to look at their conditions again. Side: any thread. True if somebody slept.
    bool wake()
    {
        if (sleepers_.load(std::memory_order_seq_cst) == 0)
            return false;
        std::lock_guard lock{mutex_};
        for (const auto& ticket : tickets_)
            end(*ticket);
        tickets_.clear();
        changed_.notify_all();
        return true;
    }

    /// The loop takes note of a ticket; false if its sleeper has gone. Side: the loop's thread.
    [[nodiscard]] bool count(Ticket& ticket, std::atomic<int>& counter)
    {
        std::lock_guard lock{mutex_};
        if (ticket.ended)
            return false;
        ticket.counted = true;
        counter.fetch_add(1);
        return true;
    }
    [[nodiscard]] bool has_ended(const Ticket& ticket)
    {
        std::lock_guard lock{mutex_};
        return ticket.ended;
    }

    /// The ticket's deadline has come. Side: the loop's thread.
    void expire(Ticket& ticket)
    {
        std::lock_guard lock{mutex_};
        if (ticket.ended)
            return;
        ticket.expired = true;
        end(ticket);
        changed_.notify_all();
    }

private:
    template <class Condition>
    bool wait_real(std::unique_lock<std::mutex>& lock, TimePoint deadline, const Condition& condition)
    {
        if (deadline == TimePoint::max()) {
            changed_.wait(lock, condition);
            return true;
        }
        return changed_.wait_until(lock, deadline, condition);
    }

    template <class Condition>
    bool wait_virtual(std::unique_lock<std::mutex>& lock, AppClock& clock, TimePoint deadline, const Condition& condition)
    {
        clock_ = &clock;
        const auto patience = std::max<Duration>(deadline - clock.now(), std::chrono::seconds{1});
        const auto real_deadline = deadline_after(std::chrono::steady_clock::now(), patience);
        // A condition that takes what it waited for must not be asked again once it held.
        bool held = condition();
        while (!held) {
            auto ticket = std::make_shared<Ticket>(Ticket{.point = this, .deadline = deadline});
            tickets_.push_back(ticket);
            clock.arm(ticket);
            const auto is_over = [&] { return ticket->ended || (held = condition()); };
            bool in_time = true;
            if (real_deadline == TimePoint::max())
                changed_.wait(lock, is_over);
            else
                in_time = changed_.wait_until(lock, real_deadline, is_over);
            const bool expired = ticket->expired;
            end(*ticket);
            std::erase(tickets_, ticket);
            held = held || condition();
            if (expired || !in_time)
                break;
        }
        return held;
    }

    void end(Ticket& ticket)
    {
        ticket.ended = true;
        if (ticket.counted) {
            ticket.counted = false;
            clock_->uncount();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::atomic<int> sleepers_{0};                 // both: atomic
    std::vector<std::shared_ptr<Ticket>> tickets_; // both: guarded by mutex_
    AppClock* clock_ = nullptr;                    // both: guarded by mutex_
};

} // namespace sidecar::detail
