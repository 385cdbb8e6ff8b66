#include <sidecar/prometheus.hpp>

#include <sidecar/error.hpp>

#include "base/text.hpp"
#include "report/counters.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace sidecar {
namespace {

using detail::clean_utf8, detail::in_seconds, detail::Counter;
using Sources = std::span<const LabelledStats>;

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

void validate(const Labels& labels)
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
            refuse(name, "is there twice");
    }
}

/// Writes one exposition, metric by metric.
class Exposition {
public:
    explicit Exposition(Sources sources) : sources_{sources} {}

    void add(const Counter& counter)
    {
        if (counter.metric != std::exchange(metric_, counter.metric))
            begin(counter);
        for (const auto& [labels, stats] : sources_) {
            if (counter.metric == "connect_seconds" && stats.connections == 0)
                continue; // zero would read as a time
            auto all = labels;
            if (!counter.label.empty())
                all.emplace_back(counter.label,
                                 counter.label == "task" ? stats.longest_busy_task : counter.name);
            detail::visit_value(counter, stats, [&](const auto& value) {
                if constexpr (requires { add_value(all, value); })
                    add_value(all, value);
            });
        }
    }
    [[nodiscard]] std::string text() && { return std::move(text_); }

private:
    void begin(const Counter& counter)
    {
        const auto* type = metric_.ends_with("_total")                                ? "counter"
                           : std::holds_alternative<Latency Stats::*>(counter.member) ? "histogram"
                                                                                      : "gauge";
        text_ += fmt::format("# HELP sidecar_{} {}\n# TYPE sidecar_{} {}\n", metric_,
                             escaped(counter.help, false), metric_, type);
    }
    void add_value(const Labels& labels, std::uint64_t count)
    {
        sample("", labels, fmt::format("{}", count));
    }
    void add_value(const Labels& labels, std::optional<Duration> duration)
    {
        if (duration)
            sample("", labels, in_seconds(*duration));
    }
    /// Writes no samples until there is a measurement.
    void add_value(const Labels& labels, const Latency& latency)
    {
        const auto& [counts, sum] = latency.histogram;
        if (latency.histogram.total() == 0)
            return;
        std::uint64_t below = 0;
        for (std::size_t i = 0; i < counts.size(); ++i) {
            below += counts[i];
            auto all = labels;
            all.emplace_back("le", i < Histogram::bounds.size() ? in_seconds(Histogram::bounds[i])
                                                                : "+Inf");
            sample("_bucket", all, fmt::format("{}", below));
        }
        sample("_sum", labels, in_seconds(sum));
        sample("_count", labels, fmt::format("{}", below));
    }
    void sample(std::string_view suffix, const Labels& labels, std::string_view value)
    {
        text_ += fmt::format("sidecar_{}{}", metric_, suffix);
        const char* separator = "{";
        for (const auto& [label, text] : labels) {
            text_ += fmt::format("{}{}=\"{}\"", separator, label, escaped(text, true));
            separator = ",";
        }
        text_ += fmt::format("{} {}\n", labels.empty() ? "" : "}", value);
    }

    Sources sources_;
    std::string_view metric_; ///< of the latest row
    std::string text_;
};

} // namespace

std::string to_prometheus(Sources sources)
{
    for (const auto& source : sources)
        validate(source.labels);
    Exposition out{sources};
    for (const auto& counter : detail::counters)
        if (!counter.metric.empty())
            out.add(counter);
    return std::move(out).text();
}

std::string to_prometheus(const Stats& stats, const Labels& labels)
{
    const LabelledStats source{labels, stats};
    return to_prometheus(Sources{&source, 1});
}

} // namespace sidecar
