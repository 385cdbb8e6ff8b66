#include <sidecar/json.hpp>

#include "base/text.hpp"
#include "report/counters.hpp"
#include "report/names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sidecar {
namespace {

// Names of enumerators; to_string() returns words for people.
std::string_view name_of(Verdict verdict)
{
    return detail::name_at(verdict,
                           {"ok", "skipped", "timed_out", "failed", "not_waited", "not_reached"});
}

std::string_view name_of(GapReason reason)
{
    return detail::name_at(reason, {"none", "dropped_oldest", "dropped_newest", "conflated",
                                    "too_old", "not_delivered"});
}

Duration since_1970(std::chrono::system_clock::time_point time)
{
    return std::chrono::duration_cast<Duration>(time.time_since_epoch());
}

/// Writes JSON (RFC 8259) into a string.
class Json {
public:
    /// Writes an object; names and values alternate.
    template <class... Fields>
    void object(const Fields&... fields)
    {
        text_ += '{';
        members(fields...);
        text_ += '}';
    }
    void write(const Stats& stats)
    {
        text_ += '{';
        for (const auto& counter : detail::counters)
            detail::visit_value(counter, stats, [&]<class T>(const T& value) {
                const bool is_time = std::is_convertible_v<T, std::optional<Duration>>;
                members(fmt::format("{}{}", counter.name, is_time ? "_seconds" : ""), value);
            });
        text_ += '}';
    }
    void write(const StopReport& report)
    {
        text_ += '{';
        members("clean", report.clean(), "joined", report.joined, "total_seconds", report.total);
        for (const auto& [name, stage] : detail::stages_of(report))
            members(name, stage);
        members("unread_messages", report.unread_messages, "discarded_messages",
                report.discarded_messages, "unsent_messages", report.unsent_messages,
                "clients_closed", report.clients_closed, "clients_cut", report.clients_cut,
                "cancelled", report.cancelled, "stuck", report.stuck, "first_error",
                report.first_error, "dump", report.dump);
        text_ += '}';
    }
    void write(const Failure& failure)
    {
        const auto& cause = failure.cause();
        const std::optional<Duration> retry_after = failure.retry_after();
        std::optional<std::uint32_t> link;
        if (failure.link())
            link = static_cast<std::uint32_t>(*failure.link());
        object("message", failure.message(), "code", failure.code(), "will_retry",
               failure.will_retry(), "link", link, "attempted", failure.attempted(), "endpoint",
               failure.endpoint(), "explanation", failure.explanation(), "cause",
               cause ? std::optional{cause} : std::nullopt, "close_code", failure.close_code(),
               "close_reason", failure.close_reason(), "http_status", failure.http_status(),
               "retry_after_seconds", retry_after);
    }
    void write(const ErrorLog& log) { object("entries", log.entries, "others", log.others); }
    void write(const Event& event)
    {
        auto kind = std::string{to_string(event.kind)}; // high_water, as the enumerator
        std::replace(kind.begin(), kind.end(), ' ', '_');
        std::optional<std::string_view> message_kind;
        std::optional<std::size_t> message_bytes;
        std::optional<std::uint64_t> replaced;
        if (event.kind == Event::Kind::message) {
            message_kind = event.message.kind() == MessageKind::text ? "text" : "binary";
            message_bytes = event.message.size();
            replaced = event.message.replaced();
        }
        std::optional<std::string_view> peer, path;
        if (event.client) {
            peer = event.client->peer;
            path = event.client->path;
        }
        std::optional<Duration> next_attempt;
        if (event.next_attempt)
            next_attempt = *event.next_attempt - event.at;
        object("kind", kind, "link", static_cast<std::uint32_t>(event.link), "connection",
               event.connection, "at_seconds", event.at.time_since_epoch(), "wall_time_seconds",
               since_1970(event.wall_time), "message_kind", message_kind, "message_bytes",
               message_bytes, "replaced", replaced, "failure", event.failure,
               "next_attempt_in_seconds", next_attempt, "continuity", to_string(event.continuity),
               "protocol", event.protocol, "peer", peer, "path", path, "missing", event.missing,
               "gap_reason", name_of(event.gap_reason), "data_age_seconds", event.data_age);
    }

