// State and Stats: the state and the counters of a sidecar.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/connect_trace.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/histogram.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar {

/// The state of a sidecar.
enum class State : std::uint8_t {
    idle,         ///< never started, or a start failed
    starting,     ///< start() is connecting
    connected,    ///< at least one link is up
    disconnected, ///< running, but no link is up
    stopping,     ///< a stop has begun
    stopped,      ///< stopped; queued messages stay receivable
};
[[nodiscard]] SIDECAR_API std::string_view to_string(State state) noexcept;

/// A snapshot of counters, all since start() unless the field says otherwise.
struct Stats {
    std::uint64_t messages_received = 0, bytes_received = 0; ///< put into the inbox
    std::uint64_t messages_taken = 0;                        ///< handed to the application
    /// Received and lost, by GapReason. Zero with OverflowPolicy::pause_reading and no max_age.
    std::uint64_t dropped_oldest = 0, dropped_newest = 0, too_old = 0;
    /// Received and replaced by newer ones of the same keys, with OverflowPolicy::conflate: not
    /// lost. Always: messages_received = messages_taken + lost() + conflated + inbox_messages.
    std::uint64_t conflated = 0;
    [[nodiscard]] std::uint64_t lost() const noexcept
    {
        return dropped_oldest + dropped_newest + too_old;
    }
    /// The age of the oldest queued message; zero: none is queued.
    Duration oldest_message_age{};
    std::uint64_t messages_sent = 0, bytes_sent = 0; ///< written by the transport
    std::uint64_t messages_accepted = 0;             ///< accepted by send()
    std::uint64_t sends_refused = 0; ///< calls of send() that failed, for any reason
    /// Received and not queued: they arrived after the stop (or the link's close) began, or
    /// on_connected did not take them and failed.
    std::uint64_t discarded = 0;
    std::uint64_t unsent = 0;      ///< accepted by send() or a broadcast, and never written
    std::uint64_t unsent_late = 0; ///< the part of `unsent` whose SendOptions::expires_after passed
    /// The parts of `unsent` that a ClientOverflow dropped, and that newer messages of the same key
    /// replaced.
    std::uint64_t unsent_dropped = 0, unsent_conflated = 0;
    std::uint64_t clients = 0;          ///< a listener's clients that are up now
    std::uint64_t clients_accepted = 0; ///< of those that came up, all
    std::uint64_t clients_refused = 0;  ///< connections that did not become a client
    std::uint64_t clients_served = 0;   ///< connections that got a page, and were no client
    std::uint64_t clients_too_slow = 0; ///< closed by OverflowPolicy::fail
    std::uint64_t inbox_messages = 0, inbox_bytes = 0; ///< queued now
    std::uint64_t inbox_peak_messages = 0, inbox_peak_bytes = 0;
    std::uint64_t outbox_messages = 0, outbox_bytes = 0; ///< queued now, over all links
    std::uint64_t outbox_peak_messages = 0, outbox_peak_bytes = 0;
    std::uint64_t application_wakeups = 0; ///< times a sleeping receiver was woken
    std::uint64_t loop_wakeups = 0;        ///< times the application woke the loop to write
    std::uint64_t reads = 0, writes = 0;   ///< batches: calls of the transport's read and write
    std::uint64_t reading_pauses = 0;      ///< times reading paused because the inbox was full
    /// How long links did not read because of that: the sum of all links, up to now. A peer that
    /// waits for an answer sees a pause as silence.
    Duration reading_paused{};
    std::uint64_t callback_failures = 0; ///< exceptions of the user's hooks
    std::uint64_t errors = 0;            ///< failures recorded; errors() lists each once
    std::uint64_t connections = 0;       ///< connections that came up, over all links
    std::uint64_t reconnects = 0;        ///< of those, all but the first of each link
    std::uint64_t failed_attempts = 0;   ///< to connect
    Duration connect_time{};             ///< of the first link's latest connection
    ConnectTrace last_connect{};         ///< its steps, or those of an attempt that failed since
    /// Time since the last message, or since the link came up: the longest of all links that are
    /// up. Empty: none is up.
    std::optional<Duration> data_age{};
    std::uint64_t pings = 0;        ///< pings and heartbeats that links asked their peers with
    std::uint64_t unresponsive = 0; ///< connections dropped because the peer was silent
    Latency round_trips{};          ///< from a ping's write to its answer
    /// From arrival until taken, of all links; empty in Link::stats(). On real time, if messages
    /// are taken faster than one in 4 us, one in up to 512 is measured. The others count with the
    /// last measured age.
    Latency message_ages{};
    std::uint64_t rate_limit_waits = 0; ///< times that sending waited for a rate limit
    Duration rate_limited{};            ///< how long it waited; includes a wait under way
    Duration longest_busy{};            ///< longest time the loop's thread was held in one go
    std::string longest_busy_task{};    ///< the task that held it
};

/// The number of loop threads that a stop left behind and that have not ended yet, in this process.
[[nodiscard]] SIDECAR_API std::uint64_t orphan_count() noexcept;

/// One line, for a log.
[[nodiscard]] SIDECAR_API std::string to_string(const Stats& stats);
/// Several lines, for people: a name and a value in each, in groups.
[[nodiscard]] SIDECAR_API std::string to_table(const Stats& stats);

/// The messages about one topic; see Feed::topic_stats().
struct TopicStats {
    std::string topic; ///< empty: the sum of all that were not counted one by one
    std::uint64_t messages = 0, bytes = 0;
    TimePoint last_arrival{}; ///< on the sidecar's clock
};

} // namespace sidecar
