#include "link/connection.hpp"

#include "base/failures.hpp"
#include "link/link.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

namespace sidecar::detail {
namespace {

/// After a failed read, on_connected has this long to take the messages that arrived before.
constexpr auto last_turn = std::chrono::milliseconds{100};

/// After a failed write the connection reads on until the peer is silent for this long: a close
/// frame may hold the reason.
constexpr auto last_words = std::chrono::milliseconds{100};

/// A peer that keeps sending, since only our writes fail, is read for at most so many more windows.
constexpr unsigned max_last_words = 50;

/// Lets the loop's other tasks run. No coroutine: what it needs is not in its caller's frame.
Task<> give_way(Context ctx)
{
    return boost::asio::post(ctx.executor(), boost::asio::use_awaitable);
}

} // namespace

// --- tasks

void Connection::spawn(Role role, const char* name, TimePoint deadline,
                       Task<> (Connection::*run)(Context),
                       void (Connection::*ended)(std::exception_ptr))
{
    const auto make = [&](TaskSlot& slot) {
        tasks_[role] = &slot; // it may begin at once
        return (this->*run)({slot, deadline});
    };
    try {
        link_.services().loop.tasks().spawn(
            fmt::format("link {} {}", static_cast<std::uint32_t>(link_.id()), name), &link_.note(),
            make, [this, role, ended](std::exception_ptr exception) {
                task_ended(role, ended, std::move(exception));
            });
    } catch (...) { // out of memory
        tasks_[role] = nullptr;
        throw;
    }
}

/// Handles a task's end. If that throws too (application code, out of memory), the connection ends.
void Connection::task_ended(Role role, void (Connection::*ended)(std::exception_ptr),
                            std::exception_ptr exception)
{
    tasks_[role] = nullptr;
    try {
        (this->*ended)(std::move(exception));
    } catch (...) {
        end_by_exception();
    }
    link_.services().something_changed();
    if (!has_tasks()) {
        transport_.reset(); // frees its buffers; the socket is closed already
        link_.connection_ended();
    }
}

void Connection::end_by_exception()
{
    if (link_.condemn(failure_of(std::current_exception(), Error::callback_failed,
                                 "go on with the connection"),
                      LinkImpl::Cause::any))
        cut();
}

void Connection::cancel(Role role)
{
    if (tasks_[role])
        link_.services().loop.tasks().cancel(*tasks_[role]);
}

void Connection::abort() noexcept
{
    if (transport_)
        transport_->abort();
}

void Connection::cut()
{
    abort();
    cancel(listener);
    cancel(preparer);
}

void Connection::expect_tasks_to_end() noexcept
{
    for (auto* slot : tasks_)
        if (slot)
            slot->is_expected_to_end = true;
}

Failure Connection::noted(Failure why) const noexcept
{
    if (!transport_ || !is_of_network(why.error()))
        return why;
    try {
        const auto note = transport_->failure_note();
        const char* const separator = why.explanation().empty() ? "" : "; ";
        return note.empty() ? why : why.with_explanation(why.explanation() + separator + note);
    } catch (...) {
        return why;
    }
}

Failure Connection::failure_of(const std::exception_ptr& exception, Error code,
                               const char* attempted) const
{
    return to_failure(exception, code, attempted, link_.endpoint());
}

// --- connecting

void Connection::begin(Attempt attempt, TimePoint deadline, TimePoint prepare_by)
{
    number_ = attempt.connection;
    attempt_ = std::move(attempt);
    prepare_by_ = prepare_by;
    link_.sink().begin_connection([this] {
        abort();
        cancel(listener);
    });
    set_deadline(deadline, "connect");
    spawn(listener, "listener", deadline, &Connection::listen, &Connection::listener_ended);
}

void Connection::set_deadline(TimePoint deadline, const char* attempted)
{
    deadline_ = link_.services().loop.timers().at(deadline, [this, attempted] {
        const Failure why{Error::timed_out,
                          {.attempted = attempted,
                           .endpoint = link_.endpoint(),
                           .explanation = fmt::format("still {}", link_.note().text_so_far())}};
        if (link_.condemn(why, LinkImpl::Cause::any))
            cut();
    });
}

/// Connects, then reads until the end. One coroutine, since it lives as long as the connection.
Task<> Connection::listen(Context ctx)
{
    const auto began = ctx.now();
    co_await connect(ctx);
    if (!link_.connected(ctx.now() - began) || !prepare())
        co_return; // given up or stopped meanwhile
    ctx = {*tasks_[listener], TimePoint::max()};
    if (link_.clients())
        co_return co_await accept_all(ctx);
    const auto& tasks = link_.services().loop.tasks();
    auto& sink = link_.sink();
    while (!read_failure_) {
        (void)co_await sink.wait_for_room(ctx, TimePoint::max());
        ctx.waiting_for("messages from the peer");
        sink.begin_read();
        const auto iteration = tasks.iteration();
        try {
            co_await transport_->read(ctx, sink);
            link_.counters().reads.fetch_add(1, std::memory_order_relaxed);
        } catch (const Exception& e) { // most often: an exception is rethrown for each coroutine
            read_failure_ = e.failure();
        } catch (...) {
            read_failure_ = listener_failure(std::current_exception());
        }
        link_.services().inbox.publish();
        if (sink.has_put())
            link_.keep_alive().on_data();
        // A transport that never waits must not starve the others
        if (!read_failure_ && iteration == tasks.iteration())
            co_await give_way(ctx);
    }
    if (session_)
        co_await end_session(ctx);
    co_await sink.deliver_pending(ctx);
}

/// Separate from listen(), as is make_config(): listen()'s frame lives as long as the connection, and
/// Asio reuses this one's for another long wait.
Task<> Connection::connect(Context ctx)
{
    std::shared_ptr<const LinkConfig> made;
    if (link_.config().is_dynamic())
        made = co_await make_config(ctx);
    ctx.waiting_for("connecting");
    transport_ = (made ? *made : link_.config()).make_transport(attempt_);
    co_await transport_->connect(ctx);
    keep_facts();
}

void Connection::keep_facts()
{
    auto info = transport_->connection_info();
    link_.writer().set_max_send_bytes(info.max_send_bytes);
    link_.note().set_connection_info(std::move(info), number_);
}

Task<std::shared_ptr<const LinkConfig>> Connection::make_config(Context ctx)
{
    ctx.waiting_for("the options of this attempt");
    std::shared_ptr<const LinkConfig> made;
    try {
        made = co_await link_.config().options_for(ctx, attempt_);
    } catch (...) {
        throw Exception{thrown_by("the function that makes the options", std::current_exception(),
                                  Error::connect_failed, "connect", link_.endpoint())};
    }
    if (const auto checked = made->check(); !checked)
        throw Exception{checked.error()};
    co_return made;
}

/// Runs on_connected if there is one, or opens the connection. Returns false if it cannot.
bool Connection::prepare()
{
    deadline_.cancel();
    const auto& loop = link_.services().loop;
    const auto& options = link_.options();
    const auto connection = number_;
    const auto continuity = connection == 1 ? Continuity::first : Continuity::unknown;
    link_.keep_alive().up();
    link_.outbox().set_gate(SendGate::session);
    if (!options.on_connected)
        return open(continuity, nullptr);
    session_ = std::make_unique<SessionImpl>(link_, connection, continuity);
    link_.note().set_phase(Phase::restoring, {});
    const auto deadline =
        std::min(prepare_by_, deadline_after(loop.now(), options.on_connected_timeout));
    set_deadline(deadline, "prepare the connection");
    spawn_writer();
    spawn(preparer, "on_connected", deadline, &Connection::run_on_connected,
          &Connection::preparer_ended);
    return true;
}

Task<> Connection::run_on_connected(Context ctx)
{
    ctx.waiting_for("an operation of the application");
    co_await link_.options().on_connected(ctx, *session_);
}

void Connection::preparer_ended(std::exception_ptr exception)
{
    const auto continuity = session_->continuity();
    auto unread = session_->take_unread();
    session_.reset();
    session_over_.set();
    if (!exception)
        return (void)open(continuity, &unread);
    link_.services().discarded.fetch_add(unread.size());
    link_.sink().shut();
    if (link_.condemn(thrown_by("the on_connected function", exception, Error::callback_failed,
                                "prepare the connection", link_.endpoint()),
                      LinkImpl::Cause::any))
        cut();
}

/// Puts the messages that on_connected left (null: there was none) into the inbox and starts the
/// writer. Subscriptions go first; ordinary messages follow once those are answered. Returns false if
/// it cannot open.
bool Connection::open(Continuity continuity, std::deque<Message>* unread)
{
    // Before prepared(): subscriptions that are added later must not delay `ready`.
    const bool has_subscriptions = link_.subscriptions().begin_connection();
    const auto phase = has_subscriptions ? Phase::subscribing : Phase::open;
    if (!link_.prepared(number_, continuity, phase)) {
        link_.services().discarded.fetch_add(unread ? unread->size() : 0);
        link_.sink().shut();
        return false;
    }
    deadline_.cancel();
    link_.outbox().set_gate(has_subscriptions ? SendGate::restoring : SendGate::open);
    if (has_subscriptions) {
        auto& loop = link_.services().loop;
        answers_ = loop.timers().at(deadline_after(loop.now(), link_.options().ack_timeout),
                                    [this] { answers_overdue(); });
    }
    if (!link_.sink().prepend(unread))
        return false; // the listener ends with the cause
    if (!has_subscriptions && link_.options().on_connected)
        link_.restored(std::nullopt);
    is_writer_due_ = !tasks_[writer];
    // prepare_sleep() first: it makes later sends wake the writer
    if (!is_writer_due_ || !link_.outbox().prepare_sleep() || has_subscriptions || has_unsent()
        || link_.outbox().has_wish())
        wake_writer();
    return true;
}

// --- reading

/// In place of reading, for a listener.
Task<> Connection::accept_all(Context ctx)
{
    const auto& tasks = link_.services().loop.tasks();
    for (;;) {
        ctx.waiting_for("a client");
        const auto iteration = tasks.iteration();
        link_.clients()->admit(co_await transport_->accept(ctx));
        // An acceptor that never waits must not starve the others
        if (iteration == tasks.iteration())
            co_await give_way(ctx);
    }
}

/// Lets on_connected take the messages that arrived: its failure may explain more than the read's.
Task<> Connection::end_session(Context ctx)
{
    session_->end(*read_failure_);
    const auto deadline = deadline_after(ctx.now(), last_turn);
    while (session_ && ctx.now() < deadline) {
        ctx.waiting_for("on_connected to end");
        (void)co_await ctx.wait(session_over_, deadline);
    }
}

Failure Connection::listener_failure(const std::exception_ptr& exception) const
{
    return link_.link_state().is_open() ? failure_of(exception, Error::disconnected, "read")
                                        : failure_of(exception, Error::connect_failed, "connect");
}

void Connection::listener_ended(std::exception_ptr exception)
{
    link_.sink().end();
    deadline_.cancel();
    answers_.cancel();
    last_words_.cancel();
    if (std::exchange(is_watching_, false))
        link_.sink().unwatch(link_.subscriptions());
    is_writer_due_ = false;
    auto why = std::move(read_failure_);
    if (exception)
        why = listener_failure(exception);
    abort();
    cancel(writer);
    cancel(preparer);
    cancel(pinger);
    drained_.set();
    link_.subscriptions().end_connection();
    link_.reading_ended(std::move(why));
}

// --- writing

void Connection::spawn_writer()
{
    spawn(writer, "writer", TimePoint::max(), &Connection::write_all, &Connection::writer_ended);
}

Task<> Connection::write_all(Context ctx) { return link_.writer().run(ctx, *transport_, *this); }

void Connection::wake_writer()
{
    if (!std::exchange(is_writer_due_, false))
        return link_.writer().wake();
    try {
        spawn_writer();
    } catch (...) { // out of memory
        end_by_exception();
    }
}

void Connection::nothing_to_write()
{
    link_.services().something_changed();
    drained_.set();
}

void Connection::ping()
{
    if (!tasks_[pinger])
        spawn(pinger, "ping", TimePoint::max(), &Connection::write_ping, &Connection::pinger_ended);
}

Task<> Connection::write_ping(Context ctx)
{
    const auto payload = link_.keep_alive().ping_payload();
    ctx.waiting_for("the peer to take the ping");
    co_await transport_->ping(ctx, payload);
    link_.keep_alive().asked_written();
}

/// A ping that cannot be written ends sending altogether.
void Connection::pinger_ended(std::exception_ptr exception)
{
    if (exception && tasks_[listener])
        sending_failed(failure_of(exception, Error::disconnected, "ping"));
}

void Connection::writer_ended(std::exception_ptr exception)
{
    link_.outbox().give_up();
    drained_.set();
    if (exception)
        sending_failed(failure_of(exception, Error::disconnected, "write"));
}

/// Lets the listener read on: a close frame may hold the reason.
void Connection::sending_failed(Failure why)
{
    if (why != Error::cancelled && link_.condemn(std::move(why), LinkImpl::Cause::send))
        await_last_words(max_last_words);
}

/// Reads on until the peer is silent for one window. Messages that arrived are delivered, however
/// long the application takes for them.
void Connection::await_last_words(unsigned windows)
{
    auto& loop = link_.services().loop;
    // Bytes too, not only reads: one read takes in all of a large message
    const auto progress = [this] {
        return std::pair{link_.counters().reads.load(std::memory_order_relaxed),
                         link_.keep_alive().heard_at()};
    };
    last_words_ = loop.timers().at(deadline_after(loop.now(), last_words),
                                   [this, windows, progress, before = progress()] {
                                       const bool has_read = before != progress();
                                       if (link_.sink().is_paused())
                                           await_last_words(windows);
                                       else if (has_read && windows != 0)
                                           await_last_words(windows - 1);
                                       else
                                           cut(); // a read may not heed abort()
                                   });
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
    if (drain_by <= link_.services().loop.now())
        stop_writing();
    spawn(closer, "close", deadline, &Connection::drain_and_close, &Connection::closer_ended);
}

/// Lets nothing but the close be written from now on.
void Connection::stop_writing()
{
    link_.outbox().set_gate(SendGate::shut);
    link_.close_began();
}

bool Connection::has_unsent() const
{
    return link_.outbox().has_unsent()
           || (link_.outbox().gate() >= SendGate::restoring
               && link_.subscriptions().is_unwritten());
}

/// A coroutine, so that a close() that throws at once ends like one that throws later.
Task<> Connection::drain_and_close(Context ctx)
{
    while (has_unsent() && (tasks_[writer] || is_writer_due_) && ctx.now() < *drain_by_) {
        ctx.waiting_for("what is queued to be written");
        (void)co_await ctx.wait(drained_, *drain_by_);
    }
    stop_writing();
    ctx.waiting_for("the peer's answer to the close");
    auto reason = link_.close_reason();
    co_await transport_->close(ctx, std::move(reason));
}

void Connection::closer_ended(std::exception_ptr exception)
{
    std::optional<Failure> why;
    if (exception)
        why = failure_of(exception, Error::disconnected, "close");
    link_.close_ended(std::move(why));
    // A read may not heed abort(); one that waits for room still has messages to deliver
    link_.sink().is_paused() ? abort() : cut();
}

} // namespace sidecar::detail
