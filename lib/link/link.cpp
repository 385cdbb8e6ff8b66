#include "link/link.hpp"

#include "base/failures.hpp"
#include "base/text.hpp"
#include "link/links.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace sidecar::detail {
namespace {

LinkState::Returns returns_of(const LinkOptions& options) noexcept
{
    if (!options.reconnect)
        return LinkState::Returns::never;
    return options.reconnect->at_start ? LinkState::Returns::always
                                       : LinkState::Returns::once_it_was_up;
}

} // namespace

LinkImpl::LinkImpl(LinkServices& services, Links& links, LinkSettings settings)
    : services_{services},
      links_{links},
      settings_{std::move(settings)},
      state_{returns_of(*settings_.options)},
      keep_alive_{services.loop, *this, *settings_.options, *settings_.config},
      sink_{services,           keep_alive_,
            settings_.id,       settings_.config->max_message_bytes(),
            settings_.endpoint, settings_.options->overflow},
      outbox_{settings_.id,  settings_.outbox(services.outbox),
              services.stop, services.written,
              services.loop, settings_.overflow()},
      subscriptions_{outbox_},
      writer_{*this, settings_.options->rate_limit},
      note_{services.loop}
{
    outbox_.on_room([this] {
        if (!state_.is_quiesced() && !services_.stop.is_made())
            push_event({.kind = Event::Kind::writable, .link = id(), .failure = {}});
    });
    subscriptions_.on_answer = [this] { connection_->subscription_answered(); };
    if (const auto& reconnect = settings_.options->reconnect)
        backoff_ = std::make_unique<Backoff>(*reconnect,
                                             make_seed(settings_.id, services.loop.virtual_time()));
}

// --- connecting

void LinkImpl::begin(TimePoint deadline)
{
    connect_by_ = deadline;
    attempt();
}

void LinkImpl::attempt()
{
    auto deadline = connect_by_;
    Attempt attempt{
        .connection = state_.connection() + 1, .last_failure = last_failure_, .link = id()};
    if (backoff_) {
        attempt.number = backoff_->attempt();
        if (state_.may_return())
            deadline =
                std::min(deadline, deadline_after(services_.loop.now(),
                                                  settings_.options->reconnect->connect_timeout));
    }
    note_.begin_connecting();
    try {
        connection_ = std::make_unique<Connection>(*this);
        // A client's deadline is for its handshake, not for the application's on_connected
        connection_->begin(std::move(attempt), deadline,
                           client_of() ? TimePoint::max() : connect_by_);
    } catch (...) { // out of memory ends the attempt
        auto why = to_failure(std::current_exception(), Error::no_resources, "connect",
                              settings_.endpoint);
        connection_.reset();
        reading_ended(std::move(why));
        connection_ended();
    }
}

bool LinkImpl::connected(Duration elapsed)
{
    if (!state_.connected())
        return false;
    counters_.connect_time = elapsed.count();
    return true;
}

void LinkImpl::announce_up(Continuity continuity)
{
    if (!state_.announce())
        return;
    push_event({.kind = Event::Kind::up,
                .link = id(),
                .failure = {},
                .continuity = continuity,
                .protocol = note_.protocol()});
}

bool LinkImpl::prepared(std::uint32_t number, Continuity continuity, Phase phase)
{
    if (!state_.prepared())
        return false;
    outbox_.open(number); // first: an application that sees `up` may send
    if (client_of())
        client_of()->add(*this);
    connect_by_ = TimePoint::max();
    last_failure_.reset();
    if (backoff_)
        backoff_->up(services_.loop.now());
    note_.set_phase(phase, {});
    announce_up(continuity);
    set_outcome({});
    return true;
}

void LinkImpl::restored(std::optional<Failure> failure)
{
    if (!state_.is_quiesced()) // else it is closing
        note_.set_phase(Phase::open, {});
    if (failure) {
        failure = noted(*std::move(failure)).with_link(id()).with_retry(true);
        services_.journal.record(*failure);
    }
    if (is_stopping())
        return;
    push_event({.kind = Event::Kind::ready, .link = id(), .failure = std::move(failure)});
}

void LinkImpl::push_event(Event event)
{
    event.connection = state_.connection();
    if (client_of() && (event.kind == Event::Kind::up || event.kind == Event::Kind::down))
        event.client = std::make_shared<const ConnectionInfo>(note_.connection_info());
    if (event.kind == Event::Kind::up)
        sink_.set_connection(event.connection);
    services_.inbox.push_event(std::move(event));
}

// --- after the end of a connection

bool LinkImpl::keeps_queue() const noexcept
{
    return backoff_ && settings_.options->reconnect->on_disconnect == OnDisconnect::keep;
}

bool LinkImpl::condemn(Failure why, Cause cause)
{
    why = noted(std::move(why));
    if (state_.state() < LinkState::State::up && cause == Cause::any) {
        why = traced(std::move(why));
        if (!state_.give_up(why))
            return false;
        if (!state_.may_return())
            set_outcome(std::move(why)); // the opening call need not wait for the tasks to end
        return true;
    }
    if (cause == Cause::send ? !state_.writing_ended(std::move(why))
                             : !state_.condemn(std::move(why)))
        return false;
    keep_alive_.down();
    outbox_.end_connection(keeps_queue());
    return true;
}

