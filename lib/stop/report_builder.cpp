#include "stop/report_builder.hpp"

#include <algorithm>
#include <utility>

namespace sidecar::detail {
namespace {

constexpr ReportBuilder::Stage stages_of_the_loop[] = {&StopReport::quiesce, &StopReport::drain,
                                                       &StopReport::close, &StopReport::cancel};

} // namespace

void ReportBuilder::begin(TimePoint began)
{
    std::lock_guard lock{mutex_};
    began_ = stage_began_ = began;
}

void ReportBuilder::end_stage(Stage stage, Verdict verdict, TimePoint now, std::string dump)
{
    std::lock_guard lock{mutex_};
    report_.*stage = {verdict, now - stage_began_};
    if (report_.dump.empty())
        report_.dump = std::move(dump);
    stage_began_ = now;
}

void ReportBuilder::set_cancelled(std::vector<TaskReport> tasks)
{
    std::lock_guard lock{mutex_};
    report_.cancelled = std::move(tasks);
}

void ReportBuilder::set_clients(std::uint64_t closed, std::uint64_t cut)
{
    std::lock_guard lock{mutex_};
    report_.clients_closed = closed;
    report_.clients_cut = cut;
}

void ReportBuilder::set_stuck(std::vector<TaskReport> tasks)
{
    std::lock_guard lock{mutex_};
    report_.stuck = std::move(tasks);
}

void ReportBuilder::end(TimePoint ended)
{
    std::lock_guard lock{mutex_};
    ended_ = ended;
}

StopReport ReportBuilder::partial() const
{
    std::lock_guard lock{mutex_};
    auto report = report_;
    report.join = {Verdict::not_waited, {}};
    return report;
}

StopReport ReportBuilder::finish(StopReport rest) const
{
    std::lock_guard lock{mutex_};
    auto report = std::move(rest);
    Duration staged{};
    bool is_under_way = !report.joined;
    for (const auto stage : stages_of_the_loop) {
        report.*stage = report_.*stage;
        staged += (report.*stage).elapsed;
        if (is_under_way && (report.*stage).verdict == Verdict::not_reached) {
            (report.*stage).verdict = Verdict::timed_out;
            is_under_way = false;
        }
    }
    report.cancelled = report_.cancelled;
    report.clients_closed = report_.clients_closed;
    report.clients_cut = report_.clients_cut;
    if (report.joined) {
        report.total = ended_ - began_;
        report.stuck = report_.stuck;
    }
    if (!report_.dump.empty())
        report.dump = report_.dump;
    report.join = {report.joined ? Verdict::ok : Verdict::timed_out,
                   std::max(report.total - staged, Duration{})};
    return report;
}

StopReport ReportBuilder::nothing_to_do()
{
    StopReport report;
    report.quiesce = report.drain = report.close = report.cancel =
        report.join = {Verdict::skipped, {}};
    report.joined = true;
    return report;
}

} // namespace sidecar::detail
