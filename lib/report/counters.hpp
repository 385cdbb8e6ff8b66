// The table of Stats. Text, JSON and Prometheus are made from it. A new counter needs a member in
// stats.hpp and a row here.
#pragma once

#include <sidecar/stats.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace sidecar::detail {

/// One value of Stats, in all forms of its report. The member's type gives the unit: durations are
/// in seconds, a Latency is a histogram.
struct Counter {
    using Member = std::variant<std::uint64_t Stats::*, std::uint64_t (Stats::*)() const noexcept,
                                Duration Stats::*, std::optional<Duration> Stats::*,
                                Latency Stats::*, ConnectTrace Stats::*, std::string Stats::*>;

    Member member;
    std::string_view name; ///< in JSON; the name of a duration gets "_seconds"
    /// In Prometheus, after "sidecar_". A metric that ends in "_total" is a counter, a Latency is a
    /// histogram, others are gauges. Rows of one metric follow each other. Empty: not in
    /// Prometheus.
    std::string_view metric, help;
    /// In the table for people: the line's name. A title before it ("threads: woken") begins a
    /// group. Empty: the row continues the line before it.
    std::string_view line, text = "{}";
    /// In Prometheus: the label that distinguishes the rows of a metric. "reason": its value is
    /// `name`; "task": longest_busy_task.
    std::string_view label{};
};

inline constexpr std::string_view lost_help =
    "Messages received and lost to an overflow policy, by reason.";

