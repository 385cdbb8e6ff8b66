// The stop: four stages, each with its deadline, as a coroutine on the loop that is to end.
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

/// The deadlines of a stop, on the clock of its beginning.
struct StopStages {
    TimePoint drain, close, cancel;

    /// What follows a stage keeps a share of a total that is too small for all: a peer that uses up
    /// the close's time must not leave none for the cancelling (a quarter of the total at most), nor
    /// this none for the thread's end (an eighth, 50 ms at most).
    [[nodiscard]] static StopStages from(TimePoint began, const StopBudget& budget) noexcept;
};

/// Waits for the request, then quiesces, drains, closes and cancels, and ends the loop. Owned by the
/// run. It never waits past its deadlines, but for coroutines that do not end even when cancelled:
/// the loop's thread stays theirs. Side: sidecar.
class Stop {
public:
    /// Lifetime: all that it is given outlives it. `dump`: what everybody is waiting for.
    Stop(LinkServices& services, Links& links, ReportBuilder& report, const StopBudget& budget,
         std::function<std::string()> dump);
    Stop(const Stop&) = delete;
    Stop& operator=(const Stop&) = delete;
    ~Stop() { forget_request(); }

    /// Before the loop runs.
    void watch();
    /// Lets go of the loop, before that is freed. After the loop's end.
    void forget_request() noexcept;
    /// From then on nothing new begins.
    [[nodiscard]] bool has_begun() const noexcept { return has_begun_; }
    /// Something that a stage waits for may have come about.
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
