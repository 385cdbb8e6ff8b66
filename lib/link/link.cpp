#include "link/link.hpp"

#include "loop/loop.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

namespace sidecar::detail {
namespace {

/// After a failed write the peer's last words (and the reason they may hold) get this long to be
/// read.
constexpr auto last_words = std::chrono::milliseconds{100};

} // namespace

LinkImpl::LinkImpl(Loop& loop, LinkId id, std::shared_ptr<const LinkConfig> config,
                   std::string endpoint)
    : loop_{loop},
      id_{id},
      config_{std::move(config)},
      endpoint_{std::move(endpoint)},
      max_message_bytes_{config_->max_message_bytes()}
{
}

void LinkImpl::begin(TimePoint deadline)
{
    began_ = loop_.now();
    loop_.inbox().share_with(max_message_bytes_);
    auto& slot = loop_.tasks().open(task_prefix() + "listener");
    listener_ = &slot;
    timer_ = loop_.timers().at(deadline, [this] { give_up_connecting(); });
    loop_.tasks().spawn(slot, listen(Context{loop_, slot, this, deadline}),
                        [this](std::exception_ptr e) { listener_ended(std::move(e)); });
}

Task<> LinkImpl::listen(Context ctx)
{
    ctx.waiting_for("connecting");
    transport_ = config_->make_transport();
    co_await transport_->connect(ctx);
    if (failure_ || quiesced_)
        co_return; // given up, or stopped, in the same moment
    went_up();

    Sink sink{*this};
    const Context reading{loop_, *listener_, this, TimePoint::max()};
    for (;;) {
        co_await make_room(reading);
        reading.waiting_for("messages from the peer");
        put_anything_ = false;
        const auto turn = loop_.tasks().turn();
        co_await transport_->read(reading, sink);
        counters.reads.fetch_add(1, std::memory_order_relaxed);
        loop_.inbox().publish();
        // A transport that never has to wait must not starve the others
        if (turn == loop_.tasks().turn())
            co_await boost::asio::post(reading.executor(), boost::asio::use_awaitable);
    }
}

Task<> LinkImpl::make_room(Context ctx)
{
    auto& inbox = loop_.inbox();
    bool counted = false;
    for (;;) {
        if (refuses_messages()) {
            drop_pending();
            co_return;
        }
        if (push_pending() && inbox.has_room(max_message_bytes_))
            co_return;
        if (!std::exchange(counted, true))
            counters.pauses.fetch_add(1, std::memory_order_relaxed);
        if (!inbox.want_room(max_message_bytes_)) {
            ctx.waiting_for("room in the inbox");
            loop_.wait_for_room(*this);
            co_await room_.wait();
        }
    }
}

/// From the request on, not only once the loop has seen it: who waits may have been told `stopped`
/// by then.
bool LinkImpl::refuses_messages() const noexcept { return quiesced_ || loop_.stop_requested(); }

bool LinkImpl::push_pending()
{
    auto& inbox = loop_.inbox();
    if (held_ && inbox.push(id_, held_->kind(), held_->bytes()))
        held_.reset();
    if (large_.is_whole && inbox.push_reserved(id_, large_.kind, large_.block, large_.bytes))
        large_ = {};
    inbox.publish();
    return !held_ && !large_.is_whole;
}

void LinkImpl::drop_pending()
{
    if (held_ || large_.is_whole)
        loop_.discarded.fetch_add(1);
    held_.reset();
    if (large_.is_whole)
        cancel_large();
}

void LinkImpl::cancel_large() noexcept
{
    if (!large_.block)
        return;
    loop_.inbox().cancel_reserved(large_.bytes);
    large_ = {};
    loop_.resume_reading(); // another link may wait for just this room
}

void LinkImpl::check_size(std::size_t payload_bytes) const
{
    if (payload_bytes > max_message_bytes_)
        throw Exception{Failure{Error::too_big,
                                {.attempted = "take in a message",
                                 .endpoint = endpoint_,
                                 .explanation = fmt::format("{} bytes, the limit is {}",
                                                            payload_bytes, max_message_bytes_)}}};
}

bool LinkImpl::put(MessageKind kind, std::span<const std::byte> payload)
{
    const bool is_usual =
        payload.size() <= max_message_bytes_ && !refuses_messages() && !held_ && !large_.is_whole;
    if (is_usual && loop_.inbox().push(id_, kind, payload)) [[likely]] {
        put_anything_ = true;
        return true;
    }
    return put_aside(kind, payload);
}

bool LinkImpl::put_aside(MessageKind kind, std::span<const std::byte> payload)
{
    check_size(payload.size());
    if (refuses_messages()) {
        put_anything_ = true;
        loop_.discarded.fetch_add(1);
        return true;
    }
    if (put_anything_)
        return false;
    // Promised room that another link has taken meanwhile: this one message waits here for the
    // next.
    held_ = std::make_unique<Message>(MessageView{id_, kind, payload});
    put_anything_ = true;
    return true;
}

std::span<std::byte> LinkImpl::receive_room(std::size_t at_least)
{
    return loop_.inbox().receive_room(at_least);
}

std::span<std::byte> LinkImpl::prepare(std::size_t payload_bytes)
{
    check_size(payload_bytes);
    if (large_.block || held_)
        return {};
    large_ = {.block = loop_.inbox().reserve(payload_bytes), .bytes = payload_bytes};
    if (!large_.block)
        return {};
    return {large_.block.get(), payload_bytes};
}

void LinkImpl::commit(MessageKind kind)
{
    put_anything_ = true;
    large_.kind = kind;
    large_.is_whole = true;
    if (refuses_messages())
        drop_pending();
    else
        (void)push_pending();
}

void LinkImpl::went_up()
{
    timer_.cancel();
    set_phase(Phase::open, {});
    status_ = Status::up;
    connect_time = (loop_.now() - began_).count();
    accepting_.store(true);
    loop_.link_changed();
    loop_.inbox().push_event(Event::Kind::up, id_, std::nullopt);
    set_outcome({});

    auto& slot = loop_.tasks().open(task_prefix() + "writer");
    writer_ = &slot;
    loop_.tasks().spawn(slot, write_all(Context{loop_, slot, this, TimePoint::max()}),
                        [this](std::exception_ptr e) { writer_ended(std::move(e)); });
}

Task<> LinkImpl::write_all(Context ctx)
{
    for (;;) {
        auto* const outbox = outbox_.load(std::memory_order_seq_cst);
        const auto end = outbox ? outbox->published() : 0;
        if (!outbox || outbox->read_position() == end) {
            loop_.progress();
            writer_sleeps_.store(true, std::memory_order_seq_cst);
            if (outbox ? outbox->published() == end : !outbox_.load(std::memory_order_seq_cst)) {
                ctx.waiting_for("messages to send");
                co_await work_.wait();
            }
            writer_sleeps_.store(false, std::memory_order_relaxed);
            continue;
        }
        ctx.waiting_for("the peer to take what is written");
        writing_ = true;
        co_await transport_->write(ctx, Batch{*this, *outbox, outbox->read_position(), end});
        writing_ = false;
        counters.writes.fetch_add(1, std::memory_order_relaxed);
        mark_written(SIZE_MAX, end);
        loop_.expect_answer();
    }
}

void LinkImpl::mark_written(std::size_t count, std::uint64_t end)
{
    auto& outbox = *outbox_.load(std::memory_order_relaxed);
    const auto messages = outbox.popped_so_far();
    const auto bytes = outbox.popped_bytes_so_far();
    for (; count != 0 && outbox.read_position() < end; --count)
        outbox.pop();
    counters.sent.fetch_add(outbox.popped_so_far() - messages, std::memory_order_relaxed);
    counters.sent_bytes.fetch_add(outbox.popped_bytes_so_far() - bytes, std::memory_order_relaxed);
    outbox.publish_reads();
    loop_.written().wake();
}

void LinkImpl::writer_ended(std::exception_ptr exception)
{
    writer_ = nullptr;
    writing_ = false;
    let_go();
    loop_.progress();
    if (!exception || status_ != Status::up || close_begun_)
        return;
    auto failure = to_failure(exception, Error::disconnected, "write", endpoint_);
    if (failure == Error::cancelled)
        return;
    // The listener may still find out why (a close frame, the reason in it); it gets a moment for
    // that.
    accepting_.store(false);
    loop_.written().wake();
    failure_ = std::move(failure);
    timer_ = loop_.timers().at(deadline_after(loop_.now(), last_words), [this] { abort(); });
}

void LinkImpl::listener_ended(std::exception_ptr exception)
{
    listener_ = nullptr;
    loop_.inbox().publish();
    // Nothing may be lost without being counted, and there is nobody left to wait for room.
    if (!push_pending())
        drop_pending();
    cancel_large(); // what never came whole
    const bool was_connecting = status_ == Status::connecting;
    auto failure =
        exception
            ? to_failure(exception, was_connecting ? Error::connect_failed : Error::disconnected,
                         was_connecting ? "connect" : "read", endpoint_)
            : Failure{Error::cancelled};
    if (failure_ && failure.close_code() == 0)
        failure = *failure_; // the first cause; what followed it is only its consequence
    if (quiesced_ && (failure == Error::cancelled || was_connecting))
        failure = Error::stopping;
    went_down(std::move(failure));
}

void LinkImpl::went_down(Failure failure)
{
    const bool was_up = status_ == Status::up;
    timer_.cancel();
    phase_ = Phase::down;
    status_ = Status::down;
    accepting_.store(false);
    abort();
    if (writer_)
        loop_.tasks().cancel(*writer_);
    count_unsent();
    loop_.written().wake();
    if (!quiesced_) {
        loop_.record(failure);
        if (was_up)
            loop_.inbox().push_event(Event::Kind::down, id_, failure);
    } else if (was_up && !close_begun_ && !(failure == Error::stopping)) {
        loop_.record(failure); // it broke by itself, during the drain
    }
    failure_ = failure;
    set_outcome(std::move(failure));
    let_go();
    loop_.link_changed();
    loop_.progress();
}

void LinkImpl::expect_tasks_to_end() noexcept
{
    for (auto* slot : {listener_, writer_, closer_})
        if (slot)
            slot->is_expected_to_end = true;
}

void LinkImpl::count_unsent()
{
    std::lock_guard lock{send_mutex_}; // no send is half done any more
    counters.unsent.store(unsent_messages());
}

void LinkImpl::let_go()
{
    if (status_ == Status::down && !listener_ && !writer_ && !closer_)
        transport_.reset(); // its buffers, that is; the socket is closed already
}

void LinkImpl::give_up_connecting()
{
    if (status_ != Status::connecting || failure_)
        return;
    failure_ = Failure{Error::timed_out,
                       {.attempted = "connect",
                        .endpoint = endpoint_,
                        .explanation = fmt::format("still {}{}{}", to_string(phase_.load()),
                                                   phase_detail_.empty() ? "" : " ",
                                                   phase_detail_)}};
    set_outcome(*failure_);
    abort();
    if (listener_)
        loop_.tasks().cancel(*listener_);
}

void LinkImpl::quiesce()
{
    quiesced_ = true;
    release_senders();
    {
        std::lock_guard lock{send_mutex_}; // a send that is half done is there to be drained
    }
    room_.set();
    if (status_ == Status::connecting)
        set_outcome(Failure{Error::stopping});
}

void LinkImpl::begin_close(TimePoint deadline)
{
    close_begun_ = true;
    phase_ = Phase::closing;
    auto& slot = loop_.tasks().open(task_prefix() + "close");
    closer_ = &slot;
    loop_.tasks().spawn(slot, say_goodbye(Context{loop_, slot, this, deadline}),
                        [this](std::exception_ptr e) { close_ended(std::move(e)); });
}

/// A coroutine, so that a close() that throws at once ends like one that throws later.
Task<> LinkImpl::say_goodbye(Context ctx)
{
    ctx.waiting_for("the peer's answer to the close");
    co_await transport_->close(ctx, CloseReason{});
}

void LinkImpl::close_ended(std::exception_ptr exception)
{
    closer_ = nullptr;
    close_ended_ = true;
    if (exception)
        close_failure_ = to_failure(exception, Error::disconnected, "close", endpoint_);
    abort();
    let_go();
    loop_.progress();
}

void LinkImpl::abort() noexcept
{
    if (transport_)
        transport_->abort();
}

void LinkImpl::set_outcome(Result<void> outcome)
{
    {
        std::lock_guard lock{outcome_mutex_};
        if (outcome_)
            return;
        outcome_ = std::move(outcome);
    }
    has_outcome_.store(true);
    loop_.outcome_changed();
}

Result<void> LinkImpl::outcome() const
{
    std::lock_guard lock{outcome_mutex_};
    return *outcome_;
}

Failure LinkImpl::refusal() const
{
    return loop_.stop_requested() ? Error::stopping : Error::not_connected;
}

/// With send_mutex_ held. Many links never send; a ring costs half a kilobyte before its memory.
RecordRing& LinkImpl::make_outbox()
{
    if (!outbox_owner_) {
        outbox_owner_ = std::make_unique<RecordRing>(loop_.options().outbox);
        // Before the look at writer_sleeps_
        outbox_.store(outbox_owner_.get(), std::memory_order_seq_cst);
    }
    return *outbox_owner_;
}

Result<void> LinkImpl::send(MessageKind kind, std::span<const std::byte> payload,
                            TimePoint deadline)
{
    const auto try_push = [&]() -> std::optional<Result<void>> {
        std::lock_guard lock{send_mutex_};
        if (!accepting_.load(std::memory_order_seq_cst) || loop_.stop_requested())
            return refusal();
        auto& outbox = make_outbox();
        if (payload.size() > outbox.largest_message())
            return Failure{Error::too_big,
                           {.attempted = "send",
                            .endpoint = endpoint_,
                            .explanation = fmt::format("{} bytes, the outbox takes at most {}",
                                                       payload.size(), outbox.largest_message())}};
        if (!outbox.push(id_, kind, payload))
            return std::nullopt;
        outbox.publish();
        return Result<void>{};
    };
    auto result = try_push();
    if (!result && deadline != TimePoint{}) {
        if (loop_.is_loop_thread())
            return Failure{
                Error::misuse,
                {.attempted = "wait for room", .explanation = "called on the loop's own thread"}};
        (void)loop_.written().wait_until(loop_, deadline,
                                         [&] { return (result = try_push()).has_value(); });
    }
    if (!result)
        return deadline == TimePoint{} ? Failure{Error::full}
                                       : Failure{Error::timed_out,
                                                 {.attempted = "send",
                                                  .endpoint = endpoint_,
                                                  .explanation = "the outbox stayed full"}};
    if (*result && writer_sleeps_.load(std::memory_order_seq_cst)
        && writer_sleeps_.exchange(false)) {
        counters.wakeups.fetch_add(1, std::memory_order_relaxed);
        loop_.post([this] { work_.set(); });
    }
    if (*result)
        loop_.inbox().expect_answer();
    return *result;
}

Result<void> LinkImpl::flush(TimePoint deadline)
{
    if (loop_.is_loop_thread())
        return Failure{Error::misuse,
                       {.attempted = "flush", .explanation = "called on the loop's own thread"}};
    const auto target = [this] {
        std::lock_guard lock{send_mutex_};
        return outbox_owner_ ? outbox_owner_->write_position() : 0;
    }();
    const auto is_written = [&] { return target == 0 || outbox()->reads_published() >= target; };
    const bool woke = loop_.written().wait_until(loop_, deadline, [&] {
        return is_written() || !accepting_.load(std::memory_order_seq_cst)
               || loop_.stop_requested();
    });
    if (is_written())
        return {};
    if (!woke)
        return Failure{Error::timed_out, {.attempted = "flush", .endpoint = endpoint_}};
    return refusal();
}

std::string LinkImpl::task_prefix() const
{
    return fmt::format("link {} ", static_cast<std::uint32_t>(id_));
}

void LinkImpl::release_senders()
{
    accepting_.store(false);
    loop_.written().wake();
}

std::string LinkImpl::describe() const
{
    return fmt::format("link {} ({}): {}, outbox {} messages", static_cast<std::uint32_t>(id_),
                       endpoint_, to_string(phase_.load()), unsent_messages());
}

} // namespace sidecar::detail

namespace sidecar {

// Here, not with Context: one call for each message.
bool Sink::put(MessageKind kind, std::span<const std::byte> payload)
{
    return link_->put(kind, payload);
}

std::span<std::byte> Sink::receive_room(std::size_t at_least)
{
    return link_->receive_room(at_least);
}

std::span<std::byte> Sink::prepare(std::size_t payload_bytes)
{
    return link_->prepare(payload_bytes);
}

void Sink::commit(MessageKind kind) { link_->commit(kind); }

} // namespace sidecar
