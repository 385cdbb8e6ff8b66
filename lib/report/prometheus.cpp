#include <sidecar/prometheus.hpp>

#include <sidecar/error.hpp>

#include "base/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace sidecar {
namespace {

using detail::clean_utf8, detail::in_seconds;
using Sources = std::span<const LabelledStats>;

/// A number of Stats under its name; what it is counted in is in the name.
struct Count {
    const char* name;
    const char* help;
    std::uint64_t Stats::*value;
};

constexpr std::array counters{
    Count{"messages_received_total", "Messages put into the inbox.", &Stats::messages_received},
    Count{"received_bytes_total", "Payload of the messages put into the inbox.",
          &Stats::bytes_received},
    Count{"messages_taken_total", "Messages handed to the application.", &Stats::messages_taken},
    Count{"messages_discarded_total", "Messages that arrived after the stop began.",
          &Stats::discarded},
    Count{"messages_sent_total", "Messages written by the transport.", &Stats::messages_sent},
    Count{"sent_bytes_total", "Payload of the messages written by the transport.",
          &Stats::bytes_sent},
    Count{"messages_queued_total", "Messages accepted by send().", &Stats::messages_queued},
    Count{"sends_refused_total", "Calls of send() that did not queue the message.",
          &Stats::sends_refused},
    Count{"messages_unsent_total", "Messages accepted by send() and lost with their link, or late.",
          &Stats::unsent},
    Count{"messages_unsent_late_total", "Of those, the ones whose time was over.",
          &Stats::unsent_late},
    Count{"connections_total", "Connections that came up.", &Stats::connections},
    Count{"reconnects_total", "Connections that came up after the first of their link.",
          &Stats::reconnects},
    Count{"connect_failures_total", "Attempts to connect that failed.", &Stats::failed_attempts},
    Count{"pings_total", "Signs of life that peers were asked for.", &Stats::pings},
    Count{"unresponsive_total", "Connections dropped because their peer gave no sign of life.",
          &Stats::unresponsive},
    Count{"rate_limit_waits_total", "Times that sending waited for a rate limit.",
          &Stats::rate_limit_waits},
    Count{"reading_pauses_total", "Times that reading paused because the inbox was full.",
          &Stats::reading_pauses},
    Count{"reads_total", "Calls of the transport's read.", &Stats::reads},
    Count{"writes_total", "Calls of the transport's write.", &Stats::writes},
    Count{"application_wakeups_total", "Times that a sleeping receiver was woken.",
          &Stats::application_wakeups},
    Count{"loop_wakeups_total", "Times that the application woke the loop to write.",
          &Stats::loop_wakeups},
    Count{"callback_failures_total", "Exceptions that escaped the application's hooks.",
          &Stats::callback_failures},
    Count{"errors_total", "Failures recorded.", &Stats::errors},
};

constexpr std::array gauges{
    Count{"inbox_messages", "Messages in the inbox.", &Stats::inbox_messages},
    Count{"inbox_bytes", "Payload in the inbox.", &Stats::inbox_bytes},
    Count{"inbox_peak_messages", "The most messages that were in the inbox.",
          &Stats::inbox_peak_messages},
    Count{"inbox_peak_bytes", "The most payload that was in the inbox.", &Stats::inbox_peak_bytes},
    Count{"outbox_messages", "Messages in the outboxes.", &Stats::outbox_messages},
    Count{"outbox_bytes", "Payload in the outboxes.", &Stats::outbox_bytes},
    Count{"outbox_peak_messages", "The most messages that were in one outbox.",
          &Stats::outbox_peak_messages},
    Count{"outbox_peak_bytes", "The most payload that was in one outbox.",
          &Stats::outbox_peak_bytes},
};

std::string escaped(std::string_view text, bool is_label)
{
    std::string result;
    for (const char c : clean_utf8(text)) {
        if (c == '\\')
            result += "\\\\";
        else if (c == '\n')
            result += "\\n";
        else if (c == '"' && is_label)
            result += "\\\"";
        else
            result += c;
    }
    return result;
}

bool is_label_name(std::string_view name)
{
    const auto is_letter = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    };
    return !name.empty() && is_letter(name[0]) && !name.starts_with("__")
           && std::all_of(name.begin(), name.end(),
                          [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

void check(const Labels& labels)
{
    const auto refuse = [](std::string_view name, const char* why) {
        throw Exception{
            Failure{Error::bad_options,
                    {.attempted = "label stats",
                     .explanation = fmt::format("the name \"{}\" {}", clean_utf8(name), why)}}};
    };
    for (auto label = labels.begin(); label != labels.end(); ++label) {
        const auto& name = label->first;
        if (!is_label_name(name))
            refuse(name, "is none that a label may have");
        if (name == "le" || name == "task" || name == "reason")
            refuse(name, "is the library's own");
        if (std::any_of(labels.begin(), label, [&](const auto& l) { return l.first == name; }))
            refuse(name, "stands twice");
    }
}

/// Writes one exposition, metric by metric.
class Exposition {
public:
    explicit Exposition(Sources sources) : sources_{sources} {}

    void add_counts(std::span<const Count> counts, const char* type)
    {
        for (const auto& count : counts) {
            begin(count.name, count.help, type);
            for (const auto& source : sources_)
                sample(count.name, source.labels, fmt::format("{}", source.stats.*count.value));
        }
    }
    /// `value(stats)`: a text, or an empty one where there is nothing to tell.
    template <class Value>
    void add(const char* name, const char* help, const char* type, Value value)
    {
        begin(name, help, type);
        for (const auto& source : sources_)
            if (const auto text = value(source.stats); !text.empty())
                sample(name, source.labels, text);
    }
    /// By reason, so that their sum is what an alert asks for.
    void add_lost()
    {
        constexpr auto name = "messages_lost_total";
        begin(name, "Messages received and lost to an overflow policy, by reason.", "counter");
        for (const auto& [labels, stats] : sources_) {
            const std::array<std::pair<const char*, std::uint64_t>, 4> losses{
                {{"dropped_oldest", stats.dropped_oldest},
                 {"dropped_newest", stats.dropped_newest},
                 {"conflated", stats.conflated},
                 {"too_old", stats.too_old}}};
            for (const auto& [reason, count] : losses) {
                auto all = labels;
                all.emplace_back("reason", reason);
                sample(name, all, fmt::format("{}", count));
            }
        }
    }
    void add_longest_busy()
    {
        constexpr auto name = "longest_busy_seconds";
        begin(name, "The longest time that a task held the loop's thread in one go.", "gauge");
        for (const auto& [labels, stats] : sources_) {
            auto all = labels;
            all.emplace_back("task", stats.longest_busy_task);
            sample(name, all, in_seconds(stats.longest_busy));
        }
    }
    void add_histogram(const char* name, const char* help, Latency Stats::*latency)
    {
        begin(name, help, "histogram");
        for (const auto& [labels, stats] : sources_)
            if (const auto& histogram = (stats.*latency).histogram; histogram.total() != 0)
                add_ranges(name, labels, histogram);
    }
    [[nodiscard]] std::string text() && { return std::move(text_); }

private:
    void begin(const char* name, const char* help, const char* type)
    {
        text_ += fmt::format("# HELP sidecar_{} {}\n# TYPE sidecar_{} {}\n", name,
                             escaped(help, false), name, type);
    }
    void sample(std::string_view name, const Labels& labels, std::string_view value)
    {
        text_ += "sidecar_";
        text_ += name;
        const char* separator = "{";
        for (const auto& [label, text] : labels) {
            text_ += fmt::format("{}{}=\"{}\"", separator, label, escaped(text, true));
            separator = ",";
        }
        text_ += labels.empty() ? " " : "} ";
        text_ += value;
        text_ += '\n';
    }
    void add_ranges(std::string name, const Labels& labels, const Histogram& histogram)
    {
        std::uint64_t below = 0;
        for (std::size_t i = 0; i < histogram.counts.size(); ++i) {
            below += histogram.counts[i];
            auto all = labels;
            all.emplace_back("le", i < Histogram::bounds.size() ? in_seconds(Histogram::bounds[i])
                                                                : "+Inf");
            sample(name + "_bucket", all, fmt::format("{}", below));
        }
        sample(name + "_sum", labels, in_seconds(histogram.sum));
        sample(name + "_count", labels, fmt::format("{}", below));
    }

    Sources sources_;
    std::string text_;
};

} // namespace

std::string to_prometheus(Sources sources)
{
    for (const auto& source : sources)
        check(source.labels);
    Exposition out{sources};
    out.add_counts(counters, "counter");
    out.add_lost();
    out.add("reading_paused_seconds_total",
            "Time in which links did not read because the inbox was full.", "counter",
            [](const Stats& s) { return in_seconds(s.reading_paused); });
    out.add("rate_limited_seconds_total", "Time in which sending waited for a rate limit.",
            "counter", [](const Stats& s) { return in_seconds(s.rate_limited); });
    out.add_counts(gauges, "gauge");
    out.add("connect_seconds", "How long the first link's latest connection took to come up.",
            "gauge", [](const Stats& s) {
                return s.connections == 0 ? std::string{} : in_seconds(s.connect_time);
            });
    out.add("data_age_seconds", "Time since the last message, of the link that waits the longest.",
            "gauge",
            [](const Stats& s) { return s.data_age ? in_seconds(*s.data_age) : std::string{}; });
    out.add("oldest_message_age_seconds", "How long the oldest message has waited that is queued.",
            "gauge", [](const Stats& s) { return in_seconds(s.oldest_message_age); });
    out.add_longest_busy();
    out.add_histogram("round_trip_seconds", "From the write of a ping to its answer.",
                      &Stats::round_trips);
    out.add_histogram("message_age_seconds", "From the arrival of a message until it was taken.",
                      &Stats::message_ages);
    return std::move(out).text();
}

std::string to_prometheus(const Stats& stats, const Labels& labels)
{
    const LabelledStats source{labels, stats};
    return to_prometheus(Sources{&source, 1});
}

} // namespace sidecar
