// The lock that lets one thread at a time take messages out of the inbox.
#pragma once

#include "base/wait_queue.hpp"

#include <atomic>
#include <cstdint>
#include <thread>

namespace sidecar::detail {

/// Held by the thread that consumes. Owned by the inbox. Locking, unlocking and fence() are one
/// atomic operation each, all on one word. That word orders everything that two sides must not miss
/// of each other: of two operations one comes second, and sees all that was written before the
/// first. So the holder's writes need no barrier. Locking and unlocking are sequentially consistent,
/// as WaitQueue demands: a failed try_lock() with acquire only may miss an unlock() that saw no
/// thread sleep. Side: app, any thread; fence() and
/// try_lock_to_look() any.
class ConsumerLock {
public:
    [[nodiscard]] bool try_lock() noexcept
    {
        for (;;) {
            auto state = unlocked;
            if (state_.compare_exchange_strong(state, locked)) [[likely]]
                return true;
            if (state == locked)
                return false;
            std::this_thread::yield(); // another thread looks, for a moment
        }
    }
    /// Waits for the lock. False: the deadline passed first, or `is_over()` holds.
    template <class Condition>
    [[nodiscard]] bool lock(AppClock& clock, TimePoint deadline, Condition is_over)
    {
        bool is_locked = false;
        (void)unlocked_.wait_until(
            clock, deadline, [&] { return (is_locked = is_locked || try_lock()) || is_over(); });
        return is_locked;
    }
    void unlock() noexcept
    {
        state_.exchange(unlocked);
        unlocked_.wake();
    }
    /// Locks for a short look that waits for nothing and calls no code of the application: a
    /// try_lock() meanwhile waits for its end. False: another thread holds the lock. Ends with
    /// unlock().
    [[nodiscard]] bool try_lock_to_look() noexcept
    {
        auto state = unlocked;
        return state_.compare_exchange_strong(state, looking, std::memory_order_acq_rel);
    }
    /// Orders this thread with each unlock(): the second of the two sees all that was written
    /// before the first. Changes nothing.
    void fence() noexcept { state_.fetch_add(0, std::memory_order_acq_rel); }

    /// Call it before the holder calls the application's code, which may try to lock again and
    /// would wait for itself.
    void begin_handler() noexcept { handler_.store(std::this_thread::get_id()); }
    void end_handler() noexcept { handler_.store({}); }
    /// Whether this thread is in a handler; has_handler(): whether any is.
    [[nodiscard]] bool is_in_handler() const noexcept
    {
        return handler_.load(std::memory_order_relaxed) == std::this_thread::get_id();
    }
    [[nodiscard]] bool has_handler() const noexcept { return handler_.load() != std::thread::id{}; }

    /// Wakes threads that wait in lock(): they evaluate `is_over` again.
    void wake() { unlocked_.wake(); }
    void wake_from_signal() noexcept { unlocked_.wake_from_signal(); }

private:
    static constexpr std::uint32_t unlocked = 0, locked = 1, looking = 2;

    std::atomic<std::uint32_t> state_{unlocked}; // both: atomic
    std::atomic<std::thread::id> handler_{};     // app side: atomic; thread of poll()'s handler
    WaitQueue unlocked_;                         // app side
};

} // namespace sidecar::detail