void LinkImpl::reading_ended(std::optional<Failure> why)
{
    keep_alive_.down();
    note_.end_connecting();
    if (client_of())
        client_of()->remove(*this);
    if (why)
        why = noted(*std::move(why));
    if (why && state_.state() == LinkState::State::connecting)
        why = traced(*std::move(why));
    auto end = state_.reading_ended(std::move(why));
    client_of() ? client_ended(end) : link_ended(end);
    auto next = end.may_return ? next_attempt(end.failure) : std::nullopt;
    const bool others_live = !next && links_.link_goes_down();
    end.failure = end.failure.with_link(id()).with_retry(next || others_live);
    outbox_.end_connection(next && keeps_queue());
    if (!next)
        state_.go_down(); // before the event: an application that sees it may send
    // Of a first link that never came up, the inbox reports the end only if it is the last one's
    const bool is_event = state_.connection() != 0 || (others_live && id() == LinkId{});
    if (next || (is_event && !is_stopping()))
        next = announce_end(end.is_announced ? Event::Kind::down : Event::Kind::retry, end.failure,
                            next);
    if (!next)
        return end_for_good(end.failure);
    next_at_ = *next;
    last_failure_ = end.failure;
    note_.set_phase(Phase::backing_off, {});
}

void LinkImpl::link_ended(const LinkState::End& end)
{
    if (!end.was_announced)
        counters_.failed_attempts.fetch_add(1);
    if (end.is_recorded)
        services_.journal.record(end.failure.with_link(id()));
}

/// A client's end is no failure of ours, so it is not recorded: its `down` says it. Without memory
/// for the text it is not logged.
void LinkImpl::client_ended(const LinkState::End& end) noexcept
{
    try {
        if (state_.connection() == 0 && !state_.is_quiesced())
            client_of()->count_refused(end.failure);
        else if (end.is_recorded)
            services_.journal.log(LogLevel::info,
                                  fmt::format("client {}: {}", static_cast<std::uint32_t>(id()),
                                              end.failure.message()));
    } catch (...) {
    }
}

/// Returns the time of the next attempt, or nothing if there is no memory to announce it.
std::optional<TimePoint> LinkImpl::announce_end(Event::Kind kind, Failure& why,
                                                std::optional<TimePoint> next)
{
    try {
        push_event({.kind = kind, .link = id(), .failure = why, .next_attempt = next});
        return next;
    } catch (...) {
        why = to_failure(std::current_exception(), Error::no_resources, "go on with the link",
                         settings_.endpoint)
                  .with_link(id());
        outbox_.end_connection(false);
        return std::nullopt;
    }
}

/// Returns the time of the next attempt; empty: there is none. If a function of the application
/// throws, that becomes `why`.
std::optional<TimePoint> LinkImpl::next_attempt(Failure& why)
{
    try {
        const auto next = backoff_->next(why, services_.loop.now());
        // No attempt after connect_by_: the opening call has given up by then.
        return next && *next < connect_by_ ? next : std::nullopt;
    } catch (...) {
        why = to_failure(std::current_exception(), Error::callback_failed,
                         "decide about another attempt", settings_.endpoint);
        services_.journal.record(why);
        return std::nullopt;
    }
}

/// Without memory the failure is without the trace.
Failure LinkImpl::traced(Failure why) const noexcept
{
    try {
        return why.with_trace(note_.trace());
    } catch (...) {
        return why;
    }
}

/// Adds the number of attempts and the last failure: a mere timeout does not explain itself. Without
/// memory it adds nothing.
Failure LinkImpl::start_failure(const Failure& why) const noexcept
{
    const auto& last = last_failure_;
    if (!last || state_.connection() != 0)
        return why;
    try {
        auto text =
            fmt::format("{}{}{} attempts", why.explanation(), why.explanation().empty() ? "" : "; ",
                        counters_.failed_attempts.load());
        if (why == Error::timed_out)
            text += fmt::format(", the one before failed: {}", last->message());
        return traced(why.with_explanation(std::move(text)));
    } catch (...) {
        return why;
    }
}

void LinkImpl::end_for_good(const Failure& why)
{
    state_.go_down();
    note_.set_phase(Phase::down, {});
    outbox_.end_connection(false);
    outbox_.settle_pushes();
    set_outcome(start_failure(why));
    links_.link_went_down(why.with_link(id()).with_retry(false));
}

void LinkImpl::connection_ended()
{
    if (state_.state() == LinkState::State::backing_off) {
        try {
            timer_ = services_.loop.timers().at(next_at_, [this] {
                if (state_.retry())
                    attempt();
            });
            return;
        } catch (...) { // no memory
            end_for_good(Error::no_resources);
        }
    }
    if (state_.state() == LinkState::State::down)
        all_ended();
}

void LinkImpl::all_ended()
{
    timer_.cancel();
    state_.end();
    links_.link_ended(*this);
    // Posted, so that links_ removes the link before close() returns.
    services_.loop.post([self = shared_from_this()] {
        const auto& failure = self->state_.close_failure();
        self->closed_.set(failure ? Result<void>{*failure} : Result<void>{});
        self->services_.progressed.wake();
    });
}

