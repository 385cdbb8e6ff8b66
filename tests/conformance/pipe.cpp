#include "pipe.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <deque>
#include <sys/eventfd.h>
#include <thread>

using namespace sidecar;
using namespace std::chrono_literals;
namespace asio = boost::asio;

namespace {

Exception failed(Error error, const char* attempted)
{
    return Exception{Failure{error, {.attempted = attempted, .endpoint = "pipe"}}};
}

Task<> sleep(Context ctx) { co_await ctx.sleep_for(1h); }

} // namespace

std::atomic<bool> threads_may_end = false;

Pipe::Pipe(const Options& options) : options_{options}, state_{*options.state} {}
Pipe::~Pipe() = default;

Result<void> Pipe::check(const Options& options)
{
    if (options.fault == Fault::check_refuses
        || (!options.state && options.fault != Fault::accepts_bad_options))
        return Failure{Error::bad_options};
    return {};
}

template <class Condition>
Task<> Pipe::wait(Context ctx, LoopEvent& event, Condition condition, bool heeds_cancellation,
                  bool heeds_abort)
{
    while (!condition()) {
        if (is_aborted_ && heeds_abort)
            throw boost::system::system_error{asio::error::operation_aborted};
        bool is_cancelled = false;
        try {
            (void)co_await ctx.wait(event, TimePoint::max());
        } catch (const boost::system::system_error&) {
            if (heeds_cancellation)
                throw;
            is_cancelled = true;
        }
        if (is_cancelled)
            co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    }
}

Task<> Pipe::connect(Context ctx)
{
    co_await wait(ctx, state_.signals->connect,
                  [&] { return !state_.holds_connect && !has(Fault::connect_hangs); });
    if (has(Fault::leaves_coroutine))
        asio::co_spawn(ctx.executor(), sleep(ctx), asio::detached);
    if (has(Fault::leaves_timer)) {
        const auto timer = std::make_shared<asio::steady_timer>(ctx.executor(), 1h);
        timer->async_wait([timer](error_code) {});
    }
    if (has(Fault::leaves_memory))
        (void)new std::string(1000, 'x'); // NOLINT
    if (has(Fault::leaves_descriptor))
        (void)::eventfd(0, EFD_CLOEXEC);
    if (has(Fault::leaves_thread))
        std::thread{[] { threads_may_end.wait(false); }}.detach();
    if (has(Fault::holds_thread))
        std::this_thread::sleep_for(1500ms);
    if (state_.refuses && !has(Fault::connects_despite_refusal))
        throw failed(Error::connect_failed, "connect");
}

