// StopReport: what a stop did.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar {

enum class Verdict : std::uint8_t {
    ok,          ///< done within its time
    skipped,     ///< there was nothing to do
    timed_out,   ///< its time passed
    failed,      ///< ended early, with an error
    not_waited,  ///< requested where waiting is impossible (the loop's own thread)
    not_reached, ///< a stage before it is under way still, or never ended
};
[[nodiscard]] SIDECAR_API std::string_view to_string(Verdict verdict) noexcept;

struct StageReport {
    Verdict verdict = Verdict::not_reached;
    Duration took{};
};

/// A coroutine that had to be cancelled, or that did not end.
struct TaskReport {
    std::string name;
    /// What it was waiting for, or "running" with the time it has held the thread
    std::string waiting_for;
    Duration since{}; ///< for how long
};

struct StopReport;
/// Several lines, for people.
[[nodiscard]] SIDECAR_API std::string to_string(const StopReport& report);
/// One line, for a log.
[[nodiscard]] SIDECAR_API std::string to_line(const StopReport& report);

/// What a stop did. Its times are on the sidecar's clock (virtual with the mock), but for a thread
/// that did not end.
struct SIDECAR_API StopReport {
    StageReport quiesce, drain, close, cancel, join;
    /// From the request to the thread's end (a shared one: to when it was left), or to when it was
    /// given up
    Duration total{};
    /// Received, queued, not yet taken by the application (still receivable)
    std::uint64_t unread_messages = 0;
    std::uint64_t discarded_messages = 0; ///< arrived after the stop began; not taken in
    std::uint64_t unsent_messages = 0;    ///< accepted by send() during this run and never written
    std::vector<TaskReport> cancelled;    ///< had to be cancelled
    std::vector<TaskReport> stuck;        ///< did not end even then
    /// The thread has ended. False: it finishes alone, on state that it keeps alive.
    bool joined = false;
    /// The first thing that went wrong during the run or the stop
    std::optional<Failure> first_error;
    std::string dump; ///< what everybody was waiting for when a stage missed its time

    /// True when every stage that had something to do did it in time.
    [[nodiscard]] bool clean() const noexcept;
    /// For any stream, so that test frameworks can show a Result<StopReport>.
    template <class Stream>
    friend Stream& operator<<(Stream& stream, const StopReport& report)
    {
        stream << to_string(report);
        return stream;
    }
};

} // namespace sidecar
