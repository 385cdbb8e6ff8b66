// How a thread sleeps that waits at several wait points at once.
#pragma once

#include "base/futex.hpp"

#include <atomic>
#include <cstdint>

namespace sidecar::detail {

/// All threads of the process that wait at several points sleep on one word, each with a bit that it
/// may share with others: a point notes the bits of those who wait there, and its wake-up wakes these.
/// Who is woken for another's sake looks again, and sleeps on. Side: any thread; wake_some() any signal
/// handler too.
class ManyPoints {
public:
    [[nodiscard]] static Futex& word() noexcept { return word_; }
    /// The calling thread's bit.
    [[nodiscard]] static std::uint32_t bit() noexcept
    {
        static std::atomic<unsigned> threads{0};
        static thread_local const std::uint32_t bit =
            std::uint32_t{1} << (threads.fetch_add(1, std::memory_order_relaxed) % 32);
        return bit;
    }

private:
    static inline Futex word_; // any thread
};

} // namespace sidecar::detail
