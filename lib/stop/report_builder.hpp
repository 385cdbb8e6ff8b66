// The only writer of a StopReport.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/stop_report.hpp>

#include <mutex>
#include <string>
#include <vector>

namespace sidecar::detail {

/// Collects what a stop did, stage by stage. Owned by the run. Side: both, guarded by its mutex: the
/// loop writes it, and a thread that orphans the loop's thread reads it at any moment.
class ReportBuilder {
public:
    using Stage = StageReport StopReport::*;

    /// The stop began at this time, on the sidecar's clock.
    void begin(TimePoint began);
    /// The stage that was under way is over. `dump`: what everybody was waiting for, where it missed
    /// its time; the first one is kept.
    void end_stage(Stage stage, Verdict verdict, TimePoint now, std::string dump);
    void set_cancelled(std::vector<TaskReport> tasks);
    void set_stuck(std::vector<TaskReport> tasks);
    /// Nothing more is to be done on the loop's thread, at this time.
    void end(TimePoint ended);

    /// What is known while the stop is under way.
    [[nodiscard]] StopReport partial() const;
    /// Adds the stages. `rest` has what they do not know, and where the thread was not joined the
    /// tasks that run still as `stuck`, the dump, and as `total` the real time since the request.
    [[nodiscard]] StopReport finish(StopReport rest) const;
    /// For a run whose thread never was.
    [[nodiscard]] static StopReport nothing_to_do();

private:
    mutable std::mutex mutex_;
    StopReport report_;       // both: guarded by mutex_
    TimePoint began_{};       // both: guarded by mutex_
    TimePoint stage_began_{}; // both: guarded by mutex_
    TimePoint ended_{};       // both: guarded by mutex_
};

} // namespace sidecar::detail
