#include "link/link.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <utility>

namespace sidecar::detail {
namespace {

/// After a failed write the peer is silent for so long, and then its last words (and the reason that
/// they may hold) are not waited for any more.
constexpr auto last_words = std::chrono::milliseconds{100};

/// And a peer that goes on talking, since only our sending has failed, is listened to for so many
/// times that long.
constexpr unsigned most_last_words = 50;

Failure misuse(const char* attempted)
{
    return {Error::misuse,
            {.attempted = attempted, .explanation = "called on the loop's own thread"}};
}

} // namespace

LinkImpl::LinkImpl(LinkServices& services, LinkObserver& observer, LinkId id,
                   std::shared_ptr<const LinkConfig> config, std::string endpoint,
                   const QueueLimits& outbox)
    : services_{services},
      observer_{observer},
      id_{id},
      config_{std::move(config)},
      endpoint_{std::move(endpoint)},
      intake_{services, id, config_->max_message_bytes(), endpoint_},
      outbox_{outbox, services.stop, services.written}
{
}

void LinkImpl::spawn(Role role, const char* name, TimePoint deadline,
                     Task<> (LinkImpl::*run)(Context), void (LinkImpl::*ended)(std::exception_ptr))
{
    auto& loop = services_.loop;
    auto& slot =
        loop.open_task(fmt::format("link {} {}", static_cast<std::uint32_t>(id_), name), this);
    tasks_[role] = &slot;
    loop.tasks().spawn(slot, (this->*run)(loop.context(slot, deadline)),
                       [this, role, ended](std::exception_ptr exception) {
                           tasks_[role] = nullptr;
                           (this->*ended)(std::move(exception));
                           services_.something_changed();
                           note_end_of_tasks();
                       });
}

// --- connecting and reading

void LinkImpl::begin(TimePoint deadline)
{
    services_.inbox.share_with(config_->max_message_bytes());
    timer_ = services_.loop.timers().at(deadline, [this] { give_up_connecting(); });
    spawn(listener, "listener", deadline, &LinkImpl::listen, &LinkImpl::listener_ended);
}

Task<> LinkImpl::listen(Context ctx)
{
    const auto began = ctx.now();
    co_await connect(ctx);
    if (!life_.connected())
        co_return; // given up, or stopped, in the same moment
    gauges_.connect_time = (ctx.now() - began).count();
    went_up();
    co_await read_all(services_.loop.context(*tasks_[listener]));
}

/// Apart from listen(), whose coroutine lives as long as the link and so should be a small one.
Task<> LinkImpl::connect(Context ctx)
{
    ctx.waiting_for("connecting");
    transport_ = config_->make_transport();
    return transport_->connect(ctx);
}

Task<> LinkImpl::read_all(Context ctx)
{
    const auto& tasks = services_.loop.tasks();
    std::exception_ptr exception;
    while (!exception) {
        (void)co_await intake_.wait_for_room(ctx, TimePoint::max());
        ctx.waiting_for("messages from the peer");
        intake_.begin_read();
        const auto turn = tasks.turn();
        try {
            co_await transport_->read(ctx, intake_);
            gauges_.reads.fetch_add(1, std::memory_order_relaxed);
        } catch (...) {
            exception = std::current_exception();
        }
        services_.inbox.publish();
        // A transport that never has to wait must not starve the others
        if (!exception && turn == tasks.turn())
            co_await boost::asio::post(ctx.executor(), boost::asio::use_awaitable);
    }
    co_await intake_.deliver_pending(ctx);
    std::rethrow_exception(exception);
}

void LinkImpl::went_up()
{
    timer_.cancel();
    note_.set(Phase::open, {});
    gauges_.connection = 1;
    gauges_.is_up = true;
    outbox_.open();
    services_.inbox.push_event(Event::Kind::up, id_, std::nullopt);
    set_outcome({});
    spawn(writer, "writer", TimePoint::max(), &LinkImpl::write_all, &LinkImpl::writer_ended);
}

void LinkImpl::listener_ended(std::exception_ptr exception)
{
    intake_.end();
    timer_.cancel();
    const bool was_connecting = life_.state() == Life::State::connecting;
    std::optional<Failure> why;
    if (exception)
        why = was_connecting ? to_failure(exception, Error::connect_failed, "connect", endpoint_)
                             : to_failure(exception, Error::disconnected, "read", endpoint_);
    const auto end = life_.reading_ended(std::move(why));

    note_.set(Phase::down, {});
    gauges_.is_up = false;
    outbox_.close();
    abort();
    if (tasks_[writer])
        services_.loop.tasks().cancel(*tasks_[writer]);
    count_unsent();
    services_.written.wake();
    if (end.is_recorded)
        services_.journal.record(end.failure);
    if (end.is_announced)
        services_.inbox.push_event(Event::Kind::down, id_, end.failure);
    set_outcome(end.failure);
    observer_.link_went_down(*this, end.failure);
}

void LinkImpl::give_up_connecting()
{
    const Failure why{Error::timed_out,
                      {.attempted = "connect",
                       .endpoint = endpoint_,
                       .explanation = fmt::format("still {}", note_.text())}};
    if (!life_.give_up_connecting(why))
        return;
    set_outcome(why);
    abort();
    if (tasks_[listener])
        services_.loop.tasks().cancel(*tasks_[listener]);
}

// --- writing

Task<> LinkImpl::write_all(Context ctx)
{
    for (;;) {
        const auto batch = outbox_.next_batch();
        if (!batch) {
            services_.something_changed();
            if (outbox_.prepare_sleep()) {
                ctx.waiting_for("messages to send");
                co_await work_.wait();
            }
            outbox_.woke();
            continue;
        }
        ctx.waiting_for("the peer to take what is written");
        co_await transport_->write(ctx, *batch);
        gauges_.writes.fetch_add(1, std::memory_order_relaxed);
        outbox_.finish(*batch);
        services_.loop.expect_answer();
    }
}

void LinkImpl::writer_ended(std::exception_ptr exception)
{
    outbox_.give_up_batch();
    std::optional<Failure> why;
    if (exception)
        why = to_failure(exception, Error::disconnected, "write", endpoint_);
    if (!life_.writing_ended(std::move(why)))
        return;
    // The listener may still find out why (a close frame, the reason in it).
    gauges_.is_up = false;
    outbox_.close();
    await_last_words(most_last_words);
}

/// What has arrived is delivered, however long the application takes for it; only a peer that says
/// nothing more is not waited for.
void LinkImpl::await_last_words(unsigned windows)
{
    timer_ = services_.loop.timers().at(
        deadline_after(services_.loop.now(), last_words),
        [this, windows, reads = gauges_.reads.load(std::memory_order_relaxed)] {
            const bool has_read = reads != gauges_.reads.load(std::memory_order_relaxed);
            if (intake_.is_paused())
                await_last_words(windows);
            else if (has_read && windows != 0)
                await_last_words(windows - 1);
            else
                abort();
        });
}

// --- stopping

void LinkImpl::quiesce()
{
    release_senders();
    outbox_.settle_pushes();
    intake_.quiesce();
    if (life_.quiesce())
        set_outcome(Failure{Error::stopping});
}

void LinkImpl::begin_close(TimePoint deadline)
{
    life_.close_began();
    note_.set(Phase::closing, {});
    spawn(closer, "close", deadline, &LinkImpl::say_goodbye, &LinkImpl::closer_ended);
}

/// A coroutine, so that a close() that throws at once ends like one that throws later.
Task<> LinkImpl::say_goodbye(Context ctx)
{
    ctx.waiting_for("the peer's answer to the close");
    co_await transport_->close(ctx, CloseReason{});
}

void LinkImpl::closer_ended(std::exception_ptr exception)
{
    std::optional<Failure> why;
    if (exception)
        why = to_failure(exception, Error::disconnected, "close", endpoint_);
    life_.close_ended(std::move(why));
    abort();
}

void LinkImpl::expect_tasks_to_end() noexcept
{
    for (auto* slot : tasks_)
        if (slot)
            slot->is_expected_to_end = true;
}

void LinkImpl::count_unsent()
{
    outbox_.settle_pushes();
    gauges_.unsent.store(outbox_.unsent_messages());
}

void LinkImpl::abort() noexcept
{
    if (transport_)
        transport_->abort();
}

void LinkImpl::note_end_of_tasks()
{
    if (life_.state() != Life::State::down || tasks_ != decltype(tasks_){})
        return;
    transport_.reset(); // its buffers, that is; the socket is closed already
    count_unsent();     // once more: a write may have ended well after the reading
    observer_.link_ended(*this);
}

// --- the application's side

void LinkImpl::set_outcome(Result<void> outcome)
{
    if (outcome_.set(std::move(outcome)))
        services_.progressed.wake();
}

Failure LinkImpl::refusal() const
{
    if (services_.stop.is_made())
        return services_.stop.refusal();
    return Error::not_connected;
}

Failure LinkImpl::too_big(std::size_t payload_bytes) const
{
    return {Error::too_big,
            {.attempted = "send",
             .endpoint = endpoint_,
             .explanation = fmt::format("{} bytes, the outbox takes at most {}", payload_bytes,
                                        outbox_.largest_message())}};
}

Result<void> LinkImpl::send(MessageKind kind, std::span<const std::byte> payload,
                            const SendOptions& options)
{
    const auto timeout = options.timeout;
    using Push = Outbox::Push;
    auto push = outbox_.push(id_, kind, payload);
    if (push == Push::full && timeout > Duration{}) {
        if (services_.loop.is_loop_thread())
            return misuse("wait for room");
        const auto deadline = deadline_after(services_.loop.now(), timeout);
        (void)services_.written.wait_until(services_.loop, deadline, [&] {
            push = outbox_.push(id_, kind, payload);
            return push != Push::full;
        });
    }
    switch (push) {
    case Push::queued: break;
    case Push::closed: return refusal();
    case Push::too_big: return too_big(payload.size());
    case Push::full:
        if (timeout <= Duration{})
            return Error::full;
        return Failure{
            Error::timed_out,
            {.attempted = "send", .endpoint = endpoint_, .explanation = "the outbox stayed full"}};
    }
    if (outbox_.wakes_writer()) {
        gauges_.wakeups.fetch_add(1, std::memory_order_relaxed);
        try {
            services_.loop.post([self = shared_from_this()] { self->work_.set(); });
        } catch (...) {
            outbox_.note_not_woken();
            throw;
        }
    }
    services_.inbox.expect_answer();
    return {};
}

Result<void> LinkImpl::flush(TimePoint deadline)
{
    if (services_.loop.is_loop_thread())
        return misuse("flush");
    const auto target = outbox_.pushed_position();
    const auto is_written = [&] { return outbox_.is_written(target); };
    const bool woke = services_.written.wait_until(services_.loop, deadline, [&] {
        return is_written() || !outbox_.is_open() || services_.stop.is_made();
    });
    if (is_written())
        return {};
    if (!woke)
        return Failure{Error::timed_out, {.attempted = "flush", .endpoint = endpoint_}};
    return refusal();
}

std::string LinkImpl::describe() const
{
    return fmt::format("link {} ({}): {}, outbox {} messages", static_cast<std::uint32_t>(id_),
                       endpoint_, note_.text(), outbox_.unsent_messages());
}

} // namespace sidecar::detail