// --- stopping and closing

/// Returns whether the link ends because of a stop. A stop's effects push no events.
bool LinkImpl::is_stopping() const noexcept
{
    return state_.is_quiesced() && (!state_.is_closed_by_application() || services_.stop.is_made());
}

void LinkImpl::quiesce() { begin_quiescing(false); }

void LinkImpl::begin_quiescing(bool by_application)
{
    const bool was_backing_off = state_.state() == LinkState::State::backing_off;
    const Failure why = by_application ? Error::link_closed : Error::stopping;
    if (!by_application)
        keep_alive_.down(); // the stop has its own deadlines
    if (clients() && connection_)
        connection_->stop_accepting();
    release_senders();
    outbox_.settle_pushes();
    sink_.quiesce();
    if (by_application ? state_.close_requested() : state_.quiesce())
        set_outcome(why);
    if (state_.state() == LinkState::State::preparing)
        connection_->cancel_preparing();
    if (!was_backing_off)
        return;
    timer_.cancel();
    if (!is_stopping())
        push_event({.kind = Event::Kind::down,
                    .link = id(),
                    .failure = why.with_link(id()).with_retry(links_.link_goes_down())});
    end_for_good(why);
    if (!connection_ || !connection_->has_tasks())
        all_ended();
}

void LinkImpl::begin_close(TimePoint deadline)
{
    note_.set_phase(Phase::closing, {});
    connection_->begin_close(services_.loop.now(), deadline);
}

void LinkImpl::close_alone(TimePoint drain_by, TimePoint deadline, CloseReason reason)
{
    if (state_.is_quiesced() || state_.state() >= LinkState::State::down)
        return; // it is ending already
    close_reason_ = std::move(reason);
    begin_quiescing(true);
    if (state_.state() == LinkState::State::connecting)
        return connection_->cut();
    if (!state_.is_open())
        return;
    note_.set_phase(Phase::closing, {});
    connection_->begin_close(drain_by, deadline);
    timer_ = services_.loop.timers().at(deadline, [this] { cut(); });
}

CloseReason LinkImpl::close_reason() const
{
    constexpr std::uint16_t going_away = 1001, try_again_later = 1013;
    if (state_.cause() == Error::overflow)
        return {try_again_later, "too slow"};
    if (state_.is_closed_by_application())
        return close_reason_;
    auto reason = services_.stop.reason();
    return client_of() && reason == CloseReason{} ? CloseReason{going_away, {}} : reason;
}

bool LinkImpl::end_slow()
{
    constexpr auto patience = std::chrono::seconds{1};
    const auto& overflow = client_of()->settings().overflow;
    if (!condemn({Error::overflow,
                  {.attempted = "send",
                   .endpoint = settings_.endpoint,
                   .explanation = fmt::format("the client's outbox was full for {}",
                                              readable(overflow.fail_after))}},
                 Cause::any))
        return false;
    const auto now = services_.loop.now();
    const auto deadline = deadline_after(now, patience);
    note_.set_phase(Phase::closing, {});
    try {
        timer_ = services_.loop.timers().at(deadline, [this] { cut(); });
        connection_->begin_close(now, deadline);
    } catch (...) { // no memory for a close
        connection_->cut();
    }
    return true;
}

/// Ends the application's close() at its deadline.
void LinkImpl::cut()
{
    close_ended(timed_out_close());
    connection_->cut();
}

Failure LinkImpl::timed_out_close() const
{
    const Failure why{Error::timed_out, {.attempted = "close", .endpoint = settings_.endpoint}};
    return why.with_link(id());
}

void LinkImpl::abort() noexcept
{
    if (connection_)
        connection_->abort();
}

void LinkImpl::destroy_transport() noexcept
{
    if (connection_)
        connection_->destroy_transport();
}

void LinkImpl::expect_tasks_to_end() noexcept
{
    if (connection_)
        connection_->expect_tasks_to_end();
}

// --- liveness

void LinkImpl::ask_peer()
{
    const auto& heartbeat = keep_alive_.heartbeat();
    if (!heartbeat)
        return connection_->ping();
    (void)outbox_.push_priority(
        {.message = Message{MessageView{
             {}, heartbeat->kind, std::as_bytes(std::span{heartbeat->message})}},
         .origin = PriorityMessage::Origin::heartbeat,
         .on_step = [this](std::uint64_t, PriorityMessage::Step step) {
             if (step == PriorityMessage::Step::written)
                 keep_alive_.asked_written();
         }});
    wake_writer();
}

void LinkImpl::drop(FailureDetails why)
{
    why.endpoint = settings_.endpoint;
    if (condemn({Error::unresponsive, std::move(why)}, Cause::any))
        connection_->cut();
}

void LinkImpl::set_outcome(Result<void> outcome)
{
    if (!outcome)
        outcome = outcome.error().with_link(id()).with_retry(false);
    if (outcome_.set(std::move(outcome)))
        services_.progressed.wake();
}

} // namespace sidecar::detail
