// Who may take messages out of the inbox.
#pragma once

#include "base/wait_point.hpp"

#include <atomic>
#include <cstdint>
#include <thread>

namespace sidecar::detail {

/// The right to consume: one thread at a time has it. Owned by the inbox. Taking it and giving it
/// back is one atomic exchange each, both on one word, and everything that two sides must not miss of
/// each other is ordered by that word: of two exchanges one comes second, and sees all that was
/// written before the first. So what a holder writes needs no barrier of its own. Side: app, any
/// thread; synchronise() any.
class ConsumerRight {
public:
    [[nodiscard]] bool try_take() noexcept
    {
        return is_taken_.exchange(1, std::memory_order_acq_rel) == 0;
    }
    /// Waits for it; false when the deadline came first, or `is_over()` holds: another thread may
    /// have it for long, and a stop must wake this one all the same.
    template <class Condition>
    [[nodiscard]] bool take(AppClock& clock, TimePoint deadline, Condition is_over)
    {
        bool is_taken = false;
        (void)given_back_.wait_until(
            clock, deadline, [&] { return (is_taken = is_taken || try_take()) || is_over(); });
        return is_taken;
    }
    void give_back() noexcept
    {
        is_taken_.exchange(0, std::memory_order_acq_rel);
        given_back_.wake();
    }
    /// Either this sees what was written before the latest give_back(), or what was written before
    /// this is seen behind the next one. An exchange that changes nothing.
    void synchronise() noexcept { is_taken_.fetch_add(0, std::memory_order_acq_rel); }

    /// The holder calls the application's code, which may try to take the right again, and would wait
    /// for itself.
    void begin_handler() noexcept
    {
        in_handler_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    }
    void end_handler() noexcept { in_handler_.store({}, std::memory_order_relaxed); }
    /// Whether this thread is between the two.
    [[nodiscard]] bool is_in_handler() const noexcept
    {
        return in_handler_.load(std::memory_order_relaxed) == std::this_thread::get_id();
    }

    /// Wakes who waits, to look at `is_over` again.
    void wake() { given_back_.wake(); }
    void wake_from_signal() noexcept { given_back_.wake_from_signal(); }

private:
    std::atomic<std::uint32_t> is_taken_{0};    // both: atomic; 1: somebody has it
    std::atomic<std::thread::id> in_handler_{}; // app side: atomic
    WaitPoint given_back_;                      // app side
};

} // namespace sidecar::detail
