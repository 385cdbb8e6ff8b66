// Lets a thread look again for a moment before it sleeps.
#pragma once

#include "base/real_time.hpp"

#include <sidecar/clock.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

namespace sidecar::detail {

/// Looks again and again before its thread sleeps, while that pays. A sleep and a wake-up cost more
/// than many small messages; but a thread that spins keeps a core from others, perhaps from the
/// thread that it waits for. So a spin ends as soon as its thread had to share the core. After a
/// spin that lost time the thread sleeps at once, for many times as long, and each further loss
/// doubles this rest. Owned by the side that waits. Side: any thread, several at once too.
class Spin {
public:
    /// How a thread spins.
    struct Manner {
        /// Gives the core away between two looks. Since Linux 6.6 that takes milliseconds if a
        /// stranger wants the core, so only those yield who wait for a thread that may need it.
        bool yields;
        bool rests_in_vain;    ///< false: the application asked for the spin, also in vain
        Duration longest_look; ///< one that takes longer shows that the core is shared
        int rest_factor;       ///< how many times as long as the loss a rest takes
    };
    /// For something that is likely to come at once. All spins in vain take less than half a
    /// percent of the time.
    static constexpr Manner brief{.yields = false,
                                  .rests_in_vain = true,
                                  .longest_look = std::chrono::microseconds{50},
                                  .rest_factor = 256};
    /// For Options::busy_poll.
    static constexpr Manner wanted{.yields = true,
                                   .rests_in_vain = false,
                                   .longest_look = std::chrono::microseconds{200},
                                   .rest_factor = 256};
    /// For another thread or a peer that is at work: it may need this core.
    static constexpr Manner considerate{.yields = true,
                                        .rests_in_vain = true,
                                        .longest_look = std::chrono::milliseconds{1},
                                        .rest_factor = 64};

    /// Spins until `has_arrived()` holds, for `most`. False: sleep. `now` is the clock.
    template <class Condition, class Now>
    [[nodiscard]] bool until(Condition has_arrived, Duration most, const Manner& manner, Now now)
    {
        const auto began = now();
        if (began.time_since_epoch().count() < rest_until_.load(std::memory_order_relaxed))
            return false;
        for (auto at = began;;) {
            if (manner.yields)
                std::this_thread::yield();
            else
                pause();
            const auto before = std::exchange(at, now());
            const bool has_lost_core = at - before > manner.longest_look;
            if (!has_lost_core && has_arrived()) {
                const auto rest = rest_.load(std::memory_order_relaxed);
                rest_.store(rest - rest / 8, std::memory_order_relaxed);
                return true;
            }
            if (has_lost_core || at - began >= most) {
                if (has_lost_core || manner.rests_in_vain)
                    rest(at, manner.rest_factor * (at - began));
                return false;
            }
        }
    }
    template <class Condition>
    [[nodiscard]] bool until(Condition has_arrived, Duration most, const Manner& manner)
    {
        return until(has_arrived, most, manner, real_now);
    }

private:
    static constexpr Duration longest_rest = std::chrono::seconds{2};

    void rest(TimePoint now, Duration least) noexcept
    {
        const Duration before{rest_.load(std::memory_order_relaxed)};
        const auto rest = std::min(std::max(2 * before, least), longest_rest);
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
