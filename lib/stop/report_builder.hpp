// The only writer of a StopReport.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/stop_report.hpp>

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace sidecar::detail {

/// Collects what a stop did, stage by stage. Owned by the run. Side: both, guarded by its mutex: the
/// loop writes it, and who gives the loop's thread up reads it at any moment.
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
    struct Ending {
        bool joined = false;
        Duration real_total{}; ///< from the request on; told where no clock of the loop's moves
        std::uint64_t unread_messages = 0, discarded_messages = 0, unsent_messages = 0;
        std::optional<Failure> first_error{};
        std::vector<TaskReport> tasks{}; ///< that run still, where the thread was not joined
        std::string dump{};              ///< likewise
    };
    [[nodiscard]] StopReport finish(Ending ending) const;
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
