// What a sidecar tells about itself: state, statistics, and the report of a stop. All printable
// with fmt.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/error.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar {

enum class State : std::uint8_t {
    idle,         ///< never started, or a start failed
    starting,     ///< start() is connecting
    connected,    ///< at least one link is up
    disconnected, ///< running, but no link is up
    stopping,     ///< a stop has begun
    stopped,      ///< stopped; what was queued stays receivable
};
[[nodiscard]] std::string_view to_string(State state) noexcept;

enum class Verdict : std::uint8_t {
    ok,          ///< done within its time
    skipped,     ///< there was nothing to do
    timed_out,   ///< its time passed
    failed,      ///< ended early, with an error
    not_waited,  ///< requested where waiting is impossible (the loop's own thread)
    not_reached, ///< a stage before it is under way still, or never ended
};
[[nodiscard]] std::string_view to_string(Verdict verdict) noexcept;

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
[[nodiscard]] std::string to_string(const StopReport& report);

/// What a stop did. Its times are on the sidecar's clock (virtual with the mock), but for a thread
/// that did not end.
struct StopReport {
    StageReport quiesce, drain, close, cancel, join;
    Duration total{}; ///< from the request to the thread's end, or to when it was given up
    /// Received, queued, not yet taken by the application (still receivable)
    std::uint64_t unread_messages = 0;
    std::uint64_t discarded_messages = 0; ///< arrived after the stop began; not taken in
    std::uint64_t unsent_messages = 0;    ///< accepted by send() during this run and never written
    std::vector<TaskReport> cancelled;    ///< had to be cancelled
    std::vector<TaskReport> stuck;        ///< did not end even then
    bool joined = false; ///< the thread has ended; false: it finishes alone, on state of its own
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

/// A snapshot of counters, all since start() unless said otherwise.
struct Stats {
    std::uint64_t messages_received = 0, bytes_received = 0; ///< put into the inbox
    std::uint64_t messages_taken = 0;                        ///< handed to the application
    std::uint64_t messages_sent = 0, bytes_sent = 0;         ///< written by the transport
    std::uint64_t messages_queued = 0;                       ///< accepted by send()
    std::uint64_t sends_refused = 0; ///< send() said full, not connected, stopping or bad message
    std::uint64_t discarded = 0;     ///< arrived after the stop began
    std::uint64_t unsent = 0;        ///< accepted by send() and lost with their link
    std::uint64_t inbox_messages = 0, inbox_bytes = 0; ///< queued now
    std::uint64_t inbox_peak_messages = 0, inbox_peak_bytes = 0;
    std::uint64_t outbox_messages = 0, outbox_bytes = 0; ///< queued now, over all links
    std::uint64_t outbox_peak_messages = 0, outbox_peak_bytes = 0;
    std::uint64_t application_wakeups = 0; ///< times a sleeping receiver was woken
    std::uint64_t loop_wakeups = 0;        ///< times the application woke the loop to write
    std::uint64_t reads = 0, writes = 0;   ///< batches: calls of the transport's read and write
    std::uint64_t reading_pauses = 0;      ///< times reading paused because the inbox was full
    std::uint64_t callback_failures = 0;   ///< exceptions that escaped the user's hooks
    std::uint64_t errors = 0;              ///< failures recorded; errors() has the latest
    Duration connect_time{};               ///< of the first link
    Duration longest_busy{};               ///< longest time the loop's thread was held in one go
    std::string longest_busy_task;         ///< and the task that held it
};

/// Loop threads of this process that a stop had to leave behind and that have not ended yet.
[[nodiscard]] std::uint64_t orphan_count() noexcept;

[[nodiscard]] std::string to_string(const Stats& stats);

} // namespace sidecar

template <>
struct fmt::formatter<sidecar::StopReport> {
    constexpr auto parse(format_parse_context& ctx) { return ctx.begin(); }
    template <class FormatContext>
    auto format(const sidecar::StopReport& report, FormatContext& ctx) const
    {
        // Not format_to: clang 14 mangles it otherwise than the g++ that built the system's fmt.
        const std::string text = sidecar::to_string(report);
        return std::copy(text.begin(), text.end(), ctx.out());
    }
};
template <>
struct fmt::formatter<sidecar::Stats> {
    constexpr auto parse(format_parse_context& ctx) { return ctx.begin(); }
    template <class FormatContext>
    auto format(const sidecar::Stats& stats, FormatContext& ctx) const
    {
        // Not format_to: clang 14 mangles it otherwise than the g++ that built the system's fmt.
        const std::string text = sidecar::to_string(stats);
        return std::copy(text.begin(), text.end(), ctx.out());
    }
};
