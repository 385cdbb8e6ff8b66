// What went wrong during a run, and the log.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/options.hpp>

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

namespace sidecar::detail {

/// Keeps the first failure of a run, its latest ones and their number, and passes log lines to the
/// user's hook. Owned by the run. Side: any thread.
class Journal {
public:
    explicit Journal(LogHook hook) : hook_{std::move(hook)} {}

    void record(const Failure& failure);
    [[nodiscard]] std::optional<Failure> first() const;
    /// The latest, oldest first, at most 16.
    [[nodiscard]] std::vector<Failure> latest() const;
    [[nodiscard]] std::uint64_t count() const;

    /// What the hook throws is swallowed and counted.
    void log(LogLevel level, std::string_view text) const noexcept;
    /// From now on no hook is called on this thread, since what it refers to may be gone.
    void silence(std::thread::id thread) noexcept { silent_thread_.store(thread); }
    [[nodiscard]] std::uint64_t callback_failures() const noexcept
    {
        return callback_failures_.load();
    }

private:
    const LogHook hook_;                                      // both: constant
    std::atomic<std::thread::id> silent_thread_{};            // both: atomic
    mutable std::atomic<std::uint64_t> callback_failures_{0}; // both: atomic

    mutable std::mutex mutex_;
    std::optional<Failure> first_; // both: guarded by mutex_
    std::deque<Failure> latest_;   // both: guarded by mutex_
    std::uint64_t count_ = 0;      // both: guarded by mutex_
};

} // namespace sidecar::detail