    [[nodiscard]] std::string text() && { return std::move(text_); }

private:
    template <class Value, class... More>
    void members(std::string_view name, const Value& value, const More&... more)
    {
        separate();
        write(name);
        text_ += ':';
        write(value);
        if constexpr (sizeof...(more) != 0)
            members(more...);
    }
    void separate()
    {
        if (text_.back() != '{' && text_.back() != '[')
            text_ += ',';
    }

    void write(std::string_view text)
    {
        text_ += '"';
        const auto clean = detail::clean_utf8(text);
        for (std::size_t at = 0; at < clean.size(); ++at) {
            auto code = static_cast<unsigned char>(clean[at]);
            // C1 in its UTF-8 form; JSON permits it and DEL, but a terminal obeys them
            const bool is_c1 = code == 0xc2 && static_cast<unsigned char>(clean[at + 1]) < 0xa0;
            if (is_c1)
                code = static_cast<unsigned char>(clean[++at]);
            if (code == '"' || code == '\\')
                text_ += {'\\', clean[at]};
            else if (code < 0x20 || code == 0x7f || is_c1)
                text_ += fmt::format("\\u{:04x}", code);
            else
                text_ += clean[at];
        }
        text_ += '"';
    }
    void write(const std::string& text) { write(std::string_view{text}); }
    void write(const char* text) { write(std::string_view{text}); }
    void write(std::integral auto number) { text_ += fmt::format("{}", number); } // or true, false
    void write(Duration duration) { text_ += detail::in_seconds(duration); }
    template <class T>
    void write(const std::optional<T>& value)
    {
        if (value)
            write(*value);
        else
            text_ += "null";
    }
    template <class T>
    void write(const std::vector<T>& all)
    {
        text_ += '[';
        for (const auto& one : all) {
            separate();
            write(one);
        }
        text_ += ']';
    }
    void write(const error_code& code)
    {
        object("category", code.category().name(), "value", code.value(), "message",
               code.message());
    }
    void write(const ConnectStep& step)
    {
        object("phase", to_string(step.phase), "detail", step.detail, "elapsed_seconds",
               step.elapsed);
    }
    void write(const ConnectAttempt& attempt)
    {
        object("address", attempt.address, "outcome", attempt.outcome, "elapsed_seconds",
               attempt.elapsed);
    }
    void write(const ConnectTrace& trace)
    {
        object("total_seconds", trace.total, "steps", trace.steps, "attempts", trace.attempts);
    }
    /// Omits the ranges of its histogram, which are for Prometheus.
    void write(const Latency& latency)
    {
        object("count", latency.count, "last_seconds", latency.last, "min_seconds", latency.min,
               "max_seconds", latency.max, "p50_seconds", latency.p50, "p99_seconds", latency.p99);
    }
    void write(const TaskReport& task)
    {
        object("name", task.name, "waiting_for", task.waiting_for, "since_seconds", task.since);
    }
    void write(const StageReport& stage)
    {
        object("verdict", name_of(stage.verdict), "elapsed_seconds", stage.elapsed);
    }
    void write(const ErrorLogEntry& entry)
    {
        object("failure", entry.failure, "count", entry.count, "first_time_seconds",
               since_1970(entry.first_time), "last_time_seconds", since_1970(entry.last_time));
    }

    std::string text_;
};

template <class T>
std::string json_of(const T& value)
{
    Json json;
    json.write(value);
    return std::move(json).text();
}

} // namespace

std::string to_json(const Stats& stats) { return json_of(stats); }
std::string to_json(const StopReport& report) { return json_of(report); }
std::string to_json(const Failure& failure) { return json_of(failure); }
std::string to_json(const ErrorLog& log) { return json_of(log); }
std::string to_json(const Event& event) { return json_of(event); }

} // namespace sidecar
