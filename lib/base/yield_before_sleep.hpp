// Lets other threads run for a moment before a thread sleeps.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>

namespace sidecar::detail {

/// Yields a few times before this thread sleeps: a sleep and a wake-up cost more than many small
/// messages, and the waker pays too. It yields only where the next message is likely to arrive
/// soon: in a dense stream, with at least 4 KiB since the last wait, and after a send that may have
/// an answer. Elsewhere it does not: a thread that yields keeps a core from the very thread that it
/// waits for (for milliseconds, with Linux's scheduler since 6.6). After each attempt in vain it
/// skips more waits. Owned by the side that waits. Side: any thread, several at once too.
class YieldBeforeSleep {
public:
    /// Allows yields in the next `waits` waits, in which an answer to a send may arrive.
    void hint_reply_expected(unsigned waits) noexcept
    {
        if (tries_left_.load(std::memory_order_relaxed) < waits)
            tries_left_.store(waits, std::memory_order_relaxed);
    }
    /// Yields until `has_arrived()` holds. False: sleep. `bytes_processed`: since the beginning.
    template <class Condition>
    [[nodiscard]] bool until(Condition has_arrived, std::uint64_t bytes_processed)
    {
        if (!is_worth_trying(bytes_processed))
            return false;
        for (unsigned i = 0; i < turns; ++i) {
            std::this_thread::yield();
            if (has_arrived()) {
                skipped_after_failure_.store(0, std::memory_order_relaxed);
                return true;
            }
        }
        const auto skipped =
            std::min(2 * skipped_after_failure_.load(std::memory_order_relaxed) + 1, max_skipped);
        skipped_after_failure_.store(skipped, std::memory_order_relaxed);
        to_skip_.store(skipped, std::memory_order_relaxed);
        return false;
    }

private:
    [[nodiscard]] bool is_worth_trying(std::uint64_t bytes_processed) noexcept
    {
        if (bytes_processed
            >= bytes_processed_.exchange(bytes_processed, std::memory_order_relaxed) + dense_bytes)
            tries_left_.store(tries_in_dense_stream, std::memory_order_relaxed);
        const auto tries = tries_left_.load(std::memory_order_relaxed);
        if (tries == 0)
            return false;
        tries_left_.store(tries - 1, std::memory_order_relaxed);
        const auto to_skip = to_skip_.load(std::memory_order_relaxed);
        if (to_skip == 0)
            return true;
        to_skip_.store(to_skip - 1, std::memory_order_relaxed);
        return false;
    }

    static constexpr std::uint64_t dense_bytes = 4u << 10;
    static constexpr unsigned tries_in_dense_stream = 16, turns = 16, max_skipped = 64;
    std::atomic<std::uint64_t> bytes_processed_{0};  // any thread: atomic; as of the last wait
    std::atomic<unsigned> tries_left_{0};            // any thread: atomic; waits that may yield
    std::atomic<unsigned> skipped_after_failure_{0}; // any thread: atomic; waits
    std::atomic<unsigned> to_skip_{0};               // any thread: atomic; waits
};

} // namespace sidecar::detail
