// Stop: four stages, each with a deadline, in a coroutine on the loop that it ends.
#pragma once

#include "base/stop_request.hpp"
#include "link/links.hpp"
#include "link/services.hpp"
#include "stop/report_builder.hpp"

#include <sidecar/loop_event.hpp>
#include <sidecar/options.hpp>
#include <sidecar/task.hpp>

#include <boost/asio/posix/stream_descriptor.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sidecar::detail {

/// The deadlines of a stop, on the clock on which it began.
struct StopStages {
    TimePoint drain, close, cancel;

    /// Keeps a share of a small total for later stages: a quarter at most for cancelling, an eighth
    /// (50 ms at most) for the thread's end. A peer that uses up the close's time cannot take
    /// these.
    [[nodiscard]] static StopStages from(TimePoint began, const StopBudget& budget) noexcept;
};

/// Waits for the request, then quiesces, drains, closes, cancels, and ends the loop. Owned by the
/// run. It never waits past its deadlines, except for coroutines that do not end when cancelled:
/// they keep the loop's thread. Side: sidecar.
class Stop {
public:
    /// Lifetime: all arguments outlive it. `dump`: lists all waits.
    Stop(LinkServices& services, Links& links, ReportBuilder& report, const StopBudget& budget,
         std::function<std::string()> dump);
    Stop(const Stop&) = delete;
    Stop& operator=(const Stop&) = delete;
    ~Stop() { forget_request(); }

    /// Begins to wait for the request. Call it before the loop runs.
    void watch();
    /// Stops using the loop, which is freed next. Call it after the loop's end.
    void forget_request() noexcept;
    /// Returns whether the stop has begun; then nothing new begins.
    [[nodiscard]] bool has_begun() const noexcept { return has_begun_; }
    /// Lets the current stage look again.
    void something_changed() { progress_.set(); }

private:
    using AllLinks = std::vector<std::shared_ptr<LinkImpl>>;

    void begin();
    Task<> run();
    Task<> end_links(AllLinks& links, StopStages by);
    Task<> drain(AllLinks& links, TimePoint deadline);
    Task<> close(AllLinks& links, TimePoint deadline);
    Task<> end_tasks(AllLinks& links, TimePoint deadline);
    template <class Condition>
    Task<bool> until(Condition condition, TimePoint deadline);
    void end_stage(ReportBuilder::Stage stage, Verdict verdict);

    LinkServices& services_;                                     // sidecar side
    Links& links_;                                               // sidecar side
    ReportBuilder& report_;                                      // both
    const StopBudget budget_;                                    // both: constant
    const std::function<std::string()> dump_;                    // both: constant
    std::optional<boost::asio::posix::stream_descriptor> watch_; // sidecar side
    LoopEvent progress_;                                         // sidecar side
    bool has_begun_ = false;                                     // sidecar side
};

} // namespace sidecar::detail
