#include <sidecar/stats.hpp>

#include "base/text.hpp"
#include "report/counters.hpp"

#include <fmt/format.h>

#include <string_view>

namespace sidecar {
namespace {

using detail::readable;

std::string text_of(std::uint64_t count) { return fmt::format("{}", count); }
std::string text_of(Duration duration) { return readable(duration); }
std::string text_of(const std::optional<Duration>& age)
{
    return age ? readable(*age) : "no link is up";
}
std::string text_of(const std::string& task) { return task.empty() ? "no task" : task; }
/// Returns an empty text if nothing was measured.
std::string text_of(const Latency& latency)
{
    if (latency.count == 0)
        return {};
    return fmt::format("p50 {}, p99 {}, least {}, last {} ({} measured)", readable(latency.p50),
                       readable(latency.p99), readable(latency.min), readable(latency.last),
                       latency.count);
}
std::string text_of(const ConnectTrace& trace)
{
    const auto steps = to_string(trace);
    return steps.empty() ? steps : fmt::format("{} in all: {}", readable(trace.total), steps);
}

} // namespace

std::string to_table(const Stats& stats)
{
    std::string table;
    for (const auto& counter : detail::counters) {
        std::string value;
        detail::visit_value(counter, stats, [&](const auto& of) { value = text_of(of); });
        if (value.empty())
            continue;
        auto line = counter.line;
        if (const auto end = line.find(": "); end != line.npos) {
            table += fmt::format("{}{}", table.empty() ? "" : "\n\n", line.substr(0, end));
            line.remove_prefix(end + 2);
        }
        if (!line.empty())
            table += fmt::format("\n  {:<22}", line);
        table += fmt::format(fmt::runtime(counter.text), value);
    }
    return table;
}

std::string to_string(const Stats& s)
{
    auto text = fmt::format(
        "received {} messages ({} bytes) in {} reads; taken {}; lost {}; inbox now {}, peak {} "
        "({} bytes); sent {} of {} accepted ({} bytes) in {} writes, refused {}, unsent {}; "
        "wake-ups: application {}, loop {}; reading paused {}; discarded {}; errors {}; "
        "connections {}, failed attempts {}; connected in {}; longest busy {} ({})",
        s.messages_received, s.bytes_received, s.reads, s.messages_taken, s.lost(),
        s.inbox_messages, s.inbox_peak_messages, s.inbox_peak_bytes, s.messages_sent,
        s.messages_accepted, s.bytes_sent, s.writes, s.sends_refused, s.unsent,
        s.application_wakeups, s.loop_wakeups, s.reading_pauses, s.discarded, s.errors,
        s.connections, s.failed_attempts, readable(s.connect_time), readable(s.longest_busy),
        s.longest_busy_task);
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
                            step.detail.empty() ? "" : " ", step.detail, readable(step.elapsed));
    std::string tried;
    for (const auto& [address, outcome, elapsed] : trace.attempts)
        tried += fmt::format("{}{}: {} after {}", tried.empty() ? "" : "; ", address,
                             outcome.empty() ? "taken" : outcome, readable(elapsed));
    return tried.empty() ? text : fmt::format("{} (tried {})", text, tried);
}

} // namespace sidecar
