// Records the failures of a run, and writes the log.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/error_log.hpp>
#include <sidecar/options.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

namespace sidecar::detail {

/// Keeps the first failure of a run, one entry for each different one, and the count. Passes log
/// lines to the user's hook. Owned by the run. Side: any thread.
class Journal {
public:
    explicit Journal(LogHook hook) : hook_{std::move(hook)} {}

    /// Sets the clock of `first_at` and `last_at` in distinct(), which are zero without one. Call
    /// it before the loop runs.
    void use_clock(std::function<TimePoint()> now, bool is_virtual);
    /// Without memory the failure is only counted.
    void record(const Failure& why) noexcept;
    /// Records an exception that belongs to no task.
    void record(std::exception_ptr exception, std::string_view attempted) noexcept;
    [[nodiscard]] std::optional<Failure> first() const;
    [[nodiscard]] ErrorLog distinct() const;
    [[nodiscard]] std::uint64_t count() const;

    /// Calls the hook; without one writes to stderr, from LogLevel::warning on. An exception of the
    /// hook is swallowed and counted.
    void log(LogLevel level, std::string_view text) const noexcept;
    /// Writes to stderr if there is no hook, else nothing: for callers with a bound, which a hook
    /// may exceed.
    void log_without_hook(LogLevel level, std::string_view text) const noexcept;
    /// Logs nothing from `thread` from now on: the hook may refer to destroyed objects.
    void silence(std::thread::id thread) noexcept { silent_thread_.store(thread); }
    [[nodiscard]] std::uint64_t callback_failures() const noexcept
    {
        return callback_failures_.load();
    }

    /// Maximum of different failures; others are only counted, in ErrorLog::others.
    static constexpr std::size_t max_distinct = 64;

private:
    void record_distinct(const Failure& failure);

    const LogHook hook_;                                      // both: constant
    std::function<TimePoint()> now_;                          // both: constant once the loop runs
    bool is_virtual_ = false;                                 // both: constant once the loop runs
    std::atomic<std::thread::id> silent_thread_{};            // both: atomic
    mutable std::atomic<std::uint64_t> callback_failures_{0}; // both: atomic

    mutable std::mutex mutex_;
    std::optional<Failure> first_; // both: guarded by mutex_
    ErrorLog distinct_;            // both: guarded by mutex_
    std::uint64_t count_ = 0;      // both: guarded by mutex_
};

} // namespace sidecar::detail
