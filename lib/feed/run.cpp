#include "feed/run.hpp"

#include "base/failures.hpp"
#include "base/real_time.hpp"
#include "feed/validate_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

namespace sidecar::detail {
Run::Run(const Options& options, std::shared_ptr<VirtualTime> time)
    : budget_{options.stop},
      journal_{options.log},
      loop_{{.time = std::move(time),
             .busy_poll = options.busy_poll,
             .lookup = options.lookup,
             .on_wake =
                 [this] {
                     services_.wake_writers();
                     if (services_.wakes_all_writers.exchange(false))
                         links_.wake_writers();
                     if (services_.has_space.exchange(false))
                         services_.wake_space_waiters();
                 }},
            journal_},
      inbox_{options.inbox, options.busy_poll, loop_},
      services_{.loop = loop_,
                .inbox = inbox_,
                .journal = journal_,
                .stop = stop_request_,
                .outbox = options.outbox,
                .topics = TopicCounters{options.counted_topics}},
      links_{services_},
      stop_{std::in_place, services_, links_, report_, budget_, [this] { return dump(); }},
      user_tasks_{loop_, services_.progressed, [this] { return stop_->has_begun(); }}
{
    journal_.use_clock([this] { return loop_.now(); }, loop_.is_virtual());
    services_.something_changed = [this] { stop_->something_changed(); };
    loop_.tasks().on_end = services_.something_changed;
    inbox_.on_space = [this] {
        services_.has_space = true;
        loop_.wake();
    };
    inbox_.on_taken = [this](const MessageView& message) {
        try {
            if (const auto link = links_.find(message.link()))
                link->writer().acknowledge(message);
        } catch (const std::bad_alloc&) { // the peer delivers it again
        }
    };
}

std::shared_ptr<Run> Run::make(const Options& options, const LinkConfig& first,
                               std::shared_ptr<const NotifyFd> readable)
{
    std::shared_ptr<VirtualTime> time;
    if (first.is_virtual())
        time = time_of(first.mock_clock().value_or(MockClock{}));
    std::shared_ptr<Run> run{new Run{options, std::move(time)}};
    run->loop_.keep_through(run);
    if (readable)
        run->inbox_.notify_through(std::move(readable));
    return run;
}

Run::~Run()
{
    links_.destroy_transports();
    // Before discard_pending(): the objects that it frees may notify stop_ of their end, and may
    // refer to any part of the run.
    stop_->forget_request();
    loop_.discard_pending();
    services_.wake_no_more();
}

void Run::start_thread()
{
    try {
        stop_->watch();
        thread_.start([self = shared_from_this()] { self->run_thread(); });
    } catch (const std::system_error& e) {
        never_ran();
        throw Exception{Failure{Error::no_resources,
                                {.attempted = "start the sidecar's thread", .cause = e.code()}}};
    } catch (...) {
        never_ran();
        throw;
    }
}

void Run::never_ran()
{
    loop_.leave();
    std::lock_guard lock{end_mutex_};
    start_failed_ = true;
    inbox_.end();
    mark_over(ReportBuilder::nothing_to_do());
}

void Run::run_thread() noexcept
{
    loop_.run();
    links_.destroy_transports();
    stop_->forget_request();
    loop_.discard_pending(); // on this thread, as the next, since they free user objects
    services_.wake_no_more();
    inbox_.end();
    report_.end(loop_.now());
    thread_.mark_ended();
    services_.progressed.wake();
    loop_.leave();
}

// --- waiting

Result<void> Run::wait_for_link(const LinkImpl& link, TimePoint deadline)
{
    const auto& outcome = link.outcome();
    const bool woke = services_.progressed.wait_until(
        loop_, deadline, [&] { return outcome.is_known() || stop_request_.is_made(); });
    if (!woke) {
        const Failure late{Error::timed_out,
                           {.attempted = "connect",
                            .endpoint = link.endpoint(),
                            .explanation = "the link is not up yet: " + dump()}};
        return late.with_retry(true); // a link's own timed_out is final
    }
    return outcome.is_known() ? outcome.get() : Failure{Error::stopping};
}

bool Run::wait_for_call(const CallState& state, TimePoint deadline)
{
    return services_.progressed.wait_until(loop_, deadline, [&] {
        return state.done.load(std::memory_order_seq_cst) || stop_request_.is_made();
    });
}

bool Run::wait_for_stop_request(TimePoint deadline)
{
    return services_.progressed.wait_until(loop_, deadline,
                                           [this] { return stop_request_.is_made(); });
}

Result<void> Run::check_clock(const LinkConfig& config) const
{
    if (config.is_virtual() != (virtual_time() != nullptr))
        return bad_options("its transport and the sidecar's first one run on different kinds of "
                           "clock, real and virtual time");
    if (const auto clock = config.mock_clock(); clock && time_of(*clock).get() != virtual_time())
        return bad_options("its MockClock is not the clock of the sidecar's first transport");
    return {};
}

Failure Run::explain(Failure failure) const
{
    auto why = virtual_time() ? virtual_time()->why_never() : std::string{};
    if (why.empty())
        return failure;
    return {Error::time_limit,
            {.attempted = failure.attempted(),
             .endpoint = failure.endpoint(),
             .explanation = fmt::format("{}\n{}", why, dump())}};
}

// --- stopping

void Run::request_stop() noexcept
{
    // Only the first request wakes: at a later one the next run may own the descriptor.
    if (!stop_request_.make())
        return;
    loop_.note(); // it waits for the request's descriptor
    // Waiting threads must not depend on the loop's thread, which user code may hold.
    inbox_.end_from_signal();
    services_.progressed.wake_from_signal();
    services_.written.wake_from_signal();
}

void Run::set_close_reason(CloseReason reason)
{
    if (reason == CloseReason{} || stop_request_.is_over())
        return;
    if (auto valid = validate_close(reason); valid)
        stop_request_.set_reason(std::move(reason));
    else
        journal_.record(Failure{Error::bad_options,
                                {.attempted = "stop", .explanation = valid.error().explanation()}});
}

std::optional<StopReport> Run::wait_stopped(Duration timeout)
{
    const auto until = deadline_of(timeout);
    for (;;) {
        const bool requested = stop_request_.is_made();
        // Real time, even on a virtual clock: code that holds the thread lets no virtual time pass.
        const auto hard =
            requested ? deadline_after(stop_request_.made_at(), budget_.total) : TimePoint::max();
        // After the run's end a thread_local of the user may still hold the thread.
        const bool joined = wait_for_end(until, hard) && requested
                            && thread_.join_until(virtual_time() ? hard : std::min(until, hard));
        std::lock_guard lock{end_mutex_};
        if (!final_report_ && joined)
            mark_over(finished_report(true));
        if (!final_report_ && real_now() >= hard)
            orphan_thread();
        if (final_report_)
            return final_report_;
        if (loop_.now() >= until
            || (!requested && virtual_time() && !VirtualTime::why_never().empty()))
            return std::nullopt;
    }
}

/// `hard`: when a stop must end, in real time; TimePoint::max(): none was requested, and the
/// request ends this wait too.
bool Run::wait_for_end(TimePoint until, TimePoint hard)
{
    const bool is_requested = hard != TimePoint::max();
    const auto is_done = [this] { return thread_.has_ended() || stop_request_.is_over(); };
    if (is_done())
        return true;
    if (!virtual_time() && is_requested)
        return thread_.wait_for_end(std::min(until, hard));
    const auto woke = [&] { return is_done() || (!is_requested && stop_request_.is_made()); };
    return services_.progressed.wait_until(loop_, until, woke, hard) && is_done();
}

/// With end_mutex_ held.
void Run::orphan_thread()
{
    journal_.silence(thread_.id());
    const bool joined = !thread_.orphan();
    loop_.leave();
    inbox_.end();
    links_.release_senders();
    mark_over(finished_report(joined));
    // Not through the user's hook, which may take longer than the stop
    if (!joined)
        journal_.log_without_hook(
            LogLevel::error,
            fmt::format("the loop's thread did not end in time and is left to itself: {}",
                        final_report_->dump));
}

void Run::abandon()
{
    request_stop();
    std::lock_guard lock{end_mutex_};
    if (!final_report_)
        orphan_thread();
}

/// With end_mutex_ held.
void Run::mark_over(StopReport report)
{
    final_report_ = std::move(report);
    stop_request_.mark_over();
    services_.progressed.wake();
}

StopReport Run::finished_report(bool joined) const
{
    StopReport report;
    report.joined = joined;
    report.unread_messages = inbox_.counts().queued;
    report.discarded_messages = services_.discarded.load();
    report.unsent_messages = links_.unsent_messages();
    report.first_error = journal_.first();
    if (!joined) {
        report.total = real_now() - stop_request_.made_at();
        report.stuck = loop_.tasks().snapshot();
        report.dump = dump();
    }
    return report_.finish(std::move(report));
}

// --- questions

State Run::state() const
{
    if (stop_request_.is_over() || thread_.has_ended())
        return State::stopped;
    if (stop_request_.is_made())
        return State::stopping;
    if (links_.has_link_up())
        return State::connected;
    return links_.is_connecting() ? State::starting : State::disconnected;
}

Stats Run::stats() const
{
    auto stats = links_.stats();
    // Read at once, so that received messages always are the taken, lost and queued ones.
    const auto counts = inbox_.counts();
    stats.messages_received = counts.received;
    stats.bytes_received = counts.received_bytes;
    stats.messages_taken = counts.taken;
    stats.dropped_oldest = counts.lost_for(GapReason::dropped_oldest);
    stats.dropped_newest = counts.lost_for(GapReason::dropped_newest);
    stats.conflated = counts.lost_for(GapReason::conflated);
    stats.too_old = counts.lost_for(GapReason::too_old);
    stats.oldest_message_age = inbox_.oldest_age();
    stats.message_ages = inbox_.ages();
    stats.inbox_messages = counts.queued;
    stats.inbox_bytes = counts.queued_bytes;
    stats.inbox_peak_messages = counts.peak_messages;
    stats.inbox_peak_bytes = counts.peak_bytes;
    stats.application_wakeups = inbox_.wakeups();
    stats.discarded = services_.discarded.load();
    stats.sends_refused = services_.sends_refused.load();
    stats.callback_failures = journal_.callback_failures();
    stats.longest_busy = loop_.tasks().longest_busy();
    stats.longest_busy_task = loop_.tasks().longest_busy_task();
    stats.errors = journal_.count();
    return stats;
}

std::string Run::dump() const
{
    constexpr std::size_t max_listed = 64; // of each: people read it, and a log must hold it
    std::string text =
        fmt::format("state {}; inbox {} messages", to_string(state()), inbox_.counts().queued);
    const auto append_more = [&text](std::size_t count, const char* what) {
        if (count != 0)
            text += fmt::format("\n  and {} more {}", count, what);
    };
    std::size_t more = 0;
    for (const auto& line : links_.describe(max_listed, more))
        text += "\n  " + line;
    append_more(more, "links");
    const auto tasks = loop_.tasks().snapshot();
    const auto listed = std::min(tasks.size(), max_listed);
    for (std::size_t i = 0; i < listed; ++i)
        text +=
            fmt::format("\n  task \"{}\": {}, for {:.1f} ms", tasks[i].name, tasks[i].waiting_for,
                        std::chrono::duration<double, std::milli>(tasks[i].since).count());
    append_more(tasks.size() - listed, "tasks");
    return text;
}

} // namespace sidecar::detail
