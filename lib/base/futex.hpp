// Threads sleep on a futex until a deadline, and a signal handler can wake them.
// std::condition_variable cannot be used in a signal handler, and std::atomic::wait has no
// deadline.
#pragma once

#include <sidecar/clock.hpp>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace sidecar::detail {

class Futex {
public:
    /// Returns a ticket for wait(). Take it before you check the condition: a wake() after that
    /// ends the wait.
    [[nodiscard]] std::uint32_t ticket() const noexcept
    {
        return word_.load(std::memory_order_seq_cst);
    }
    /// Sleeps until a wake() after the ticket was taken, or until the deadline; may also return for
    /// no reason. Side: any thread.
    void wait(std::uint32_t ticket, TimePoint deadline) noexcept
    {
        // FUTEX_WAIT_BITSET takes an absolute time on the steady clock; futex(2).
        const auto at = deadline.time_since_epoch();
        const auto seconds = std::chrono::floor<std::chrono::seconds>(at);
        const ::timespec when{.tv_sec = seconds.count(), .tv_nsec = (at - seconds).count()};
        ::syscall(SYS_futex, address(), FUTEX_WAIT_BITSET_PRIVATE, ticket,
                  deadline == TimePoint::max() ? nullptr : &when, nullptr, FUTEX_BITSET_MATCH_ANY);
    }
    /// Wakes all threads that sleep. Side: any thread and any signal handler.
    void wake() noexcept
    {
        word_.fetch_add(1, std::memory_order_seq_cst);
        const auto saved = errno;
        ::syscall(SYS_futex, address(), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
        errno = saved;
    }

private:
    [[nodiscard]] std::uint32_t* address() noexcept
    {
        static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t)
                      && std::atomic<std::uint32_t>::is_always_lock_free);
        return reinterpret_cast<std::uint32_t*>(&word_);
    }
    std::atomic<std::uint32_t> word_{0}; // both: atomic
};

} // namespace sidecar::detail
