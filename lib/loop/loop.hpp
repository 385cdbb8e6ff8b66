// One run of a sidecar, from start to stop: the thread, its event loop, its links and tasks, and
// the stop's stages.
#pragma once

#include "base/joinable_thread.hpp"
#include "base/latch.hpp"
#include "base/notify_fd.hpp"
#include "base/wait_point.hpp"
#include "base/yield_before_sleep.hpp"
#include "link/link.hpp"
#include "loop/tasks.hpp"
#include "loop/timers.hpp"
#include "queue/inbox.hpp"

#include <sidecar/detail/core.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>

namespace sidecar::detail {

/// Held by the application's side and by its own thread; so a thread that a stop left behind
/// finishes on state that is still there.
class Loop final : public AppClock, public std::enable_shared_from_this<Loop> {
public:
    Loop(const Options& options, bool is_virtual, std::shared_ptr<const NotifyFd> readable);
    ~Loop() override;

    // --- app side
    /// Throws Exception (no_resources) where there is no thread to be had; the run is over then.
    void start_thread();
    /// Runs `function` on the loop's thread, soon; not at all if the loop has ended.
    void post(std::function<void()> function);
    [[nodiscard]] LinkImpl& add_link(std::shared_ptr<const LinkConfig> config, TimePoint deadline);
    [[nodiscard]] LinkImpl* first_link() noexcept
    {
        return first_link_.load(std::memory_order_acquire);
    }
    [[nodiscard]] Result<void> wait_for_outcome(LinkImpl& link, TimePoint deadline);
    void spawn(std::string name, TaskFactory factory, std::shared_ptr<CallState> state);
    [[nodiscard]] bool wait_for_call(const CallState& state, TimePoint deadline);
    /// Side: any thread and any signal handler.
    void request_stop() noexcept;
    /// Waits for the end; at the stop's total deadline leaves the thread to itself. Empty:
    /// `timeout` came first.
    [[nodiscard]] std::optional<StopReport> wait_stopped(Duration timeout);
    /// Leaves the thread to itself at once, where waiting for it is impossible.
    void abandon();
    [[nodiscard]] bool is_loop_thread() const noexcept { return running_here == this; }
    [[nodiscard]] bool is_over() const noexcept { return is_over_.load(); }
    /// Its first link never came up, so the run counts for nothing.
    void set_start_failed() noexcept { start_failed_ = true; }
    [[nodiscard]] bool has_start_failed() const noexcept { return start_failed_.load(); }
    [[nodiscard]] StopReport partial_report() const;

    // --- both
    [[nodiscard]] bool stop_requested() const noexcept { return stop_requested_at_.load() != 0; }
    [[nodiscard]] State state() const;
    void add_stats(Stats& stats) const;
    [[nodiscard]] std::string dump() const;
    [[nodiscard]] std::vector<Failure> errors() const;
    void log(LogLevel level, std::string_view text) const noexcept;
    void record(const Failure& failure);
    TimePoint now() const noexcept override { return timers_.now(); }
    bool is_virtual() const noexcept override { return timers_.kind() == ClockKind::virtual_time; }
    void arm(std::shared_ptr<Ticket> ticket) override;
    void uncount() noexcept override { app_waiting_.fetch_sub(1); }

    const Options& options() const noexcept { return options_; }
    Inbox& inbox() noexcept { return inbox_; }
    /// Where senders wait: for room in an outbox, or for its end.
    WaitPoint& written() noexcept { return written_; }
    std::atomic<std::uint64_t> discarded{0};     // both: atomic
    std::atomic<std::uint64_t> sends_refused{0}; // both: atomic

    // --- sidecar side
    [[nodiscard]] boost::asio::io_context& io() noexcept { return *io_; }
    [[nodiscard]] Timers& timers() noexcept { return timers_; }
    [[nodiscard]] TaskScope& tasks() noexcept { return tasks_; }
    [[nodiscard]] Task<> sleep_until(TimePoint when);
    [[nodiscard]] Task<bool> wait(LoopEvent& event, TimePoint deadline);
    void link_changed();
    /// There may be room in the inbox again.
    void resume_reading();
    /// Lists the link for the next resume_reading().
    void wait_for_room(LinkImpl& link) { waiting_for_room_.push_back(&link); }
    void outcome_changed() { progressed_.wake(); }
    /// Something that a stop's stage waits for may have come about.
    void progress() { stage_progress_.set(); }
    /// Something was written: perhaps there is soon something to read, and then something to write.
    void expect_answer() noexcept { linger_.expect_answer(2); }

private:
    enum class Fate { running, ended, abandoned };
    struct Stages { // when each ends at the latest
        TimePoint drain, close, cancel;
    };
    [[nodiscard]] Stages stages_from(TimePoint began) const;

