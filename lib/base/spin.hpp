// Lets a thread look again for a moment before it sleeps.
#pragma once

#include "base/real_time.hpp"

#include <sidecar/clock.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <utility>

namespace sidecar::detail {

/// Looks again and again before its thread sleeps, while that pays. A sleep and a wake-up cost more
/// than many small messages; but a thread that spins keeps a core from others, perhaps from the
/// thread that it waits for. So a spin ends as soon as its thread had to share the core. After a
/// spin that lost time the thread sleeps at once, for 256 times as long, and each further loss
/// doubles this rest: all spins in vain take less than half a percent of the time. It never calls
/// sched_yield(): since Linux 6.6 that gives the core away for milliseconds if anybody else wants
/// it. Owned by the side that waits. Side: any thread, several at once too.
class Spin {
public:
    enum class InVain {
        is_a_loss, // nothing came: the time is lost
        is_wanted  // the application asked for it
    };

    /// Spins until `has_arrived()` holds, for `most`. False: sleep. `now` is the clock.
    template <class Condition, class Now>
    [[nodiscard]] bool until(Condition has_arrived, Duration most, InVain in_vain, Now now)
    {
        const auto began = now();
        if (began.time_since_epoch().count() < rest_until_.load(std::memory_order_relaxed))
            return false;
        for (auto at = began;;) {
            pause();
            const auto before = std::exchange(at, now());
            const bool has_lost_core = at - before > longest_look;
            if (!has_lost_core && has_arrived()) {
                const auto rest = rest_.load(std::memory_order_relaxed);
                rest_.store(rest - rest / 8, std::memory_order_relaxed);
                return true;
            }
            if (has_lost_core || at - began >= most) {
                if (has_lost_core || in_vain == InVain::is_a_loss)
                    rest(at, at - began);
                return false;
            }
        }
    }
    template <class Condition>
    [[nodiscard]] bool until(Condition has_arrived, Duration most, InVain in_vain)
    {
        return until(has_arrived, most, in_vain, real_now);
    }

private:
    static constexpr Duration longest_look = std::chrono::microseconds{50};
    static constexpr Duration longest_rest = std::chrono::seconds{2};
    static constexpr int rest_factor = 256;

    void rest(TimePoint now, Duration lost) noexcept
    {
        const Duration before{rest_.load(std::memory_order_relaxed)};
        const auto rest = std::min(std::max(2 * before, rest_factor * lost), longest_rest);
        rest_.store(rest.count(), std::memory_order_relaxed);
        rest_until_.store((now + rest).time_since_epoch().count(), std::memory_order_relaxed);
    }
    /// Takes a fraction of a microsecond, in which a hyper-thread on the same core runs faster.
    static void pause() noexcept
    {
        for (int i = 0; i < 4; ++i) {
#if defined(__x86_64__) || defined(__i386__)
            __builtin_ia32_pause();
#elif defined(__aarch64__)
            asm volatile("isb");
#endif
        }
    }

    std::atomic<Duration::rep> rest_{0};       // any thread: atomic; the latest rest
    std::atomic<Duration::rep> rest_until_{0}; // any thread: atomic
};

} // namespace sidecar::detail
