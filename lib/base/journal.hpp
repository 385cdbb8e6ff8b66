// What went wrong during a run, and the log.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/error_log.hpp>
#include <sidecar/options.hpp>

#include <atomic>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

namespace sidecar::detail {

/// Keeps the first failure of a run, its latest ones, each different one once, and their number;
/// passes log lines to the user's hook. Owned by the run. Side: any thread.
class Journal {
public:
    explicit Journal(LogHook hook) : hook_{std::move(hook)} {}

    /// The clock of the times in distinct(); until it is set they are zero. Before the loop
    /// runs.
    void use_clock(std::function<TimePoint()> now, bool is_virtual);
    void record(const Failure& failure);
    /// The same of an exception that belongs to no task; without memory it is only counted.
    void record(std::exception_ptr exception, std::string_view attempted) noexcept;
    [[nodiscard]] std::optional<Failure> first() const;
    /// The latest, oldest first, at most 16.
    [[nodiscard]] std::vector<Failure> latest() const;
    [[nodiscard]] ErrorLog distinct() const;
    [[nodiscard]] std::uint64_t count() const;

    /// What the hook throws is swallowed and counted.
    void log(LogLevel level, std::string_view text) const noexcept;
    /// To stderr where there is no hook, and nowhere where there is one: for threads that keep a bound.
    void log_without_hook(LogLevel level, std::string_view text) const noexcept;
    /// From now on no hook is called on this thread, since what it refers to may be gone.
    void silence(std::thread::id thread) noexcept { silent_thread_.store(thread); }
    [[nodiscard]] std::uint64_t callback_failures() const noexcept
    {
        return callback_failures_.load();
    }

    /// So many different failures are kept apart.
    static constexpr std::size_t most_distinct = 64;

private:
    void note_distinct(const Failure& failure);

    const LogHook hook_;                                      // both: constant
    std::function<TimePoint()> now_;                          // both: constant once the loop runs
    bool is_virtual_ = false;                                 // both: constant once the loop runs
    std::atomic<std::thread::id> silent_thread_{};            // both: atomic
    mutable std::atomic<std::uint64_t> callback_failures_{0}; // both: atomic

    mutable std::mutex mutex_;
    std::optional<Failure> first_; // both: guarded by mutex_
    std::deque<Failure> latest_;   // both: guarded by mutex_
    ErrorLog distinct_;            // both: guarded by mutex_
    std::uint64_t count_ = 0;      // both: guarded by mutex_
};

} // namespace sidecar::detail
