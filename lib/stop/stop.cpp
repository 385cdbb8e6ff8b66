#include "stop/stop.hpp"

#include <boost/asio/co_spawn.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <utility>

namespace sidecar::detail {

namespace asio = boost::asio;

namespace {

/// a + b, at most `limit`, without overflow.
Duration add_up_to(Duration limit, Duration a, Duration b) noexcept
{
    return a >= limit - std::min(b, limit) ? limit : a + b;
}

} // namespace

StopStages StopStages::from(TimePoint began, const StopBudget& budget) noexcept
{
    const auto total = budget.total;
    const auto join = std::min<Duration>(total / 8, std::chrono::milliseconds{50});
    const auto cancel = std::min(budget.cancel, total / 4);
    const auto close_by =
        add_up_to(total - join - cancel, std::min(budget.drain, total), budget.close);
    const auto drain_by = std::min(budget.drain, close_by);
    const auto cancel_by = add_up_to(total - join, close_by, budget.cancel);
    return {deadline_after(began, drain_by), deadline_after(began, close_by),
            deadline_after(began, cancel_by)};
}

Stop::Stop(LinkServices& services, Links& links, ReportBuilder& report, const StopBudget& budget,
           std::function<std::string()> dump)
    : services_{services},
      links_{links},
      report_{report},
      budget_{budget},
      dump_{std::move(dump)},
      watch_{std::in_place, services.loop.io(), services.stop.fd()}
{
}

void Stop::forget_request() noexcept
{
    if (!watch_)
        return;
    watch_->release(); // the request owns the descriptor
    watch_.reset();
}

void Stop::watch()
{
    watch_->async_wait(asio::posix::stream_descriptor::wait_read, [this](error_code ec) {
        if (!ec)
            begin();
    });
}

void Stop::begin()
{
    has_begun_ = true;
    links_.refuse_new();
    asio::co_spawn(services_.loop.io(), run(), [this](std::exception_ptr exception) {
        if (exception)
            services_.journal.record(exception, "stop");
        services_.loop.stop();
    });
}

Task<> Stop::run()
{
    // On virtual time the request is now; on real time the loop may have been late to see it.
    const auto began =
        services_.loop.is_virtual() ? services_.loop.now() : services_.stop.made_at();
    const auto by = StopStages::from(began, budget_);
    report_.begin(began);
    auto links = links_.all();
    std::exception_ptr exception;
    try {
        co_await end_links(links, by);
    } catch (...) {
        exception = std::current_exception();
    }
    if (exception) // probably out of memory; open links are aborted below
        services_.journal.record(exception, "stop");
    for (const auto& link : links)
        link->abort();
    co_await end_tasks(links, by.cancel);
}

Task<> Stop::end_links(AllLinks& links, StopStages by)
{
    AllLinks draining;
    for (const auto& link : links) {
        link->quiesce();
        if (!link->is_drained())
            draining.push_back(link);
    }
    services_.inbox.end();
    services_.progressed.wake();
    end_stage(&StopReport::quiesce, Verdict::ok);
    co_await drain(draining, by.drain);
    co_await close(links, by.close);
}

Task<> Stop::drain(AllLinks& links, TimePoint deadline)
{
    std::uint64_t queued = 0;
    for (const auto& link : links)
        queued += link->outbox().counts().queued;
    const auto lost_before = links_.unsent_messages() - queued;
    // Continues where the last look ended: a drained link stays drained.
    const bool drained = co_await until(
        [&links, at = links.begin()]() mutable {
            at = std::find_if_not(at, links.end(),
                                  [](const auto& link) { return link->is_drained(); });
            return at == links.end();
        },
        deadline);
    const bool lost = links_.unsent_messages() != lost_before;
    end_stage(&StopReport::drain, links.empty() ? Verdict::skipped
                                  : !drained    ? Verdict::timed_out
                                  : lost        ? Verdict::failed
                                                : Verdict::ok);
}

Task<> Stop::close(AllLinks& links, TimePoint deadline)
{
    AllLinks open;
    std::copy_if(links.begin(), links.end(), std::back_inserter(open),
                 [](const auto& link) { return link->is_open(); });
    for (const auto& link : open)
        link->begin_close(deadline);
    for (const auto& link : links)
        if (!link->is_open())
            link->abort();
    (void)co_await until(
        [&open, at = open.begin()]() mutable {
            at = std::find_if_not(at, open.end(),
                                  [](const auto& link) { return link->link_state().is_closed(); });
            return at == open.end();
        },
        deadline);
    // Clients may be gone or deaf; that is no failure of the stop
    std::uint64_t clients_closed = 0, clients_cut = 0;
    bool failed = false, is_late = false;
    for (const auto& link : open) {
        if (link->client_of()) {
            ++(link->link_state().has_closed_well() ? clients_closed : clients_cut);
            continue;
        }
        is_late = is_late || !link->link_state().is_closed();
        if (const auto& failure = link->link_state().close_failure()) {
            failed = true;
            services_.journal.record(*failure);
        }
    }
    report_.set_clients(clients_closed, clients_cut);
    end_stage(&StopReport::close, open.empty() ? Verdict::skipped
                                  : is_late    ? Verdict::timed_out
                                  : failed     ? Verdict::failed
                                               : Verdict::ok);
}

Task<> Stop::end_tasks(AllLinks& links, TimePoint deadline)
{
    // The listener and the writer of a link that closed well end with it; the others have to be
    // cancelled.
    auto& tasks = services_.loop.tasks();
    for (const auto& link : links)
        if (link->link_state().has_closed_well())
            link->expect_tasks_to_end();
    auto cancelled = tasks.cancel_all();
    const bool had_to_cancel = !cancelled.empty();
    report_.set_cancelled(std::move(cancelled));
    const auto have_ended = [&tasks] { return tasks.empty(); };
    if (co_await until(have_ended, deadline)) {
        end_stage(&StopReport::cancel, had_to_cancel ? Verdict::ok : Verdict::skipped);
        co_return;
    }
    report_.set_stuck(tasks.snapshot());
    end_stage(&StopReport::cancel, Verdict::timed_out);
    // Waits without a deadline: this thread stays with its coroutines, even if nobody waits for it.
    co_await until(have_ended, TimePoint::max());
}

template <class Condition>
Task<bool> Stop::until(Condition condition, TimePoint deadline)
{
    const auto timer = services_.loop.timers().at(deadline, [this] { progress_.set(); });
    while (!condition()) {
        if (services_.loop.now() >= deadline)
            co_return false;
        co_await progress_.wait();
    }
    co_return true;
}

void Stop::end_stage(ReportBuilder::Stage stage, Verdict verdict)
{
    report_.end_stage(stage, verdict, services_.loop.now(),
                      verdict == Verdict::timed_out ? dump_() : std::string{});
}

} // namespace sidecar::detail
