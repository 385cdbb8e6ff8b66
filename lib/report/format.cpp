#include <sidecar/error_log.hpp>
#include <sidecar/event.hpp>
#include <sidecar/format.hpp>
#include <sidecar/options.hpp>
#include <sidecar/stats.hpp>
#include <sidecar/stop_report.hpp>
#include <sidecar/subscription.hpp>

#include "base/text.hpp"
#include "report/names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace sidecar {
namespace {

double milliseconds(Duration duration)
{
    return std::chrono::duration<double, std::milli>(duration).count();
}

bool went_well(const StageReport& stage) noexcept
{
    return stage.verdict == Verdict::ok || stage.verdict == Verdict::skipped;
}

} // namespace

std::string_view to_string(LogLevel level) noexcept
{
    return detail::name_at(level, {"debug", "info", "warning", "error"});
}

std::string_view to_string(State state) noexcept
{
    return detail::name_at(
        state, {"idle", "starting", "connected", "disconnected", "stopping", "stopped"});
}

std::string_view to_string(Continuity continuity) noexcept
{
    return detail::name_at(continuity, {"first", "continues", "restarted", "lost", "unknown"});
}

std::string_view to_string(GapReason reason) noexcept
{
    return detail::name_at(reason, {"none", "the oldest were dropped", "the newest were dropped",
                                    "conflated", "too old", "not delivered"});
}

std::string_view to_string(OverflowPolicy policy) noexcept
{
    return detail::name_at(
        policy, {"pause reading", "drop the oldest", "drop the newest", "conflate", "fail"});
}

std::string_view to_string(SubscriptionState state) noexcept
{
    return detail::name_at(state, {"waiting", "pending", "acknowledged", "removal pending"});
}

std::string_view to_string(Verdict verdict) noexcept
{
    return detail::name_at(
        verdict, {"ok", "nothing to do", "timed out", "failed", "not waited for", "not reached"});
}

bool StopReport::clean() const noexcept
{
    const auto stages = detail::stages_of(*this);
    return joined && std::all_of(stages.begin(), stages.end(), [](const auto& stage) {
               return went_well(stage.second);
           });
}

std::string to_string(const StopReport& report)
{
    auto text = fmt::format("stopped in {:.2f} ms{}", milliseconds(report.total),
                            report.joined ? "" : "; the thread was left to finish alone");
    for (const auto& [name, stage] : detail::stages_of(report))
        text += fmt::format("\n  {:<8} {:<14} {:8.2f} ms", name, to_string(stage.verdict),
                            milliseconds(stage.elapsed));
    text += fmt::format("\n  messages: {} unread, {} discarded, {} unsent", report.unread_messages,
                        report.discarded_messages, report.unsent_messages);
    if (report.clients_closed + report.clients_cut != 0)
        text += fmt::format("\n  clients: {} closed, {} cut", report.clients_closed,
                            report.clients_cut);
    const auto list = [&](const char* title, const std::vector<TaskReport>& tasks) {
        for (const auto& task : tasks)
            text += fmt::format("\n  {}: \"{}\", waiting for {} ({:.1f} ms)", title, task.name,
                                task.waiting_for, milliseconds(task.since));
    };
    list("cancelled", report.cancelled);
    list("stuck", report.stuck);
    if (report.first_error)
        text += fmt::format("\n  first error: {}", report.first_error->message());
    return text;
}

std::string to_line(const StopReport& report)
{
    auto text = fmt::format("stopped in {:.2f} ms, {}", milliseconds(report.total),
                            report.clean() ? "clean" : "not clean");
    for (const auto& [name, stage] : detail::stages_of(report))
        if (!went_well(stage))
            text += fmt::format("; {} {}", name, to_string(stage.verdict));
    text += fmt::format("; {} unread, {} discarded, {} unsent", report.unread_messages,
                        report.discarded_messages, report.unsent_messages);
    if (report.clients_closed + report.clients_cut != 0)
        text +=
            fmt::format("; clients: {} closed, {} cut", report.clients_closed, report.clients_cut);
    if (const auto count = report.cancelled.size())
        text += fmt::format("; {} cancelled", count);
    if (const auto count = report.stuck.size())
        text += fmt::format("; {} stuck", count);
    if (report.first_error)
        text += fmt::format("; first error: {}", report.first_error->message());
    return text;
}

std::string to_string(const ErrorLog& log)
{
    std::string text;
    for (const auto& entry : log.entries) {
        text += fmt::format("{}{}x ", text.empty() ? "" : "\n", entry.count);
        if (entry.count > 1)
            text += fmt::format("in {} ", detail::readable(entry.last_at - entry.first_at));
        text += entry.failure.message();
    }
    if (log.others != 0)
        text += fmt::format("{}{}x others", text.empty() ? "" : "\n", log.others);
    return text;
}

void detail::there_is_no_form_but_l_and_t()
{
    throw fmt::format_error{"of what Sidecar reports there is {}, {:l} (one line), {:t} (a table), "
                            "and nothing else"};
}

std::string to_line(const ErrorLog& log)
{
    auto text = to_string(log);
    for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos;)
        text.replace(at, 1, "; ");
    return text;
}

namespace {

/// Describes the fields that belong to the event's kind.
std::string details_of(const Event& event)
{
    using Kind = Event::Kind;
    std::string text;
    switch (event.kind) {
    case Kind::up:
        if (event.continuity != Continuity::first) // "lost" alone would read as a lost link
            text = fmt::format("continuity {}", to_string(event.continuity));
        if (event.client)
            text += fmt::format("{}from {}", text.empty() ? "" : ", ", event.client->peer);
        if (!event.protocol.empty())
            text += (text.empty() ? "" : ", ") + event.protocol;
        break;
    case Kind::message:
        text = fmt::format("{} bytes of {}", event.message.size(),
                           event.message.kind() == MessageKind::text ? "text" : "binary data");
        if (event.message.replaced() != 0)
            text += fmt::format(", replaced {} older ones", event.message.replaced());
        break;
    case Kind::gap:
        text =
            fmt::format("{} messages are missing, {}", event.missing, to_string(event.gap_reason));
        break;
    case Kind::stale:
    case Kind::fresh:
        text = fmt::format("the data was {} old", detail::readable(event.data_age));
        break;
    default: break;
    }
    if (event.failure)
        text += (text.empty() ? "" : ", ") + event.failure->message();
    if (event.next_attempt)
        text += fmt::format("{}the next attempt comes in {}", text.empty() ? "" : ", ",
                            detail::readable(*event.next_attempt - event.at));
    return text;
}

} // namespace

std::string to_string(const Event& event)
{
    if (event.kind == Event::Kind::stopped)
        return "stopped";
    auto text =
        fmt::format("{} (link {}", to_string(event.kind), static_cast<std::uint32_t>(event.link));
    if (event.connection != 0)
        text += fmt::format(", connection {}", event.connection);
    text += ')';
    const auto details = details_of(event);
    return details.empty() ? text : text + ": " + details;
}

} // namespace sidecar
