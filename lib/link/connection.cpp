#include "link/connection.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <utility>

namespace sidecar::detail {
namespace {

/// After a failed read, so long has on_connected for what had come before.
constexpr auto last_turn = std::chrono::milliseconds{100};

} // namespace

void Connection::spawn(Role role, const char* name, TimePoint deadline,
                       Task<> (Connection::*run)(Context),
                       void (Connection::*ended)(std::exception_ptr))
{
    auto& loop = parts_.services.loop;
    auto& slot = loop.open_task(
        fmt::format("link {} {}", static_cast<std::uint32_t>(parts_.settings.id), name),
        &parts_.owner);
    tasks_[role] = &slot;
    loop.tasks().spawn(slot, (this->*run)(loop.context(slot, deadline)),
                       [this, role, ended](std::exception_ptr exception) {
                           tasks_[role] = nullptr;
                           (this->*ended)(std::move(exception));
                           parts_.services.something_changed();
                           if (!has_tasks()) {
                               transport_.reset(); // its buffers; the socket is closed already
                               parts_.owner.connection_ended();
                           }
                       });
}

void Connection::cancel(Role role)
{
    if (tasks_[role])
        parts_.services.loop.tasks().cancel(*tasks_[role]);
}

void Connection::abort() noexcept
{
    if (transport_)
        transport_->abort();
}

void Connection::expect_tasks_to_end() noexcept
{
    for (auto* slot : tasks_)
        if (slot)
            slot->is_expected_to_end = true;
}

Failure Connection::failure_of(const std::exception_ptr& exception, Error code,
                               const char* attempted) const
{
    return to_failure(exception, code, attempted, parts_.settings.endpoint);
}

// --- connecting

void Connection::begin(Attempt attempt, TimePoint deadline)
{
    attempt_ = std::move(attempt);
    set_deadline(deadline, "connect");
    spawn(listener, "listener", deadline, &Connection::listen, &Connection::listener_ended);
}

void Connection::set_deadline(TimePoint deadline, const char* attempted)
{
    timer_ = parts_.services.loop.timers().at(deadline, [this, attempted] {
        const Failure why{Error::timed_out,
                          {.attempted = attempted,
                           .endpoint = parts_.settings.endpoint,
                           .explanation = fmt::format("still {}", parts_.owner.phase_text())}};
        if (parts_.owner.give_up(why))
            cancel_connecting();
    });
}

void Connection::cancel_connecting()
{
    abort();
    cancel(listener);
    cancel(preparer);
}

Task<> Connection::listen(Context ctx)
{
    const auto began = ctx.now();
    co_await connect(ctx);
    if (!parts_.owner.connected(ctx.now() - began) || !prepare())
        co_return; // given up, or stopped, in the same moment
    co_await read_all(parts_.services.loop.context(*tasks_[listener]));
}

/// Apart from listen(), whose coroutine lives as long as the connection and so should be a small one.
Task<> Connection::connect(Context ctx)
{
    ctx.waiting_for("connecting");
    const auto& config = *parts_.settings.config;
    if (config.is_made_anew())
        return connect_anew(ctx);
    transport_ = config.make_transport();
    return transport_->connect(ctx);
}

Task<> Connection::connect_anew(Context ctx)
{
    ctx.waiting_for("the options of this attempt");
    const auto config = co_await parts_.settings.config->for_attempt(ctx, std::move(attempt_));
    if (const auto checked = config->check(); !checked)
        throw Exception{checked.error()};
    ctx.waiting_for("connecting");
    transport_ = config->make_transport();
    co_await transport_->connect(ctx);
}

bool Connection::prepare()
{
    const auto prospect = parts_.owner.prospect();
    timer_.cancel();
    stage_ = Stage::session;
    parts_.upkeep.keep_alive.up();
    if (!parts_.settings.options->on_connected)
        return open(prospect.continuity, {});
    session_ = std::make_unique<SessionImpl>(
        SessionImpl::Surroundings{
            .services = parts_.services,
            .config = *parts_.settings.config,
            .intake = parts_.intake,
            .wake_writer = [this] { wake_writer(); },
            .protocol = [this] { return parts_.owner.negotiated(); },
            .announce_up = [this](Continuity c) { parts_.owner.announce_up(c); }},
        prospect.number, prospect.continuity);
    parts_.owner.set_phase(Phase::restoring, {});
    set_deadline(prospect.deadline, "prepare the connection");
    spawn_writer();
    spawn(preparer, "on_connected", prospect.deadline, &Connection::run_on_connected,
          &Connection::preparer_ended);
    return true;
}

Task<> Connection::run_on_connected(Context ctx)
{
    ctx.waiting_for("something of its own");
    co_await parts_.settings.options->on_connected(ctx, *session_);
}

void Connection::preparer_ended(std::exception_ptr exception)
{
    const auto continuity = session_->continuity();
    auto unread = session_->take_unread();
    session_.reset();
    session_over_.set();
    if (exception) {
        if (parts_.owner.give_up(
                failure_of(exception, Error::callback_failed, "prepare the connection")))
            cancel_connecting();
        return;
    }
    (void)open(continuity, std::move(unread));
}

void Connection::cancel_preparing() { cancel(preparer); }

// --- reading

Task<> Connection::read_all(Context ctx)
{
    const auto& tasks = parts_.services.loop.tasks();
    auto& intake = parts_.intake;
    auto& keep_alive = parts_.upkeep.keep_alive;
    Sink* sink = &intake;
    if (auto* heartbeats = keep_alive.heartbeats())
        sink = &heartbeats->around(intake);
    std::exception_ptr exception;
    while (!exception) {
        (void)co_await intake.wait_for_room(ctx, TimePoint::max());
        ctx.waiting_for("messages from the peer");
        intake.begin_read();
        const auto turn = tasks.turn();
        try {
            co_await transport_->read(ctx, *sink);
            parts_.gauges.reads.fetch_add(1, std::memory_order_relaxed);
        } catch (...) {
            exception = std::current_exception();
        }
        parts_.services.inbox.publish();
        if (intake.has_put())
            keep_alive.data_came();
        // A transport that never has to wait must not starve the others
        if (!exception && turn == tasks.turn())
            co_await boost::asio::post(ctx.executor(), boost::asio::use_awaitable);
    }
    if (session_)
        co_await end_session(ctx, exception);
    co_await intake.deliver_pending(ctx);
    std::rethrow_exception(exception);
}

/// on_connected still gets what had come; so it can say more about the end than the end does.
Task<> Connection::end_session(Context ctx, std::exception_ptr exception)
{
    session_->end(failure_of(exception, Error::disconnected, "read"));
    const auto deadline = deadline_after(ctx.now(), last_turn);
    while (session_ && ctx.now() < deadline) {
        ctx.waiting_for("on_connected to end");
        (void)co_await ctx.wait(session_over_, deadline);
    }
}

void Connection::listener_ended(std::exception_ptr exception)
{
    parts_.intake.end();
    timer_.cancel();
    if (std::exchange(is_watching_, false))
        parts_.intake.unwatch(answers_);
    std::optional<Failure> why;
    if (exception)
        why = stage_ == Stage::connecting ? failure_of(exception, Error::connect_failed, "connect")
                                          : failure_of(exception, Error::disconnected, "read");
    abort();
    cancel(writer);
    cancel(preparer);
    cancel(pinger);
    drained_.set();
    parts_.sticky.end_connection();
    parts_.owner.reading_ended(std::move(why));
}

// --- closing

void Connection::begin_close(TimePoint drain_by, TimePoint deadline)
{
    if (drain_by_) {
        drain_by_ = std::min(*drain_by_, drain_by);
        drained_.set();
        return;
    }
    drain_by_ = drain_by;
    if (drain_by <= parts_.services.loop.now())
        parts_.owner.close_began();
    spawn(closer, "close", deadline, &Connection::say_goodbye, &Connection::closer_ended);
}

bool Connection::has_unsent() const
{
    return parts_.outbox.has_unsent() || (stage_ != Stage::session && parts_.sticky.is_unwritten());
}

/// A coroutine, so that a close() that throws at once ends like one that throws later.
Task<> Connection::say_goodbye(Context ctx)
{
    while (has_unsent() && tasks_[writer] && ctx.now() < *drain_by_) {
        ctx.waiting_for("what is queued to be written");
        (void)co_await ctx.wait(drained_, *drain_by_);
    }
    parts_.owner.close_began();
    ctx.waiting_for("the peer's answer to the close");
    co_await transport_->close(ctx, CloseReason{});
}

void Connection::closer_ended(std::exception_ptr exception)
{
    std::optional<Failure> why;
    if (exception)
        why = failure_of(exception, Error::disconnected, "close");
    parts_.owner.close_ended(std::move(why));
    abort();
}

} // namespace sidecar::detail
