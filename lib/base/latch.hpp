// std::latch with a timed wait.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace sidecar::detail {

/// Open while its count is zero. Side: both, guarded by its own mutex.
class Latch {
public:
    explicit Latch(std::ptrdiff_t count) noexcept : count_{count} {}

    void count_down()
    {
        // Notified under the lock: the waiter may destroy the latch as soon as it can see zero.
        std::lock_guard lock{mutex_};
        if (--count_ == 0)
            opened_.notify_all();
    }
    [[nodiscard]] bool try_wait() const
    {
        std::lock_guard lock{mutex_};
        return count_ == 0;
    }
    void wait() const
    {
        std::unique_lock lock{mutex_};
        opened_.wait(lock, [this] { return count_ == 0; });
    }
    /// False when the deadline passed first.
    [[nodiscard]] bool wait_until(std::chrono::steady_clock::time_point deadline) const
    {
        std::unique_lock lock{mutex_};
        return opened_.wait_until(lock, deadline, [this] { return count_ == 0; });
    }

private:
    mutable std::mutex mutex_;
    mutable std::condition_variable opened_;
    std::ptrdiff_t count_; // both: guarded by mutex_
};

} // namespace sidecar::detail
