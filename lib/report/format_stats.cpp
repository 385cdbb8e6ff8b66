#include <sidecar/stats.hpp>

#include "base/text.hpp"

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace sidecar {
namespace {

using detail::readable;

/// Lines of a name and a value, in groups with a title.
class Table {
public:
    void group(std::string_view title) { text_ += fmt::format("{}{}\n", separator(), title); }
    void row(std::string_view name, std::string_view value)
    {
        text_ += fmt::format("  {:<22}{}\n", name, value);
    }
    template <class... Args>
    void row(std::string_view name, fmt::format_string<Args...> format, Args&&... args)
    {
        row(name, fmt::format(format, std::forward<Args>(args)...));
    }
    [[nodiscard]] std::string text() &&
    {
        if (!text_.empty())
            text_.pop_back();
        return std::move(text_);
    }

private:
    [[nodiscard]] std::string_view separator() const { return text_.empty() ? "" : "\n"; }

    std::string text_;
};

void add_messages(Table& table, const Stats& s)
{
    table.group("messages from the peer");
    table.row("received", "{} ({} bytes) in {} reads", s.messages_received, s.bytes_received,
              s.reads);
    table.row("taken", "{}", s.messages_taken);
    table.row("lost", "{} (oldest {}, newest {}, conflated {}, too old {})", s.lost(),
              s.dropped_oldest, s.dropped_newest, s.conflated, s.too_old);
    table.row("discarded", "{} (after the stop began)", s.discarded);
    table.row("inbox", "{} ({} bytes)", s.inbox_messages, s.inbox_bytes);
    table.row("inbox at its fullest", "{} ({} bytes)", s.inbox_peak_messages, s.inbox_peak_bytes);
    table.row("reading paused", "{} times, {}", s.reading_pauses, readable(s.reading_paused));
    table.group("messages to the peer");
    table.row("queued", "{}", s.messages_queued);
    table.row("refused", "{}", s.sends_refused);
    table.row("sent", "{} ({} bytes) in {} writes", s.messages_sent, s.bytes_sent, s.writes);
    table.row("unsent", "{} (lost with their link, or {} late)", s.unsent, s.unsent_late);
    table.row("outboxes", "{} ({} bytes)", s.outbox_messages, s.outbox_bytes);
    table.row("outbox at its fullest", "{} ({} bytes)", s.outbox_peak_messages,
              s.outbox_peak_bytes);
    table.row("rate limit", "waited {} times, {}", s.rate_limit_waits, readable(s.rate_limited));
}

void add_latency(Table& table, std::string_view name, const Latency& latency)
{
    if (latency.count == 0)
        return;
    table.row(name, "p50 {}, p99 {}, least {}, last {} ({} measured)", readable(latency.p50),
              readable(latency.p99), readable(latency.least), readable(latency.last),
              latency.count);
}

void add_connections(Table& table, const Stats& s)
{
    table.group("connections");
    table.row("came up", "{} ({} after the first of their link)", s.connections, s.reconnects);
    table.row("failed attempts", "{}", s.failed_attempts);
    if (const auto trace = to_string(s.last_connect); !trace.empty())
        table.row("latest", "{} in all: {}", readable(s.last_connect.total), trace);
    table.row("age of the data", s.data_age ? readable(*s.data_age) : "no link is up");
    table.row("asked for life", "{} times, {} gave none", s.pings, s.unresponsive);
    add_latency(table, "round trip", s.round_trips);
    add_latency(table, "age of messages", s.message_ages);
}

} // namespace

std::string to_table(const Stats& s)
{
    Table table;
    add_messages(table, s);
    add_connections(table, s);
    table.group("threads");
    table.row("woken", "application {} times, loop {} times", s.application_wakeups,
              s.loop_wakeups);
    table.row("longest busy", "{} ({})", readable(s.longest_busy),
              s.longest_busy_task.empty() ? "no task" : s.longest_busy_task);
    table.row("errors", "{}, {} in callbacks", s.errors, s.callback_failures);
    return std::move(table).text();
}

std::string to_string(const Stats& s)
{
    auto text = fmt::format(
        "received {} messages ({} bytes) in {} reads; taken {}; lost {}; inbox now {}, peak {} "
        "({} bytes); sent {} of {} queued ({} bytes) in {} writes, refused {}, unsent {}; "
        "wake-ups: application {}, loop {}; reading paused {}; discarded {}; errors {}; "
        "connections {}, failed attempts {}; connected in {}; longest busy {} ({})",
        s.messages_received, s.bytes_received, s.reads, s.messages_taken, s.lost(),
        s.inbox_messages, s.inbox_peak_messages, s.inbox_peak_bytes, s.messages_sent,
        s.messages_queued, s.bytes_sent, s.writes, s.sends_refused, s.unsent, s.application_wakeups,
        s.loop_wakeups, s.reading_pauses, s.discarded, s.errors, s.connections, s.failed_attempts,
        readable(s.connect_time), readable(s.longest_busy), s.longest_busy_task);
    if (s.data_age)
        text += fmt::format("; data age {}", readable(*s.data_age));
    if (s.round_trips.count != 0)
        text += fmt::format("; round trip p50 {}, p99 {}", readable(s.round_trips.p50),
                            readable(s.round_trips.p99));
    if (s.rate_limit_waits != 0)
        text += fmt::format("; rate limited {} times, {}", s.rate_limit_waits,
                            readable(s.rate_limited));
    return text;
}

std::string to_string(const ConnectTrace& trace)
{
    std::string text;
    for (const auto& step : trace.steps)
        text += fmt::format("{}{}{}{} {}", text.empty() ? "" : ", ", to_string(step.phase),
                            step.detail.empty() ? "" : " ", step.detail, readable(step.took));
    std::string tried;
    for (const auto& attempt : trace.attempts)
        tried += fmt::format("{}{}: {} {} {}", tried.empty() ? "" : "; ", attempt.address,
                             attempt.outcome.empty() ? "taken" : attempt.outcome, "after",
                             readable(attempt.took));
    if (!tried.empty())
        text += fmt::format(" (tried {})", tried);
    return text;
}

} // namespace sidecar
