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

StopReport ReportBuilder::finish(Ending ending) const
{
    std::lock_guard lock{mutex_};
    auto report = report_;
    report.joined = ending.joined;
    report.total = ending.joined ? ended_ - began_ : ending.real_total;
    if (!ending.joined) {
        const auto under_way = std::find_if(
            std::begin(stages_of_the_loop), std::end(stages_of_the_loop),
            [&](Stage stage) { return (report.*stage).verdict == Verdict::not_reached; });
        if (under_way != std::end(stages_of_the_loop))
            (report.**under_way).verdict = Verdict::timed_out;
        report.stuck = std::move(ending.tasks);
        if (report.dump.empty())
            report.dump = std::move(ending.dump);
    }
    Duration staged{};
    for (const auto stage : stages_of_the_loop)
        staged += (report.*stage).took;
    report.join = {ending.joined ? Verdict::ok : Verdict::timed_out,
                   std::max(report.total - staged, Duration{})};
    report.unread_messages = ending.unread_messages;
    report.discarded_messages = ending.discarded_messages;
    report.unsent_messages = ending.unsent_messages;
    report.first_error = std::move(ending.first_error);
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
