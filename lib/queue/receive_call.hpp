// Waits for the lock and for something to take, in receive() and next_event().
#pragma once

#include "base/failures.hpp"
#include "queue/inbox.hpp"

#include <optional>

namespace sidecar::detail {

/// One call of receive() or next_event(): holds the lock while it takes, not while it sleeps. Its
/// destructor unlocks, and so publishes freed space. Side: app, the calling thread.
class ReceiveCall {
public:
    ReceiveCall(Inbox& inbox, Duration timeout) noexcept : inbox_{inbox}, timeout_{timeout} {}
    ReceiveCall(const ReceiveCall&) = delete;
    ReceiveCall& operator=(const ReceiveCall&) = delete;
    ~ReceiveCall()
    {
        if (has_lock_)
            unlock();
    }

    /// Waits for the next entry, which this thread may then take. `nothing`: see failure().
    [[nodiscard]] Inbox::Next wait()
    {
        if (!lock())
            return Inbox::Next::nothing;
        const auto next = inbox_.next();
        return next != Inbox::Next::nothing ? next : wait_for_more();
    }
    [[nodiscard]] const Failure& failure() const noexcept { return *failure_; }

private:
    [[nodiscard]] bool lock()
    {
        return has_lock_ || (has_lock_ = inbox_.lock_.try_lock()) || wait_for_lock();
    }
    [[gnu::cold]] bool wait_for_lock()
    {
        if (inbox_.lock_.is_in_handler()) {
            failure_ = Failure{Error::misuse,
                               {.attempted = "receive", .explanation = Inbox::nested_in_handler}};
            return false;
        }
        // A handler may hold the lock for long, and a stop must wake this call nevertheless
        const auto is_over = [this] { return inbox_.ended() && inbox_.lock_.has_handler(); };
        if (timeout_ > Duration{})
            has_lock_ = inbox_.lock_.lock(inbox_.clock_, deadline(), is_over);
        if (!has_lock_)
            failure_ = is_over() ? Failure{Error::stopped} : nothing_came();
        return has_lock_;
    }
    [[nodiscard, gnu::noinline]] Inbox::Next wait_for_more()
    {
        while (lock()) {
            // Checks for the end before the queue: otherwise it could miss a last message.
            const bool is_final = inbox_.is_final();
            if (const auto next = inbox_.next(); next != Inbox::Next::nothing)
                return next;
            if (is_final) {
                failure_ = inbox_.nothing_left();
                break;
            }
            inbox_.consumer_.ages.ran_dry();
            unlock();
            if (!sleep()) {
                failure_ = nothing_came();
                break;
            }
        }
        return Inbox::Next::nothing;
    }
    /// Waits until there may be something to take. False: the time is up.
    [[nodiscard]] bool sleep()
    {
        const auto has_arrived = [this] { return inbox_.has_something(); };
        auto& clock = inbox_.clock_;
        if (timeout_ <= Duration{} && !clock.is_virtual())
            return false;
        if (!clock.is_virtual() && spin(has_arrived))
            return true;
        if (inbox_.ring_.has_spare_blocks() && !clock.is_virtual()) {
            const auto idle = deadline_after(clock.now(), Inbox::idle_time);
            if (idle < deadline()) {
                if (inbox_.arrived_.wait_until(clock, idle, has_arrived))
                    return true;
                inbox_.release_spare_memory();
            }
        }
        return inbox_.arrived_.wait_until(clock, deadline(), has_arrived);
    }
    template <class Condition>
    [[nodiscard]] bool spin(Condition has_arrived)
    {
        // Shorter than a sleep with its wake-up, and longer than a message of 64 KiB takes to
        // arrive; and as long as an answer on this machine takes, also one by way of a broker,
        // when each thread on the way has to be woken
        constexpr Duration for_next = std::chrono::microseconds{20},
                           for_reply = std::chrono::microseconds{400};
        auto& consumer = inbox_.consumer_;
        const auto time_left = deadline() - inbox_.clock_.now();
        if (inbox_.busy_poll_ > Duration{})
            return consumer.spin_for_next.until(has_arrived, std::min(inbox_.busy_poll_, time_left),
                                                Spin::wanted);
        if (consumer.is_reply_expected.load(std::memory_order_relaxed)
            && consumer.is_reply_expected.exchange(false, std::memory_order_relaxed))
            return consumer.spin_for_reply.until(has_arrived, std::min(for_reply, time_left),
                                                 Spin::considerate);
        return consumer.spin_for_next.until(has_arrived, std::min(for_next, time_left),
                                            Spin::brief);
    }
    void unlock() noexcept
    {
        has_lock_ = false;
        inbox_.unlock();
    }
    /// Reads the clock once; a call that need not wait never does.
    [[nodiscard]] TimePoint deadline()
    {
        if (!deadline_)
            deadline_ = deadline_after(inbox_.clock_.now(), timeout_);
        return *deadline_;
    }

    Inbox& inbox_;                      // app side
    const Duration timeout_;            // app side
    bool has_lock_ = false;             // app side
    std::optional<TimePoint> deadline_; // app side; empty until needed
    std::optional<Failure> failure_;    // app side
};

} // namespace sidecar::detail
