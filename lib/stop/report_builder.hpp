// ReportBuilder: the only writer of a StopReport.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/stop_report.hpp>

#include <mutex>
#include <string>
#include <vector>

namespace sidecar::detail {

/// Collects the results of a stop, stage by stage. Owned by the run. Side: both, guarded by its
/// mutex: the loop writes it, and a thread that orphans the loop's thread may read it at any time.
class ReportBuilder {
public:
    using Stage = StageReport StopReport::*;

    /// The stop began at this time, on the sidecar's clock.
    void begin(TimePoint began);
    /// Ends the current stage. `dump`: lists all waits if the stage missed its deadline; the first
    /// dump is kept.
    void end_stage(Stage stage, Verdict verdict, TimePoint now, std::string dump);
    void set_cancelled(std::vector<TaskReport> tasks);
    void set_clients(std::uint64_t closed, std::uint64_t cut);
    void set_stuck(std::vector<TaskReport> tasks);
    /// The loop's thread has nothing more to do from this time on.
    void end(TimePoint ended);

    /// Returns the stages so far, while the stop is under way.
    [[nodiscard]] StopReport partial() const;
    /// Adds the stages to `rest`, which has all else. If the thread was not joined, `rest` also has
    /// the running tasks as `stuck`, the dump, and as `total` the real time since the request.
    [[nodiscard]] StopReport finish(StopReport rest) const;
    /// Returns the report of a run without a thread.
    [[nodiscard]] static StopReport nothing_to_do();

private:
    mutable std::mutex mutex_;
    StopReport report_;       // both: guarded by mutex_
    TimePoint began_{};       // both: guarded by mutex_
    TimePoint stage_began_{}; // both: guarded by mutex_
    TimePoint ended_{};       // both: guarded by mutex_
};

} // namespace sidecar::detail