inline constexpr Counter counters[]{
    {&Stats::messages_received, "messages_received", "messages_received_total",
     "Messages put into the inbox.", "messages from the peer: received"},
    {&Stats::bytes_received, "bytes_received", "received_bytes_total",
     "Payload of the messages put into the inbox.", "", " ({} bytes)"},
    {&Stats::reads, "reads", "reads_total", "Calls of the transport's read.", "", " in {} reads"},
    {&Stats::messages_taken, "messages_taken", "messages_taken_total",
     "Messages handed to the application.", "taken"},
    {&Stats::lost, "lost", "", "", "lost"},
    {&Stats::dropped_oldest, "dropped_oldest", "messages_lost_total", lost_help, "", " (oldest {}",
     "reason"},
    {&Stats::dropped_newest, "dropped_newest", "messages_lost_total", lost_help, "", ", newest {}",
     "reason"},
    {&Stats::too_old, "too_old", "messages_lost_total", lost_help, "", ", too old {})", "reason"},
    {&Stats::conflated, "conflated", "messages_conflated_total",
     "Messages replaced by newer ones of the same keys.", "conflated"},
    {&Stats::discarded, "discarded", "messages_discarded_total",
     "Messages that arrived after the stop began, or that a failed on_connected left.", "discarded",
     "{} (after the stop began, or left by a failed on_connected)"},
    {&Stats::inbox_messages, "inbox_messages", "inbox_messages", "Messages in the inbox.", "inbox"},
    {&Stats::inbox_bytes, "inbox_bytes", "inbox_bytes", "Payload in the inbox.", "", " ({} bytes)"},
    {&Stats::inbox_peak_messages, "inbox_peak_messages", "inbox_peak_messages",
     "The most messages that were in the inbox.", "inbox at its fullest"},
    {&Stats::inbox_peak_bytes, "inbox_peak_bytes", "inbox_peak_bytes",
     "The most payload that was in the inbox.", "", " ({} bytes)"},
    {&Stats::oldest_message_age, "oldest_message_age", "oldest_message_age_seconds",
     "How long the oldest message has waited that is queued.", "oldest in the inbox"},
    {&Stats::reading_pauses, "reading_pauses", "reading_pauses_total",
     "Times that reading paused because the inbox was full.", "reading paused", "{} times"},
    {&Stats::reading_paused, "reading_paused", "reading_paused_seconds_total",
     "Time in which links did not read because the inbox was full.", "", ", {}"},
    {&Stats::messages_accepted, "messages_accepted", "messages_accepted_total",
     "Messages accepted by send().", "messages to the peer: accepted"},
    {&Stats::sends_refused, "sends_refused", "sends_refused_total",
     "Calls of send() that did not queue the message.", "refused"},
    {&Stats::messages_sent, "messages_sent", "messages_sent_total",
     "Messages written by the transport.", "sent"},
    {&Stats::bytes_sent, "bytes_sent", "sent_bytes_total",
     "Payload of the messages written by the transport.", "", " ({} bytes)"},
    {&Stats::writes, "writes", "writes_total", "Calls of the transport's write.", "",
     " in {} writes"},
    {&Stats::unsent, "unsent", "messages_unsent_total",
     "Messages accepted by send() and lost with their link, or late.", "unsent",
     "{} (lost with their link"},
    {&Stats::unsent_late, "unsent_late", "messages_unsent_late_total",
     "Of those, the ones whose time was over.", "", ", or {} late"},
    {&Stats::unsent_dropped, "unsent_dropped", "messages_unsent_dropped_total",
     "Of those, the ones that a client's overflow policy dropped.", "", ", {} dropped"},
    {&Stats::unsent_conflated, "unsent_conflated", "messages_unsent_conflated_total",
     "Of those, the ones that newer messages of the same keys replaced.", "", ", {} conflated)"},
    {&Stats::outbox_messages, "outbox_messages", "outbox_messages", "Messages in the outboxes.",
     "outboxes"},
    {&Stats::outbox_bytes, "outbox_bytes", "outbox_bytes", "Payload in the outboxes.", "",
     " ({} bytes)"},
    {&Stats::outbox_peak_messages, "outbox_peak_messages", "outbox_peak_messages",
     "The most messages that were in one outbox.", "outbox at its fullest"},
    {&Stats::outbox_peak_bytes, "outbox_peak_bytes", "outbox_peak_bytes",
     "The most payload that was in one outbox.", "", " ({} bytes)"},
    {&Stats::rate_limit_waits, "rate_limit_waits", "rate_limit_waits_total",
     "Times that sending waited for a rate limit.", "rate limit", "waited {} times"},
    {&Stats::rate_limited, "rate_limited", "rate_limited_seconds_total",
     "Time in which sending waited for a rate limit.", "", ", {}"},
    {&Stats::connections, "connections", "connections_total", "Connections that came up.",
     "connections: came up"},
    {&Stats::reconnects, "reconnects", "reconnects_total",
     "Connections that came up after the first of their link.", "",
     " ({} after the first of their link)"},
    {&Stats::failed_attempts, "failed_attempts", "connect_failures_total",
     "Attempts to connect that failed.", "failed attempts"},
    {&Stats::clients, "clients", "clients", "Clients of listeners that are up.", "clients"},
    {&Stats::clients_accepted, "clients_accepted", "clients_accepted_total",
     "Clients of listeners that came up.", "", ", {} came up"},
    {&Stats::clients_refused, "clients_refused", "clients_refused_total",
     "Connections to listeners that did not become a client.", "", ", {} refused"},
    {&Stats::clients_served, "clients_served", "clients_served_total",
     "Connections to listeners that got a page.", "", ", {} served"},
    {&Stats::clients_too_slow, "clients_too_slow", "clients_too_slow_total",
     "Clients that were closed because they did not keep up.", "", ", {} too slow"},
    {&Stats::connect_time, "connect_time", "connect_seconds",
     "How long the first link's latest connection took to come up.", "connect time"},
    {&Stats::last_connect, "last_connect", "", "", "latest"},
    {&Stats::data_age, "data_age", "data_age_seconds",
     "Time since the last message, of the link that waits the longest.", "age of the data"},
    {&Stats::pings, "pings", "pings_total", "Signs of life that peers were asked for.",
     "asked for life", "{} times"},
    {&Stats::unresponsive, "unresponsive", "unresponsive_total",
     "Connections dropped because their peer gave no sign of life.", "", ", {} gave none"},
    {&Stats::round_trips, "round_trips", "round_trip_seconds",
     "From the write of a ping to its answer.", "round trip"},
    {&Stats::message_ages, "message_ages", "message_age_seconds",
     "From the arrival of a message until it was taken.", "age of messages"},
    {&Stats::application_wakeups, "application_wakeups", "application_wakeups_total",
     "Times that a sleeping receiver was woken.", "threads: woken", "application {} times"},
    {&Stats::loop_wakeups, "loop_wakeups", "loop_wakeups_total",
     "Times that the application woke the loop to write.", "", ", loop {} times"},
    {&Stats::longest_busy, "longest_busy", "longest_busy_seconds",
     "The longest time that a task held the loop's thread in one go.", "longest busy", "{}",
     "task"},
    {&Stats::longest_busy_task, "longest_busy_task", "", "", "", " ({})"},
    {&Stats::errors, "errors", "errors_total", "Failures recorded.", "errors"},
    {&Stats::callback_failures, "callback_failures", "callback_failures_total",
     "Exceptions that escaped the application's hooks.", "", ", {} in callbacks"},
};

template <class Visit>
void visit_value(const Counter& counter, const Stats& stats, Visit visit)
{
    std::visit([&](auto member) { visit(std::invoke(member, stats)); }, counter.member);
}

} // namespace sidecar::detail
