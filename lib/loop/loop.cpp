#include "loop/loop.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <iterator>

namespace sidecar {
namespace {

std::atomic<std::uint64_t> orphans{0};

} // namespace

std::uint64_t orphan_count() noexcept { return orphans.load(); }

namespace detail {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kept_errors = 16;

TimePoint real_now() noexcept { return std::chrono::steady_clock::now(); }

void log_to_stderr(LogLevel level, std::string_view text)
{
    if (level >= LogLevel::warning)
        fmt::print(stderr, "sidecar: {}: {}\n", to_string(level), text);
}

} // namespace

thread_local const Loop* Loop::running_here = nullptr;

Loop::Loop(const Options& options, bool is_virtual, std::shared_ptr<const NotifyFd> readable)
    : options_{options},
      io_{std::make_unique<asio::io_context>(1)},
      timers_{*io_, is_virtual ? ClockKind::virtual_time : ClockKind::steady},
      tasks_{*io_},
      inbox_{options_.inbox, options_.spin, *this},
      stop_watch_{std::in_place, *io_, stop_request_.get()}
{
    inbox_.on_room = [this] { post([this] { resume_reading(); }); };
    tasks_.on_end = [this] { progress(); };
    if (readable)
        inbox_.notify_through(std::move(readable));
}

Loop::~Loop()
{
    destroy_links();
    stop_watch_->release(); // the descriptor is stop_request_'s
    stop_watch_.reset();
    tickets_.clear();
    timers_.close();
    // Asio's own operations go with the loop, and what waits for them, while all that may refer to
    // is there.
    io_.reset();
}

void Loop::start_thread()
{
    try {
        thread_.start([self = shared_from_this()] { self->run(); });
    } catch (const std::system_error& e) {
        never_ran();
        throw Exception{Failure{Error::no_resources,
                                {.attempted = "start the sidecar's thread", .cause = e.code()}}};
    }
}

void Loop::never_ran()
{
    std::lock_guard lock{end_mutex_};
    StopReport report;
    report.quiesce = report.drain = report.close = report.cancel =
        report.join = {Verdict::skipped, {}};
    report.joined = true;
    final_report_ = std::move(report);
    start_failed_ = true;
    is_over_ = true;
    inbox_.end();
    progressed_.wake();
}

void Loop::post(std::function<void()> function) { asio::post(*io_, std::move(function)); }

// --- the thread

void Loop::run() noexcept
{
    running_here = this;
    watch_stop_request();
    while (!ended_) {
        try {
            run_handlers();
        } catch (...) {
            record(
                to_failure(std::current_exception(), Error::callback_failed, "run a handler", {}));
        }
    }
    destroy_links();
    inbox_.end();
    stop_ended_ = timers_.now();
    if (fate_.exchange(Fate::ended) == Fate::abandoned)
        orphans.fetch_sub(1);
    thread_done_.count_down();
    progressed_.wake();
}

void Loop::run_handlers()
{
    const auto work = asio::make_work_guard(*io_);
    if (!is_virtual()) {
        if (options_.spin > Duration{})
            run_spinning();
        else
            run_lingering();
        return;
    }
    while (!io_->stopped()) {
        while (io_->poll() != 0) {
        }
        // Nothing can run: if a thread of the application waits, it waits for time to pass.
        if (!io_->stopped() && !(app_waiting_.load() > 0 && timers_.jump()))
            io_->run_one();
    }
}

void Loop::run_lingering()
{
    while (!io_->stopped()) {
        if (io_->poll() != 0)
            continue;
        if (!linger_.until([this] { return io_->poll() != 0; }, inbox_.ring().pushed_bytes())
            && !io_->stopped())
            io_->run_one();
    }
}

void Loop::run_spinning()
{
    while (!io_->stopped()) {
        for (auto until = deadline_after(real_now(), options_.spin);
             !io_->stopped() && real_now() < until;) {
            if (io_->poll() != 0)
                until = deadline_after(real_now(), options_.spin);
        }
        if (!io_->stopped())
            io_->run_one();
    }
}

void Loop::watch_stop_request()
{
    stop_watch_->async_wait(asio::posix::stream_descriptor::wait_read,
                            [this](boost::system::error_code ec) {
                                if (!ec)
                                    begin_stop();
                            });
}

void Loop::destroy_links() noexcept
{
    std::lock_guard lock{links_mutex_};
    for (auto& link : links_)
        link.destroy_transport();
}

// --- links and tasks

LinkImpl& Loop::add_link(std::shared_ptr<const LinkConfig> config, TimePoint deadline)
{
    LinkImpl* link = nullptr;
    auto endpoint = config->endpoint(); // the user's code, so not under the lock
    {
        std::lock_guard lock{links_mutex_};
        link = &links_.emplace_back(*this, static_cast<LinkId>(links_.size()), std::move(config),
                                    std::move(endpoint));
    }
    LinkImpl* none = nullptr;
    first_link_.compare_exchange_strong(none, link, std::memory_order_acq_rel);
    post([this, link, deadline] {
        if (stopping_)
            link->quiesce();
        else
            link->begin(deadline);
        link_changed();
    });
    return *link;
}

Result<void> Loop::wait_for_outcome(LinkImpl& link, TimePoint deadline)
{
    // The loop gives up at the deadline and knows what it was at; this moment more lets it say so.
    const auto patience = deadline_after(deadline, std::chrono::milliseconds{20});
    const auto is_known = [&] { return link.has_outcome() || stop_requested(); };
    if (!progressed_.wait_until(*this, patience, is_known))
        return Failure{
            Error::timed_out,
            {.attempted = "connect", .explanation = "the loop's thread is held up: " + dump()}};
    return link.has_outcome() ? link.outcome() : Failure{Error::stopping};
}

void Loop::resume_reading()
{
    for (auto* link : std::exchange(waiting_for_room_, {}))
        link->resume_reading();
}

void Loop::link_changed()
{
    std::optional<Failure> hopeless;
    {
        // From the last that gave hope on, in a circle: many links that end one after the other are
        // not gone through for each.
        std::lock_guard lock{links_mutex_};
        for (std::size_t looked_at = 0; looked_at < links_.size(); ++looked_at) {
            const auto& link = links_[hopeful_link_ % links_.size()];
            if (!link.has_outcome() || link.is_open()) {
                hopeless.reset();
                break;
            }
            if (const auto outcome = link.last_failure(); outcome)
                hopeless = outcome;
            ++hopeful_link_;
        }
    }
    inbox_.set_hopeless(std::move(hopeless));
}

void Loop::spawn(std::string name, TaskFactory factory, std::shared_ptr<CallState> state)
{
    post([this, name = std::move(name), factory = std::move(factory),
          state = std::move(state)]() mutable {
        const auto finish = [this](CallState* call, std::exception_ptr exception,
                                   bool was_stopped) {
            if (!call)
                return;
            call->exception = std::move(exception);
            call->was_stopped = was_stopped;
            call->done.store(true, std::memory_order_seq_cst);
            progressed_.wake();
        };
        if (stopping_) {
            finish(state.get(), nullptr, true);
            return;
        }
        auto& slot = tasks_.open(name);
        Task<> task;
        try {
            const TaskScope::Running running{tasks_, slot};
            const Context ctx{*this, slot, nullptr, TimePoint::max()};
            ctx.waiting_for("something of its own");
            task = factory(ctx);
        } catch (...) {
            task = [](std::exception_ptr exception) -> Task<> {
                std::rethrow_exception(exception);
                co_return;
            }(std::current_exception());
        }
        tasks_.spawn(slot, std::move(task),
                     [this, name = std::move(name), finish, state,
                      keep = std::move(factory)](std::exception_ptr e) {
                         const auto failure =
                             e ? to_failure(e, Error::callback_failed, "run the task", name)
                               : Failure{};
                         const bool was_stopped = stopping_ && e && failure == Error::cancelled;
                         if (!state && e && !was_stopped) {
                             record(failure);
                             log(LogLevel::error, failure.message());
                         }
                         if (!state || !e)
                             return finish(state.get(), nullptr, was_stopped);
                         // Not before this coroutine's frame, which ends now, has let go of the
                         // exception: the caller is to be the only one who has it. If the loop ends
                         // first, the stop has told the caller.
                         post([finish, state, e = std::move(e), was_stopped]() mutable {
                             finish(state.get(), std::move(e), was_stopped);
                         });
                     });
    });
}

bool Loop::wait_for_call(const CallState& state, TimePoint deadline)
{
    return progressed_.wait_until(*this, deadline, [&] {
        return state.done.load(std::memory_order_seq_cst) || stop_requested();
    });
}

Task<> Loop::sleep_until(TimePoint when)
{
    LoopEvent never;
    while (co_await wait(never, when)) {
    }
}

Task<bool> Loop::wait(LoopEvent& event, TimePoint deadline)
{
    bool is_late = false;
    const auto timer = timers_.at(deadline, [&] {
        is_late = true;
        event.set();
    });
    co_await event.wait();
    co_return !is_late;
}

// --- stopping

void Loop::request_stop() noexcept
{
    Duration::rep none = 0;
    stop_requested_at_.compare_exchange_strong(none, real_now().time_since_epoch().count());
    stop_request_.raise();
    // Who waits must not depend on the loop's thread, which may be held by somebody's code.
    inbox_.end_from_signal();
    progressed_.wake_from_signal();
    written_.wake_from_signal();
}

void Loop::begin_stop()
{
    stopping_ = true;
    asio::co_spawn(*io_, run_stop(), [this](std::exception_ptr exception) {
        if (exception)
            record(to_failure(exception, Error::callback_failed, "stop", {}));
        ended_ = true;
        io_->stop();
    });
}

template <class Condition>
Task<bool> Loop::until(Condition condition, TimePoint deadline)
{
    const auto timer = timers_.at(deadline, [this] { stage_progress_.set(); });
    while (!condition()) {
        if (timers_.now() >= deadline)
            co_return false;
        co_await stage_progress_.wait();
    }
    co_return true;
}

void Loop::end_stage(StageReport StopReport::*stage, Verdict verdict)
{
    const auto now = timers_.now();
    auto text = verdict == Verdict::timed_out ? dump() : std::string{};
    std::lock_guard lock{report_mutex_};
    report_.*stage = {verdict, now - stage_began_};
    if (report_.dump.empty())
        report_.dump = std::move(text);
    stage_began_ = now;
}

Loop::Stages Loop::stages_from(TimePoint began) const
{
    // What follows a stage keeps a share of a total that is too small for all: a peer that uses up
    // the close's time must not leave none for the cancelling, nor this none for the thread's end.
    const auto& budget = options_.stop;
    const auto total = budget.total;
    const auto capped = [](Duration a, Duration b, Duration limit) {
        return a >= limit - std::min(b, limit) ? limit : a + b;
    };
    const auto join = std::min<Duration>(total / 8, std::chrono::milliseconds{50});
    const auto cancel = std::min(budget.cancel, total / 4);
    const auto close_by =
        capped(std::min(budget.drain, total), budget.close, total - join - cancel);
    const auto drain_by = std::min(budget.drain, close_by);
    const auto cancel_by = capped(close_by, budget.cancel, total - join);
    return {deadline_after(began, drain_by), deadline_after(began, close_by),
            deadline_after(began, cancel_by)};
}

Task<> Loop::run_stop()
{
    // On virtual time the request is now; on real time the loop may have been late to see it.
    const auto began =
        is_virtual() ? timers_.now() : TimePoint{Duration{stop_requested_at_.load()}};
    const auto by = stages_from(began);
    stage_began_ = began;
    stop_began_ = began;
    std::vector<LinkImpl*> links;
    {
        std::lock_guard lock{links_mutex_};
        for (auto& link : links_)
            links.push_back(&link);
    }
    std::exception_ptr exception;
    try {
        co_await say_goodbye(links, by);
    } catch (...) {
        exception = std::current_exception();
    }
    if (exception) // no memory, it must be; what was open is cut off then
        record(to_failure(exception, Error::callback_failed, "stop", {}));
    for (auto* link : links)
        link->abort();
    co_await end_tasks(links, by.cancel);
    for (auto* link : links)
        link->count_unsent();
}

Task<> Loop::say_goodbye(const std::vector<LinkImpl*>& links, const Stages& by)
{
    quiesced_ = true;
    std::vector<LinkImpl*> draining;
    for (auto* link : links) {
        if (link->is_open() && link->has_unsent())
            draining.push_back(link);
        link->quiesce();
    }
    inbox_.end();
    progressed_.wake();
    end_stage(&StopReport::quiesce, Verdict::ok);

    // Each time from where the last look ended: what is drained or closed stays so.
    const auto all = [&](auto predicate) {
        return [&links, predicate, at = links.begin()]() mutable {
            at = std::find_if_not(at, links.end(), predicate);
            return at == links.end();
        };
    };
    const bool drained =
        co_await until(all([](auto* link) { return link->is_drained(); }), by.drain);
    const bool lost = std::any_of(draining.begin(), draining.end(),
                                  [](auto* link) { return link->counters.unsent.load() != 0; });
    end_stage(&StopReport::drain, draining.empty() ? Verdict::skipped
                                  : !drained       ? Verdict::timed_out
                                  : lost           ? Verdict::failed
                                                   : Verdict::ok);
    std::vector<LinkImpl*> open;
    std::copy_if(links.begin(), links.end(), std::back_inserter(open),
                 [](auto* link) { return link->is_open(); });

    for (auto* link : open)
        link->begin_close(by.close);
    for (auto* link : links)
        if (!link->is_open())
            link->abort();
    const bool closed = co_await until(all([](auto* link) { return link->is_closed(); }), by.close);
    const bool failed = std::any_of(open.begin(), open.end(),
                                    [](auto* link) { return link->close_failure().has_value(); });
    end_stage(&StopReport::close, open.empty() ? Verdict::skipped
                                  : !closed    ? Verdict::timed_out
                                  : failed     ? Verdict::failed
                                               : Verdict::ok);
    for (auto* link : open)
        if (const auto& failure = link->close_failure())
            record(*failure);
}

Task<> Loop::end_tasks(const std::vector<LinkImpl*>& links, TimePoint deadline)
{
    // The listener and the writer of a link that closed well end with it; the others had to be
    // cancelled.
    for (auto* link : links)
        if (link->has_closed_well())
            link->expect_tasks_to_end();
    auto cancelled = tasks_.cancel_all();
    const bool had_to_cancel = !cancelled.empty();
    {
        std::lock_guard lock{report_mutex_};
        report_.cancelled = std::move(cancelled);
    }
    if (co_await until([this] { return tasks_.empty(); }, deadline)) {
        end_stage(&StopReport::cancel, had_to_cancel ? Verdict::ok : Verdict::skipped);
        co_return;
    }
    {
        std::lock_guard lock{report_mutex_};
        report_.stuck = tasks_.snapshot();
    }
    end_stage(&StopReport::cancel, Verdict::timed_out);
    // They end when they end; until then this thread stays theirs, whether or not anybody still
    // waits for it.
    co_await until([this] { return tasks_.empty(); }, TimePoint::max());
}

std::optional<StopReport> Loop::wait_stopped(Duration timeout)
{
    const auto give_up = deadline_after(real_now(), timeout);
    const auto is_done = [this] { return thread_done_.try_wait() || is_over(); };
    for (;;) {
        const auto requested = stop_requested_at_.load();
        const auto patience = is_virtual()
                                  ? std::max<Duration>(options_.stop.total, std::chrono::seconds{1})
                                  : options_.stop.total;
        const auto hard = requested == 0 ? TimePoint::max()
                                         : deadline_after(TimePoint{Duration{requested}}, patience);
        const bool done = is_done() || wait_for_end(std::min(give_up, hard), requested != 0);
        std::unique_lock lock{end_mutex_};
        if (final_report_)
            return final_report_;
        // What the thread ran is over; a thread_local of the user's may still hold it.
        if (done && thread_.join_until(hard)) {
            final_report_ = finished_report(true);
            is_over_ = true;
            return final_report_;
        }
        if (real_now() >= hard) {
            leave_thread_alone(std::move(lock));
            return final_report_;
        }
        if (real_now() >= give_up)
            return std::nullopt;
    }
}

bool Loop::wait_for_end(TimePoint real_deadline, bool is_requested)
{
    if (!is_virtual() && is_requested)
        return thread_done_.wait_until(real_deadline);
    const auto is_done = [this] { return thread_done_.try_wait() || is_over(); };
    // Virtual time may pass for as long as it takes, but real time may not.
    const auto remaining = real_deadline == TimePoint::max()
                               ? Duration::max()
                               : std::max(real_deadline - real_now(), Duration{});
    return progressed_.wait_until(*this, deadline_after(now(), remaining), [&] {
        return is_done() || (!is_requested && stop_requested());
    }) && is_done();
}

void Loop::leave_thread_alone(std::unique_lock<std::mutex> end_lock)
{
    orphans.fetch_add(1);
    if (fate_.exchange(Fate::abandoned) == Fate::ended)
        orphans.fetch_sub(1); // it ended in this very moment
    thread_.detach();
    inbox_.end();
    {
        std::lock_guard lock{links_mutex_};
        for (auto& link : links_)
            link.release_senders();
    }
    final_report_ = finished_report(false);
    is_over_ = true;
    progressed_.wake();
    end_lock.unlock(); // the report is final; the hook may ask for it
    log(LogLevel::error,
        fmt::format("the loop's thread did not end in time and is left to itself: {}",
                    final_report_->dump));
}

void Loop::abandon()
{
    request_stop();
    std::unique_lock lock{end_mutex_};
    if (!final_report_)
        leave_thread_alone(std::move(lock));
}

StopReport Loop::partial_report() const
{
    std::lock_guard lock{report_mutex_};
    auto report = report_;
    report.join = {Verdict::not_waited, {}};
    return report;
}

StopReport Loop::finished_report(bool joined)
{
    const auto tasks = joined ? std::vector<TaskReport>{} : tasks_.snapshot();
    const auto text = joined ? std::string{} : dump();
    const TimePoint requested{Duration{stop_requested_at_.load()}};
    std::uint64_t unsent = 0;
    {
        std::lock_guard lock{links_mutex_};
        for (auto& link : links_)
            unsent += joined ? link.counters.unsent.load() : link.unsent_messages();
    }
    std::lock_guard lock{report_mutex_};
    auto report = report_;
    // A thread that does not end moves no clock but the real one.
    report.total = joined ? stop_ended_ - stop_began_ : real_now() - requested;
    report.joined = joined;
    if (!joined) {
        for (auto stage :
             {&StopReport::quiesce, &StopReport::drain, &StopReport::close, &StopReport::cancel}) {
            if ((report.*stage).verdict == Verdict::not_reached) { // it is the one under way
                (report.*stage).verdict = Verdict::timed_out;
                break;
            }
        }
        report.stuck = tasks;
        if (report.dump.empty())
            report.dump = text;
    }
    const auto staged =
        report.quiesce.took + report.drain.took + report.close.took + report.cancel.took;
    report.join = {joined ? Verdict::ok : Verdict::timed_out,
                   std::max(report.total - staged, Duration{})};
    report.unread_messages = inbox_.ring().pushed() - inbox_.ring().popped();
    report.discarded_messages = discarded.load();
    report.unsent_messages = unsent;
    return report;
}

// --- questions

State Loop::state() const
{
    if (is_over() || thread_done_.try_wait())
        return State::stopped;
    if (stop_requested())
        return State::stopping;
    bool connecting = false;
    std::lock_guard lock{links_mutex_};
    for (const auto& link : links_) {
        if (link.is_open())
            return State::connected;
        connecting |= !link.has_outcome();
    }
    return connecting ? State::starting : State::disconnected;
}

void Loop::add_stats(Stats& stats) const
{
    const auto& ring = inbox_.ring();
    stats.messages_received = ring.pushed();
    stats.bytes_received = ring.pushed_bytes();
    stats.messages_taken = ring.popped();
    stats.inbox_messages = ring.pushed() - ring.popped();
    stats.inbox_bytes = ring.pushed_bytes() - ring.popped_bytes();
    stats.inbox_peak_messages = ring.peak_messages();
    stats.inbox_peak_bytes = ring.peak_bytes();
    stats.application_wakeups = inbox_.wakeups();
    stats.discarded = discarded.load();
    stats.sends_refused = sends_refused.load();
    stats.callback_failures = callback_failures_.load();
    stats.longest_busy = tasks_.longest_busy();
    stats.longest_busy_task = tasks_.longest_busy_task();
    {
        std::lock_guard lock{report_mutex_};
        stats.errors = error_count_;
    }
    std::lock_guard lock{links_mutex_};
    for (const auto& link : links_) {
        if (const auto* outbox = link.outbox()) {
            stats.messages_queued += outbox->pushed();
            stats.outbox_messages += outbox->pushed() - outbox->popped();
            stats.outbox_bytes += outbox->pushed_bytes() - outbox->popped_bytes();
            stats.outbox_peak_messages =
                std::max(stats.outbox_peak_messages, outbox->peak_messages());
            stats.outbox_peak_bytes = std::max(stats.outbox_peak_bytes, outbox->peak_bytes());
        }
        stats.messages_sent += link.counters.sent.load();
        stats.bytes_sent += link.counters.sent_bytes.load();
        stats.reads += link.counters.reads.load();
        stats.writes += link.counters.writes.load();
        stats.reading_pauses += link.counters.pauses.load();
        stats.loop_wakeups += link.counters.wakeups.load();
        stats.unsent += link.counters.unsent.load();
    }
    if (!links_.empty())
        stats.connect_time = Duration{links_.front().connect_time.load()};
}

std::string Loop::dump() const
{
    // Of each; a person is to read it, and a log to hold it
    constexpr std::size_t most_listed = 64;
    std::string text = fmt::format("state {}; inbox {} messages", to_string(state()),
                                   inbox_.ring().pushed() - inbox_.ring().popped());
    // (clang 14 cannot compile libstdc++ 12's views.)
    const auto list = [&](const auto& all, const char* what, const auto& describe) {
        std::size_t listed = 0;
        for (auto at = all.begin(); at != all.end() && listed < most_listed; ++at, ++listed)
            text += "\n  " + describe(*at);
        if (all.size() > listed)
            text += fmt::format("\n  and {} more {}", all.size() - listed, what);
    };
    {
        std::lock_guard lock{links_mutex_};
        list(links_, "links", [](const LinkImpl& link) { return link.describe(); });
    }
    list(tasks_.snapshot(), "tasks", [](const TaskReport& task) {
        return fmt::format("task \"{}\": {}, for {:.1f} ms", task.name, task.waiting_for,
                           std::chrono::duration<double, std::milli>(task.since).count());
    });
    return text;
}

std::vector<Failure> Loop::errors() const
{
    std::lock_guard lock{report_mutex_};
    return {errors_.begin(), errors_.end()};
}

void Loop::record(const Failure& failure)
{
    std::lock_guard lock{report_mutex_};
    if (!report_.first_error)
        report_.first_error = failure;
    ++error_count_;
    errors_.push_back(failure);
    if (errors_.size() > kept_errors)
        errors_.pop_front();
}

void Loop::log(LogLevel level, std::string_view text) const noexcept
{
    // What a hook refers to need not outlive the stop.
    if (fate_.load() == Fate::abandoned && is_loop_thread())
        return;
    try {
        if (options_.log)
            options_.log(level, text);
        else
            log_to_stderr(level, text);
    } catch (...) {
        callback_failures_.fetch_add(1);
    }
}

void Loop::arm(std::shared_ptr<Ticket> ticket)
{
    post([this, ticket = std::move(ticket)] {
        std::erase_if(tickets_, [](const auto& entry) {
            return entry.first->point->has_ended(*entry.first);
        });
        if (!ticket->point->count(*ticket, app_waiting_))
            return;
        tickets_.emplace_back(
            ticket, timers_.at(ticket->deadline, [ticket] { ticket->point->expire(*ticket); }));
    });
}

} // namespace detail
} // namespace sidecar