    /// The loop whose thread this is; null on the application's. (A thread's id would not do: it is
    /// given out again as soon as the thread has been joined.)
    static thread_local const Loop* running_here;

    void never_ran();
    void run() noexcept;
    void run_handlers();
    void run_lingering();
    void run_spinning();
    void watch_stop_request();
    void begin_stop();
    Task<> run_stop();
    [[nodiscard]] Task<> say_goodbye(const std::vector<LinkImpl*>& links, const Stages& by);
    [[nodiscard]] Task<> end_tasks(const std::vector<LinkImpl*>& links, TimePoint deadline);
    template <class Condition>
    Task<bool> until(Condition condition, TimePoint deadline);
    void end_stage(StageReport StopReport::*stage, Verdict verdict);
    [[nodiscard]] bool wait_for_end(TimePoint real_deadline, bool is_requested);
    void leave_thread_alone(std::unique_lock<std::mutex> end_lock);
    [[nodiscard]] StopReport finished_report(bool joined);
    void destroy_links() noexcept;

    const Options options_;                       // both: constant
    std::unique_ptr<boost::asio::io_context> io_; // both: app side only posts
    Timers timers_;                               // sidecar side
    TaskScope tasks_;                             // sidecar side
    YieldBeforeSleep linger_;                     // sidecar side
    std::vector<LinkImpl*> waiting_for_room_;     // sidecar side
    std::size_t hopeful_link_ = 0;                // sidecar side; where link_changed() looks first
    Inbox inbox_;                                 // both
    NotifyFd stop_request_;                       // both
    std::optional<boost::asio::posix::stream_descriptor> stop_watch_; // sidecar side
    LoopEvent stage_progress_;                                        // sidecar side
    TimePoint stage_began_{};                                         // sidecar side
    TimePoint stop_began_{}, stop_ended_{}; // sidecar side; app side once the thread has ended
    bool stopping_ = false;                 // sidecar side
    std::vector<std::pair<std::shared_ptr<Ticket>, Timers::Timer>> tickets_; // sidecar side
    JoinableThread thread_; // app side: guarded by end_mutex_, but for its start

    mutable std::mutex links_mutex_;
    std::deque<LinkImpl> links_;                 // both: the deque guarded by links_mutex_
    std::atomic<LinkImpl*> first_link_{nullptr}; // both: atomic

    WaitPoint progressed_;            // both: starts, calls and ends are waited for here
    WaitPoint written_;               // both
    std::atomic<int> app_waiting_{0}; // both: atomic; counted tickets
    std::atomic<Duration::rep> stop_requested_at_{0};         // both: atomic; real time
    std::atomic<bool> quiesced_{false};                       // both: atomic
    std::atomic<bool> ended_{false};                          // both: atomic; the stages are done
    std::atomic<bool> is_over_{false};                        // both: atomic; joined or abandoned
    std::atomic<bool> start_failed_{false};                   // both: atomic
    std::atomic<Fate> fate_{Fate::running};                   // both: atomic
    mutable std::atomic<std::uint64_t> callback_failures_{0}; // both: atomic

    std::mutex end_mutex_;                   // app side: who joins or abandons
    std::optional<StopReport> final_report_; // app side: guarded by end_mutex_

    mutable std::mutex report_mutex_;
    StopReport report_;             // both: guarded by report_mutex_
    std::deque<Failure> errors_;    // both: guarded by report_mutex_; the latest
    std::uint64_t error_count_ = 0; // both: guarded by report_mutex_

    Latch thread_done_{1}; // both
};

/// Resolves a name on a helper thread that holds the loop weakly. Side: sidecar.
[[nodiscard]] Task<std::vector<boost::asio::ip::address>> look_up(Loop& loop, std::string host);

} // namespace sidecar::detail
