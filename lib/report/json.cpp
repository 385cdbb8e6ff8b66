#include <sidecar/json.hpp>

#include "report/json_writer.hpp"
#include "report/stop_stages.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <utility>

namespace sidecar {
namespace {

using detail::JsonWriter;

/// The enumerator's name; to_string() has words for people.
std::string_view name_of(Verdict verdict)
{
    switch (verdict) {
    case Verdict::ok: return "ok";
    case Verdict::skipped: return "skipped";
    case Verdict::timed_out: return "timed_out";
    case Verdict::failed: return "failed";
    case Verdict::not_waited: return "not_waited";
    case Verdict::not_reached: return "not_reached";
    }
    return "unknown";
}

std::string_view name_of(GapReason reason)
{
    switch (reason) {
    case GapReason::none: return "none";
    case GapReason::dropped_oldest: return "dropped_oldest";
    case GapReason::dropped_newest: return "dropped_newest";
    case GapReason::conflated: return "conflated";
    case GapReason::too_old: return "too_old";
    }
    return "unknown";
}

void write(JsonWriter& json, const error_code& code)
{
    json.begin_object();
    json.member("category", code.category().name());
    json.member("value", code.value());
    json.member("message", code.message());
    json.end_object();
}

void write(JsonWriter& json, const Failure& failure)
{
    json.begin_object();
    json.member("message", failure.message());
    json.key("code");
    write(json, failure.code());
    json.member("attempted", failure.attempted());
    json.member("endpoint", failure.endpoint());
    json.member("explanation", failure.explanation());
    json.key("cause");
    if (failure.cause())
        write(json, failure.cause());
    else
        json.null();
    json.member("close_code", failure.close_code());
    json.member("close_reason", failure.close_reason());
    json.member("http_status", failure.http_status());
    std::optional<Duration> retry_after = failure.retry_after();
    json.member("retry_after_seconds", retry_after);
    json.end_object();
}

void write(JsonWriter& json, const ConnectTrace& trace)
{
    json.begin_object();
    json.member("total_seconds", trace.total);
    json.key("steps");
    json.begin_array();
    for (const auto& step : trace.steps) {
        json.begin_object();
        json.member("phase", to_string(step.phase));
        json.member("detail", step.detail);
        json.member("took_seconds", step.took);
        json.end_object();
    }
    json.end_array();
    json.key("attempts");
    json.begin_array();
    for (const auto& attempt : trace.attempts) {
        json.begin_object();
        json.member("address", attempt.address);
        json.member("outcome", attempt.outcome);
        json.member("took_seconds", attempt.took);
        json.end_object();
    }
    json.end_array();
    json.end_object();
}

/// Without the ranges of its histogram, which are for Prometheus.
void write(JsonWriter& json, const Latency& latency)
{
    json.begin_object();
    json.member("count", latency.count);
    json.member("last_seconds", latency.last);
    json.member("least_seconds", latency.least);
    json.member("most_seconds", latency.most);
    json.member("p50_seconds", latency.p50);
    json.member("p99_seconds", latency.p99);
    json.end_object();
}

void write(JsonWriter& json, const TaskReport& task)
{
    json.begin_object();
    json.member("name", task.name);
    json.member("waiting_for", task.waiting_for);
    json.member("since_seconds", task.since);
    json.end_object();
}

Duration since_1970(std::chrono::system_clock::time_point time)
{
    return std::chrono::duration_cast<Duration>(time.time_since_epoch());
}

void write(JsonWriter& json, const ErrorLogEntry& entry)
{
    json.begin_object();
    json.key("failure");
    write(json, entry.failure);
    json.member("count", entry.count);
    json.member("first_time_seconds", since_1970(entry.first_time));
    json.member("last_time_seconds", since_1970(entry.last_time));
    json.end_object();
}

template <class T>
void write_all(JsonWriter& json, std::string_view name, const std::vector<T>& all)
{
    json.key(name);
    json.begin_array();
    for (const auto& one : all)
        write(json, one);
    json.end_array();
}

void write_counts(JsonWriter& json, const Stats& s)
{
    const std::array<std::pair<const char*, std::uint64_t>, 36> counts{
        {{"messages_received", s.messages_received},
         {"bytes_received", s.bytes_received},
         {"messages_taken", s.messages_taken},
         {"lost", s.lost()},
         {"dropped_oldest", s.dropped_oldest},
         {"dropped_newest", s.dropped_newest},
         {"conflated", s.conflated},
         {"too_old", s.too_old},
         {"messages_sent", s.messages_sent},
         {"bytes_sent", s.bytes_sent},
         {"messages_queued", s.messages_queued},
         {"sends_refused", s.sends_refused},
         {"discarded", s.discarded},
         {"unsent", s.unsent},
         {"unsent_late", s.unsent_late},
         {"inbox_messages", s.inbox_messages},
         {"inbox_bytes", s.inbox_bytes},
         {"inbox_peak_messages", s.inbox_peak_messages},
         {"inbox_peak_bytes", s.inbox_peak_bytes},
         {"outbox_messages", s.outbox_messages},
         {"outbox_bytes", s.outbox_bytes},
         {"outbox_peak_messages", s.outbox_peak_messages},
         {"outbox_peak_bytes", s.outbox_peak_bytes},
         {"application_wakeups", s.application_wakeups},
         {"loop_wakeups", s.loop_wakeups},
         {"reads", s.reads},
         {"writes", s.writes},
         {"reading_pauses", s.reading_pauses},
         {"rate_limit_waits", s.rate_limit_waits},
         {"pings", s.pings},
         {"unresponsive", s.unresponsive},
         {"connections", s.connections},
         {"reconnects", s.reconnects},
         {"failed_attempts", s.failed_attempts},
         {"callback_failures", s.callback_failures},
         {"errors", s.errors}}};
    for (const auto& [name, count] : counts)
        json.member(name, count);
}

} // namespace

std::string to_json(const Stats& stats)
{
    JsonWriter json;
    json.begin_object();
    write_counts(json, stats);
    json.member("oldest_message_age_seconds", stats.oldest_message_age);
    json.member("reading_paused_seconds", stats.reading_paused);
    json.member("rate_limited_seconds", stats.rate_limited);
    json.member("connect_time_seconds", stats.connect_time);
    json.member("data_age_seconds", stats.data_age);
    json.key("round_trips");
    write(json, stats.round_trips);
    json.key("message_ages");
    write(json, stats.message_ages);
    json.key("last_connect");
    write(json, stats.last_connect);
    json.member("longest_busy_seconds", stats.longest_busy);
    json.member("longest_busy_task", stats.longest_busy_task);
    json.end_object();
    return std::move(json).text();
}

std::string to_json(const StopReport& report)
{
    JsonWriter json;
    json.begin_object();
    json.member("clean", report.clean());
    json.member("joined", report.joined);
    json.member("total_seconds", report.total);
    for (const auto& [name, stage] : detail::stages_of(report)) {
        json.key(name);
        json.begin_object();
        json.member("verdict", name_of(stage.verdict));
        json.member("took_seconds", stage.took);
        json.end_object();
    }
    json.member("unread_messages", report.unread_messages);
    json.member("discarded_messages", report.discarded_messages);
    json.member("unsent_messages", report.unsent_messages);
    write_all(json, "cancelled", report.cancelled);
    write_all(json, "stuck", report.stuck);
    json.key("first_error");
    if (report.first_error)
        write(json, *report.first_error);
    else
        json.null();
    json.member("dump", report.dump);
    json.end_object();
    return std::move(json).text();
}

std::string to_json(const Failure& failure)
{
    JsonWriter json;
    write(json, failure);
    return std::move(json).text();
}

std::string to_json(const ErrorLog& log)
{
    JsonWriter json;
    json.begin_object();
    write_all(json, "entries", log.entries);
    json.member("others", log.others);
    json.end_object();
    return std::move(json).text();
}

std::string to_json(const Event& event)
{
    const bool is_message = event.kind == Event::Kind::message;
    const bool is_text = is_message && event.message.kind() == MessageKind::text;
    auto kind = std::string{to_string(event.kind)}; // high_water, as the enumerator
    std::replace(kind.begin(), kind.end(), ' ', '_');
    std::optional<Duration> next_attempt;
    if (event.next_attempt)
        next_attempt = *event.next_attempt - event.at;
    JsonWriter json;
    json.begin_object();
    json.member("kind", std::string_view{kind});
    json.member("link", static_cast<std::uint32_t>(event.link));
    json.member("connection", event.connection);
    json.member("at_seconds", event.at.time_since_epoch());
    json.member("wall_time_seconds", since_1970(event.wall_time));
    json.key("message_kind");
    is_message ? json.value(is_text ? "text" : "bytes") : json.null();
    json.key("message_bytes");
    is_message ? json.value(event.message.size()) : json.null();
    json.key("failure");
    event.failure ? write(json, *event.failure) : json.null();
    json.member("next_attempt_in_seconds", next_attempt);
    json.member("continuity", to_string(event.continuity));
    json.member("protocol", event.protocol);
    json.member("missing", event.missing);
    json.member("gap_reason", name_of(event.gap_reason));
    json.member("data_age_seconds", event.data_age);
    json.end_object();
    return std::move(json).text();
}

} // namespace sidecar
