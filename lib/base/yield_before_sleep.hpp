// How a thread waits before it lets itself be put to sleep.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>

namespace sidecar::detail {

/// To be put to sleep and woken costs more than many small messages do, and the waker pays too.
/// Where the next thing is likely to come before a few turns of the other threads are over, it is
/// waited for that way: in a stream so dense that much has come since the last wait, and after a
/// send that may have an answer. Elsewhere it is not tried, since a thread that yields keeps a core
/// from the very thread that it waits for (for milliseconds, with Linux's scheduler since 6.6), and
/// where it is in vain, it is tried less and less often. Side: any thread, several at once too.
class YieldBeforeSleep {
public:
    /// The next `waits` waits may be for an answer to what was sent.
    void expect_answer(unsigned waits) noexcept
    {
        if (hopes_.load(std::memory_order_relaxed) < waits)
            hopes_.store(waits, std::memory_order_relaxed);
    }
    /// True once `has_come()` is; false: sleep. `bytes`: so many have gone by since the beginning.
    template <class Condition>
    [[nodiscard]] bool until(Condition has_come, std::uint64_t bytes)
    {
        if (bytes >= bytes_.exchange(bytes, std::memory_order_relaxed) + dense_bytes)
            hopes_.store(hopes_of_dense_stream, std::memory_order_relaxed);
        const auto hopes = hopes_.load(std::memory_order_relaxed);
        if (hopes == 0)
            return false;
        hopes_.store(hopes - 1, std::memory_order_relaxed);
        if (const auto left = skips_left_.load(std::memory_order_relaxed); left != 0) {
            skips_left_.store(left - 1, std::memory_order_relaxed);
            return false;
        }
        for (unsigned i = 0; i < turns; ++i) {
            std::this_thread::yield();
            if (has_come()) {
                skips_.store(0, std::memory_order_relaxed);
                return true;
            }
        }
        const auto skips = std::min(2 * skips_.load(std::memory_order_relaxed) + 1, most_skipped);
        skips_.store(skips, std::memory_order_relaxed);
        skips_left_.store(skips, std::memory_order_relaxed);
        return false;
    }

private:
    static constexpr std::uint64_t dense_bytes = 4u << 10;
    static constexpr unsigned hopes_of_dense_stream = 16, turns = 16, most_skipped = 64;
    std::atomic<std::uint64_t> bytes_{0}; // any thread: atomic
    std::atomic<unsigned> hopes_{0};      // any thread: atomic; waits that are worth a try
    std::atomic<unsigned> skips_{0}, skips_left_{0}; // any thread: atomic
};

} // namespace sidecar::detail
