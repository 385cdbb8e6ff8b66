// Run: one run of a sidecar, from start to stop. It alone knows all parts of a run.
#pragma once

#include "base/joinable_thread.hpp"
#include "base/journal.hpp"
#include "base/stop_request.hpp"
#include "link/links.hpp"
#include "link/services.hpp"
#include "loop/event_loop.hpp"
#include "loop/user_tasks.hpp"
#include "queue/inbox.hpp"
#include "stop/report_builder.hpp"
#include "stop/stop.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace sidecar::detail {

/// Owns the parts of a run. Shared by the application's side and by the run's thread: a thread that
/// a stop left behind finishes on live state. Each start makes a new one.
class Run final : public std::enable_shared_from_this<Run> {
public:
    /// Makes a run on the clock of its first link. `readable`: the descriptor to raise while
    /// something can be received; may be null. Throws Exception (no_resources).
    [[nodiscard]] static std::shared_ptr<Run> make(const Options& options, const LinkConfig& first,
                                                   std::shared_ptr<const NotifyFd> readable);
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;
    ~Run();

    // --- app side
    /// Starts the thread. Throws Exception (no_resources) if the system has none; the run is over
    /// then.
    void start_thread();
    /// Waits until the link is up or has failed. Errors: the link's, timed_out, stopping.
    [[nodiscard]] Result<void> wait_for_link(const LinkImpl& link, TimePoint deadline);
    [[nodiscard]] bool wait_for_call(const CallState& state, TimePoint deadline);
    /// Waits for the request to stop, on virtual time. False: the deadline passed first.
    [[nodiscard]] bool wait_for_stop_request(TimePoint deadline);
    [[nodiscard]] TimePoint now() const noexcept { return loop_.now(); }
    /// On virtual time: lets everything happen that can happen at the present moment.
    void settle() const
    {
        if (auto* const time = loop_.virtual_time())
            time->settle();
    }
    /// Checks that a further link is for the same clock. Errors: bad_options.
    [[nodiscard]] Result<void> check_clock(const LinkConfig& config) const;
    /// Returns the failure of a call whose time is over: time_limit if virtual time cannot pass, else
    /// `failure`.
    [[nodiscard]] Failure explain(Failure failure) const;
    /// Returns the result of a call of a link, with such a failure explained.
    template <class T>
    [[nodiscard]] Result<T> explain(Result<T> result) const
    {
        if (!result && (result.error() == Error::timed_out || result.error() == Error::full))
            result = explain(result.error());
        return result;
    }
    /// Side: any thread and any signal handler.
    void request_stop() noexcept;
    /// Sets what the closes of the stop say. An invalid reason is recorded, and has no effect.
    void set_close_reason(CloseReason reason);
    /// Waits for the run's end. At the stop's total deadline it orphans the thread, which then owns
    /// the run. Empty: `timeout` ended first. Calls no user code.
    [[nodiscard]] std::optional<StopReport> wait_stopped(Duration timeout);
    /// Orphans the thread at once, where a wait for it is impossible.
    void abandon();
    /// The first link never came up: calls behave as if there were no run.
    void set_start_failed() noexcept { start_failed_ = true; }
    [[nodiscard]] bool has_start_failed() const noexcept { return start_failed_.load(); }
    [[nodiscard]] bool is_loop_thread() const noexcept { return loop_.is_loop_thread(); }
    [[nodiscard]] StopReport partial_report() const { return report_.partial(); }
    [[nodiscard]] TimePoint deadline_of(Duration timeout) const
    {
        return deadline_after(loop_.now(), std::max(timeout, Duration{}));
    }

    // --- both
    [[nodiscard]] State state() const;
    [[nodiscard]] Stats stats() const;
    [[nodiscard]] std::vector<TopicStats> topic_stats() const { return services_.topics.stats(); }
    [[nodiscard]] std::string dump() const;

    /// Null: time is real.
    [[nodiscard]] const VirtualTime* virtual_time() const noexcept { return loop_.virtual_time(); }
    [[nodiscard]] const StopRequest& stop_request() const noexcept { return stop_request_; }
    [[nodiscard]] Journal& journal() noexcept { return journal_; }
    [[nodiscard]] Inbox& inbox() noexcept { return inbox_; }
    [[nodiscard]] Links& links() noexcept { return links_; }
    [[nodiscard]] UserTasks& user_tasks() noexcept { return user_tasks_; }

private:
    Run(const Options& options, std::shared_ptr<VirtualTime> time);

    void run_thread() noexcept;
    void never_ran();
    [[nodiscard]] bool wait_for_end(TimePoint until, TimePoint hard);
    void orphan_thread();
    [[nodiscard]] StopReport finished_report(bool joined) const;
    void mark_over(StopReport report);

    const StopBudget budget_;               // both: constant
    Journal journal_;                       // both
    StopRequest stop_request_;              // both
    EventLoop loop_;                        // sidecar side, except where it says otherwise
    Inbox inbox_;                           // both
    LinkServices services_;                 // see its members for their sides
    Links links_;                           // see its members for their sides
    ReportBuilder report_;                  // both
    std::optional<Stop> stop_;              // sidecar side
    UserTasks user_tasks_;                  // both
    std::atomic<bool> start_failed_{false}; // both: atomic
    JoinableThread thread_;                 // app side, except where it says otherwise

    std::mutex end_mutex_;
    std::optional<StopReport> final_report_; // app side: guarded by end_mutex_
};

} // namespace sidecar::detail
