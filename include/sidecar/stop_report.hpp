// StopReport: the result of a stop.
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

/// How a stage of a stop ended.
enum class Verdict : std::uint8_t {
    ok,          ///< done within its time
    skipped,     ///< nothing to do
    timed_out,   ///< did not end in time
    failed,      ///< ended early, with an error
    not_waited,  ///< requested on the loop's own thread, where waiting is impossible
    not_reached, ///< an earlier stage still runs, or never ended
};
[[nodiscard]] SIDECAR_API std::string_view to_string(Verdict verdict) noexcept;

struct StageReport {
    Verdict verdict = Verdict::not_reached;
    Duration elapsed{};
};

/// A coroutine that the stop had to cancel, or that did not end.
struct TaskReport {
    std::string name;
    /// The event it waited for, or "running" with the time it has held the thread
    std::string waiting_for;
    Duration since{}; ///< how long it had waited
};

struct StopReport;
/// Several lines, for people.
[[nodiscard]] SIDECAR_API std::string to_string(const StopReport& report);
/// One line, for a log.
[[nodiscard]] SIDECAR_API std::string to_line(const StopReport& report);

/// The result of a stop. Its times are on the sidecar's clock (virtual with the mock), unless the
/// thread did not end.
struct SIDECAR_API StopReport {
    StageReport quiesce, drain, close, cancel, join;
    /// From the request until the thread ended or was given up
    Duration total{};
    /// Received and queued, not yet taken by the application (still receivable)
    std::uint64_t unread_messages = 0;
    std::uint64_t discarded_messages = 0; ///< received and not queued: Stats::discarded
    std::uint64_t unsent_messages = 0;    ///< accepted by send() during this run and never written
    /// Clients of listeners that the stop closed, and those that did not answer in time
    std::uint64_t clients_closed = 0, clients_cut = 0;
    std::vector<TaskReport> cancelled; ///< had to be cancelled
    std::vector<TaskReport> stuck;     ///< did not end even when cancelled
    /// The thread has ended. False: it ends later, alone, and keeps its state alive.
    bool joined = false;
    /// The first failure of the run or the stop
    std::optional<Failure> first_error;
    std::string dump; ///< the wait of each task, when a stage missed its time

    /// True when the thread ended, and each stage that had something to do ended well in time.
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
