// When the stages of a stop end at the latest, by table.
#include "stop/report_builder.hpp"
#include "stop/stop.hpp"

#include <doctest/doctest.h>

#include <utility>
#include <vector>

namespace stages_test {

using namespace sidecar;
using namespace std::chrono_literals;
using sidecar::detail::ReportBuilder;
using sidecar::detail::StopStages;

TEST_CASE("stages: the deadlines that follow from a budget")
{
    struct Row {
        StopBudget budget;
        Duration drain, close, cancel;
    };
    const std::vector<Row> rows{
        {{}, 500ms, 1500ms, 1750ms},
        {{.total = 600ms, .drain = 200ms, .close = 200ms, .cancel = 100ms}, 200ms, 400ms, 500ms},
        // Too small for all: cancelling keeps a quarter, the join an eighth, 50 ms at most.
        {{.total = 300ms}, 187'500us, 187'500us, 262'500us},
        {{.total = 1s, .drain = 2s, .close = 2s, .cancel = 2s}, 700ms, 700ms, 950ms},
        {{.total = 8ms, .drain = 0s, .close = 0s, .cancel = 0s}, 0s, 0s, 0s},
        {{.total = Duration::max(), .drain = 1s, .close = 1s, .cancel = 1s}, 1s, 2s, 3s},
        // No sum overflows.
        {{.total = Duration::max(),
          .drain = Duration::max(),
          .close = Duration::max(),
          .cancel = 0s},
         Duration::max() - 50ms,
         Duration::max() - 50ms,
         Duration::max() - 50ms},
    };
    for (const auto& row : rows) {
        CAPTURE(row.budget.total.count());
        const auto by = StopStages::from(TimePoint{}, row.budget);
        CHECK(by.drain == TimePoint{} + row.drain);
        CHECK(by.close == TimePoint{} + row.close);
        CHECK(by.cancel == TimePoint{} + row.cancel);
    }
}

TEST_CASE("stages: a stop that began late in a clock's life has deadlines still")
{
    const auto began = TimePoint::max() - 1s;
    const auto by = StopStages::from(began, {.total = 10s, .drain = 5s});
    CHECK(by.drain == TimePoint::max());
    CHECK(by.cancel == TimePoint::max());
}

TEST_CASE("report builder: each stage has its own time, the join gets the rest")
{
    ReportBuilder builder;
    const TimePoint began{100ms};
    builder.begin(began);
    builder.end_stage(&StopReport::quiesce, Verdict::ok, began, {});
    builder.end_stage(&StopReport::drain, Verdict::skipped, began, {});
    builder.end_stage(&StopReport::close, Verdict::timed_out, began + 3ms, "a dump");
    builder.end_stage(&StopReport::cancel, Verdict::timed_out, began + 5ms, "a later dump");
    builder.end(began + 6ms);
    StopReport rest;
    rest.joined = true;
    rest.unread_messages = 7;
    const auto report = builder.finish(std::move(rest));
    CHECK(report.close.elapsed == 3ms);
    CHECK(report.cancel.elapsed == 2ms);
    CHECK(report.join.verdict == Verdict::ok);
    CHECK(report.join.elapsed == 1ms);
    CHECK(report.total == 6ms);
    CHECK(report.dump == "a dump");
    CHECK(report.unread_messages == 7);
    CHECK_FALSE(report.clean());
}

TEST_CASE("report builder: where the thread was given up, the stage under way has missed its time")
{
    ReportBuilder builder;
    builder.begin(TimePoint{});
    builder.end_stage(&StopReport::quiesce, Verdict::ok, TimePoint{}, {});
    StopReport rest;
    rest.total = 2s;
    rest.stuck = {{.name = "mine", .waiting_for = "rain", .since = {}}};
    rest.dump = "where all stood";
    const auto report = builder.finish(std::move(rest));
    CHECK(report.drain.verdict == Verdict::timed_out);
    CHECK(report.close.verdict == Verdict::not_reached);
    CHECK(report.join.verdict == Verdict::timed_out);
    CHECK(report.total == 2s);
    CHECK(report.stuck.at(0).name == "mine");
    CHECK(report.dump == "where all stood");
    CHECK(builder.partial().join.verdict == Verdict::not_waited);
    CHECK(ReportBuilder::nothing_to_do().clean());
}

} // namespace stages_test