bool Pipe::put(Sink& sink, const PipeState::Incoming& message)
{
    auto kind = message.kind;
    std::string payload = message.payload;
    if (has(Fault::loses_empty_message) && payload.empty())
        return true;
    if (has(Fault::changes_kind))
        kind = MessageKind::binary;
    if (payload.size() > options_.max_message_bytes) {
        if (has(Fault::drops_above_limit))
            return true;
        if (has(Fault::cuts_at_limit))
            payload.resize(options_.max_message_bytes);
    }
    if (has(Fault::splits_message) && payload.size() > 1000) {
        (void)sink.put_text(std::string_view{payload}.substr(0, 1000));
        payload.erase(0, 1000);
    }
    const auto bytes = std::as_bytes(std::span{payload});
    if (has(Fault::commits_unprepared) && payload.size() == 40'000)
        return sink.commit(kind), true;
    if (has(Fault::changes_lent_memory)) {
        if (const auto room = sink.receive_buffer(payload.size());
            room.size() >= payload.size() && !room.empty()) {
            std::copy(bytes.begin(), bytes.end(), room.begin());
            const bool was_taken = sink.put(kind, room.first(payload.size()));
            room[0] = std::byte{0};
            return was_taken;
        }
    }
    if (has(Fault::puts_on_other_thread)) {
        bool was_taken = false;
        std::thread{[&] { was_taken = sink.put(kind, bytes); }}.join();
        return was_taken;
    }
    return sink.put(kind, bytes);
}

/// Returns whether it put a message.
Task<bool> Pipe::put_all(Context ctx, Sink& sink)
{
    bool has_put = false;
    auto& incoming = state_.incoming;
    while (!incoming.empty()) {
        auto& front = incoming.front();
        if (front.what == PipeState::Incoming::close) {
            if (has_put)
                co_return true;
            throw failed(Error::closed_by_peer, "read");
        }
        if (front.what == PipeState::Incoming::pong) {
            if (!has(Fault::pong_is_lost))
                sink.on_pong(std::as_bytes(std::span{front.payload}));
            incoming.pop_front();
            continue;
        }
        sink.on_bytes();
        if (front.what == PipeState::Incoming::part) {
            if (!kept_)
                kept_ = PipeState::Incoming{.kind = front.kind};
            kept_->payload += front.payload;
            incoming.pop_front();
            continue;
        }
        if (kept_ && !kept_->payload.empty()) {
            front.payload.insert(0, kept_->payload);
            kept_.reset();
        }
        if (has(Fault::changes_order) && incoming.size() > 1
            && incoming[1].what == PipeState::Incoming::message)
            std::swap(incoming[0], incoming[1]);
        const bool was_taken = put(sink, front);
        if (was_taken || has(Fault::loses_refused))
            incoming.pop_front();
        else if (has(Fault::puts_refused_twice))
            incoming.push_front(incoming.front());
        if (!was_taken && has(Fault::puts_on_after_refusal) && incoming.size() > 1) {
            (void)put(sink, incoming[1]);
            incoming.erase(incoming.begin() + 1);
        }
        if (!was_taken)
            co_return true;
        has_put = true;
        if (has(Fault::puts_after_wait) && !incoming.empty())
            co_await ctx.sleep_for(1ms);
    }
    if (has_put && has(Fault::waits_after_put))
        co_await ctx.sleep_for(1ms);
    if (has_put && has(Fault::never_returns_from_read)) {
        while (sink.put_text("again")) {
        }
    }
    co_return has_put;
}

Task<> Pipe::read(Context ctx, Sink& sink)
{
    sink_ = &sink;
    for (;;) {
        if (co_await put_all(ctx, sink))
            break;
        if (state_.is_reset && !has(Fault::read_survives_reset)) {
            if (has(Fault::throws_int))
                throw 42;
            if (has(Fault::throws_success))
                throw boost::system::system_error{error_code{}};
            throw failed(Error::disconnected, "read");
        }
        if (has(Fault::spins)) {
            co_await asio::post(ctx.executor(), asio::use_awaitable);
            if (is_aborted_)
                throw failed(Error::cancelled, "read");
            continue;
        }
        if (has(Fault::keeps_lent_memory)) {
            if (lent_.empty())
                lent_ = sink.receive_buffer(100);
            if (!lent_.empty())
                std::fill(lent_.begin(), lent_.begin() + 10, std::byte{'k'});
        }
        co_await wait(
            ctx, state_.signals->read,
            [&] {
                return !state_.incoming.empty()
                       || (state_.is_reset && !has(Fault::read_survives_reset));
            },
            !has(Fault::read_ignores_cancellation));
        if (has(Fault::keeps_lent_memory) && !lent_.empty()
            && state_.incoming.front().what == PipeState::Incoming::message
            && state_.incoming.front().payload.size() == 10) {
            (void)sink.put(state_.incoming.front().kind, lent_.first(10));
            state_.incoming.pop_front();
            co_return;
        }
    }
    if (has(Fault::puts_without_read))
        asio::post(ctx.executor(), [&sink] { (void)sink.put_text("late"); });
}

void Pipe::take(const MessageView& message)
{
    state_.received.push_back({.kind = message.kind(), .payload = std::string{message.text()}});
    if (has(Fault::writes_twice))
        state_.received.push_back(state_.received.back());
    if (has(Fault::writes_half) && message.size() > 1)
        state_.received.back().payload.resize(message.size() / 2);
}

Task<> Pipe::write(Context ctx, Batch batch)
{
    if (has(Fault::keeps_batch)) {
        asio::post(ctx.executor(), [this, batch] {
            for (const auto& message : batch)
                take(message);
        });
        co_return;
    }
    std::deque<Message> copies;
    for (const auto& message : batch)
        copies.emplace_back(message);
    if (has(Fault::marks_before_writing))
        batch.mark_written(copies.size());
    co_await wait(ctx, state_.signals->write, [&] {
        return (!state_.holds && (!is_closing_ || has(Fault::writes_after_close)))
               || state_.is_reset;
    });
    for (std::size_t i = 0; i < copies.size(); ++i) {
        if (state_.resets_after && (*state_.resets_after)-- == 0)
            state_.is_reset = true;
        if (state_.is_reset && has(Fault::write_survives_reset))
            co_return;
        if (state_.is_reset)
            throw failed(Error::disconnected, "write");
        take(copies[i].view());
        const bool forgets = has(Fault::marks_less) && i % 2 == 1;
        if (!has(Fault::marks_before_writing) && !forgets)
            batch.mark_written(has(Fault::marks_too_many) ? 2 : 1);
        if (has(Fault::reads_marked_message) && i == 1)
            copies[0] = Message{*batch.begin()};
        co_await asio::post(ctx.executor(), asio::use_awaitable);
    }
}

Task<> Pipe::ping(Context ctx, std::span<const std::byte> payload)
{
    co_await wait(ctx, state_.signals->ping, [&] {
        return (!state_.holds && !has(Fault::ping_never_ends)) || state_.is_reset;
    });
    if (state_.is_reset)
        throw failed(Error::disconnected, "ping");
    state_.incoming.push_back(
        {.what = PipeState::Incoming::pong,
         .payload =
             has(Fault::pong_has_other_payload)
                 ? "pongpong"
                 : std::string{reinterpret_cast<const char*>(payload.data()), payload.size()}});
    state_.signals->read.set();
}

Task<> Pipe::close(Context ctx, CloseReason reason)
{
    is_closing_ = true;
    if (has(Fault::close_says_nothing))
        co_return;
    const auto is_answered = [&] {
        return !state_.holds_close && !state_.holds && !has(Fault::close_never_ends);
    };
    co_await wait(ctx, state_.signals->close, is_answered, !has(Fault::close_ignores_cancellation),
                  !has(Fault::abort_forgets_close));
    state_.closed = std::move(reason);
}

void Pipe::abort() noexcept
{
    if (has(Fault::abort_waits))
        std::this_thread::sleep_for(50ms);
    if (has(Fault::abort_once_only) && ++aborts_ == 2)
        std::this_thread::sleep_for(50ms);
    is_aborted_ = true;
    state_.signals->set();
}
