// Threads of the application sleep on a WaitQueue, on the sidecar's clock, real or virtual.
#pragma once

#include "base/futex.hpp"
#include "base/virtual_time.hpp"

#include <sidecar/clock.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>

namespace sidecar::detail {

/// The clock of a sidecar, for the application's threads. Side: any thread, unless a call says
/// otherwise.
class AppClock {
public:
    virtual ~AppClock() = default;
    [[nodiscard]] virtual TimePoint now() const noexcept = 0;
    /// Returns when the running handler of the loop began; the loop knows it without reading the
    /// clock. Side: sidecar, in a task.
    [[nodiscard]] virtual TimePoint iteration_began() const noexcept { return now(); }
    /// Returns the virtual time and its turns; null: time is real.
    [[nodiscard]] virtual VirtualTime* virtual_time() const noexcept { return nullptr; }
    [[nodiscard]] bool is_virtual() const noexcept { return virtual_time() != nullptr; }
};

/// Threads sleep here until a condition holds. The thread that makes it hold does so by a
/// sequentially consistent store, then calls wake(), which costs one load while nobody sleeps.
class WaitQueue {
public:
    /// Waits until `condition()` holds. False: the deadline passed first. Side: app, any thread;
    /// several threads may evaluate their conditions at once. On virtual time see
    /// VirtualTime::wait().
    template <class Condition>
    [[nodiscard]] bool wait_until(AppClock& clock, TimePoint deadline, Condition condition,
                                  TimePoint give_up = TimePoint::max())
    {
        if (condition())
            return true;
        if (auto* const time = clock.virtual_time()) {
            time_.store(time, std::memory_order_relaxed);
            sleepers_.fetch_add(1, std::memory_order_seq_cst);
            const bool held = time->wait(futex_, deadline, std::ref(condition), give_up);
            sleepers_.fetch_sub(1, std::memory_order_relaxed);
            return held;
        }
        return wait_real(deadline, condition);
    }

    /// Wakes all threads that sleep here; they evaluate their conditions again. True: a thread
    /// slept. Side: any thread.
    bool wake() noexcept
    {
        if (sleepers_.load(std::memory_order_seq_cst) == 0)
            return false;
        futex_.wake();
        if (auto* const time = time_.load(std::memory_order_relaxed))
            time->poke();
        return true;
    }
    /// Like wake(), but locks no mutex; a thread that waits on virtual time sees it within 5 ms.
    /// Side: any thread and any signal handler.
    void wake_from_signal() noexcept
    {
        if (sleepers_.load(std::memory_order_seq_cst) != 0)
            futex_.wake();
    }

private:
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

    std::atomic<int> sleepers_{0};            // both: atomic
    std::atomic<VirtualTime*> time_{nullptr}; // both: atomic; null: nobody has slept on it
    Futex futex_;                             // both
};

} // namespace sidecar::detail
