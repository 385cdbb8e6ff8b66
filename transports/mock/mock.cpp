#include "script.hpp"

#include <sidecar/loop_event.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <fmt/format.h>

#include <deque>
#include <map>
#include <mutex>
#include <optional>

namespace sidecar {

namespace asio = boost::asio;
using mock::Incoming, mock::Signals;

namespace {

Exception failed(const char* attempted, error_code cause, Error code = Error::disconnected)
{
    return Exception{Failure{code, {.attempted = attempted, .endpoint = "mock", .cause = cause}}};
}

} // namespace

struct Mock::Impl {
    using State = MockPeer::State;

    explicit Impl(std::shared_ptr<State> s) : state{std::move(s)} {}

    /// What every operation does first. With the mutex held.
    void enter(State& s, Context ctx, const std::string& what)
    {
        s.trace.push_back(
            fmt::format("{:.3f} {}",
                        std::chrono::duration<double>(ctx.now().time_since_epoch()).count(), what));
        if (s.failing_operation != 0 && --s.failing_operation == 0)
            throw failed(what.c_str(), s.operation_error);
    }

    [[nodiscard]] bool must_end() const
    {
        return is_aborted && !state->ask([](const State& s) { return s.ignores_abort; });
    }

    /// Waits until the condition holds, or throws when aborted; at the deadline it gives up. True
    /// if the condition holds.
    template <class Condition>
    Task<bool> wait(Context ctx, LoopEvent& event, TimePoint deadline, Condition condition)
    {
        for (;;) {
            if (must_end())
                throw boost::system::system_error{asio::error::operation_aborted};
            if (state->ask(condition))
                co_return true;
            if (ctx.now() >= deadline)
                co_return false;
            bool is_cancelled = false;
            try {
                co_await ctx.wait(event, deadline);
            } catch (const boost::system::system_error&) {
                if (!state->ask([](const State& s) { return s.ignores_abort; }))
                    throw;
                is_cancelled = true;
            }
            if (is_cancelled) // and pays no heed to it
                co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        }
    }

    /// Queues what was told to come later and is due; gives the time of what is due next.
    TimePoint admit_delayed(TimePoint now)
    {
        std::lock_guard lock{state->mutex};
        for (auto& [delay, message] : state->delayed)
            due.emplace(deadline_after(now, delay), std::move(message));
        state->delayed.clear();
        while (!due.empty() && due.begin()->first <= now) {
            state->incoming.push_back(std::move(due.begin()->second));
            due.erase(due.begin());
        }
        return due.empty() ? TimePoint::max() : due.begin()->first;
    }

    const std::shared_ptr<State> state;
    const std::shared_ptr<Signals> signals = std::make_shared<Signals>(); // sidecar side
    std::multimap<TimePoint, Incoming> due;                               // sidecar side
    bool is_aborted = false;                                              // sidecar side
};

Mock::Mock(const Options& options) : impl_{std::make_unique<Impl>(options.peer.state_)} {}

Mock::~Mock()
{
    std::lock_guard lock{impl_->state->mutex};
    if (impl_->state->signals == impl_->signals)
        impl_->state->signals.reset();
}

Task<> Mock::connect(Context ctx)
{
    auto& impl = *impl_;
    const auto delay = [&] {
        auto& s = *impl.state;
        std::lock_guard lock{s.mutex};
        if (s.signals)
            throw Exception{Failure{
                Error::bad_options,
                {.attempted = "connect",
                 .endpoint = "mock",
                 .explanation =
                     "this MockPeer has a link already; each link needs a peer of its own"}}};
        s.signals = impl.signals;
        s.executor = ctx.executor();
        s.is_dropped = false;
        ++s.connect_count;
        impl.enter(s, ctx, "connect");
        return s.connect_delay;
    }();
    co_await impl.wait(ctx, impl.signals->connect, deadline_after(ctx.now(), delay),
                       [](const MockPeer::State& s) { return s.connect_delay == Duration{}; });
    if (const auto error =
            impl.state->ask([](const MockPeer::State& s) { return s.connect_error; }))
        throw failed("connect", *error, Error::connect_failed);
}

Task<> Mock::read(Context ctx, Sink& sink)
{
    auto& impl = *impl_;
    auto& s = *impl.state;
    {
        std::lock_guard lock{s.mutex};
        impl.enter(s, ctx, "read");
    }
    for (;;) {
        const auto next = impl.admit_delayed(ctx.now());
        if (co_await impl.wait(ctx, impl.signals->read, next,
                               [](const MockPeer::State& state) {
                                   return !state.incoming.empty() || !state.delayed.empty();
                               })
            && impl.state->ask(
                [](const MockPeer::State& state) { return !state.incoming.empty(); }))
            break;
    }
    std::lock_guard lock{s.mutex};
    for (std::size_t count = 0; count < s.read_limit && !s.incoming.empty(); ++count) {
        auto& front = s.incoming.front();
        if (front.what == Incoming::Kind::message) {
            if (!sink.put(front.kind, std::as_bytes(std::span{front.payload})))
                co_return;
            s.incoming.pop_front();
            continue;
        }
        if (front.what == Incoming::Kind::bytes || front.what == Incoming::Kind::pong) {
            sink.note_bytes();
            if (front.what == Incoming::Kind::pong)
                sink.note_pong(std::as_bytes(std::span{front.payload}));
            s.incoming.pop_front();
            continue;
        }
        if (count != 0)
            co_return; // what came before it is handed over first
        const auto end = std::move(front);
        s.incoming.pop_front();
        if (end.what == Incoming::Kind::failure)
            throw failed("read", end.error);
        throw Exception{Failure{Error::closed_by_peer,
                                {.attempted = "read",
                                 .endpoint = "mock",
                                 .close_code = end.code,
                                 .close_reason = end.payload}}};
    }
}

Task<> Mock::write(Context ctx, Batch batch)
{
    auto& impl = *impl_;
    auto& s = *impl.state;
    {
        std::lock_guard lock{s.mutex};
        ++s.write_count;
        impl.enter(s, ctx, fmt::format("write {}", std::distance(batch.begin(), batch.end())));
    }
    co_await impl.wait(
        ctx, impl.signals->write, TimePoint::max(),
        [](const MockPeer::State& state) { return !state.holds_writes || state.is_dropped; });
    std::lock_guard lock{s.mutex};
    if (s.is_dropped)
        throw failed("write", asio::error::broken_pipe);
    for (auto at = batch.begin(); at != batch.end();) {
        if (s.write_failure && s.write_failure->after-- == 0) {
            const auto error = std::exchange(s.write_failure, std::nullopt)->error;
            throw failed("write", error);
        }
        s.sent.emplace_back((*at).text());
        ++at;
        batch.mark_written(1);
    }
}

Task<> Mock::ping(Context ctx, std::span<const std::byte> payload)
{
    auto& impl = *impl_;
    auto& s = *impl.state;
    Incoming pong{.what = Incoming::Kind::pong,
                  .payload = std::string{MessageView{{}, MessageKind::bytes, payload}.text()},
                  .error = {}};
    {
        std::lock_guard lock{s.mutex};
        impl.enter(s, ctx, "ping");
    }
    co_await impl.wait(ctx, impl.signals->ping, TimePoint::max(), [](const MockPeer::State& state) {
        return !state.holds_writes || state.is_dropped;
    });
    std::lock_guard lock{s.mutex};
    if (s.is_dropped)
        throw failed("ping", asio::error::broken_pipe);
    if (s.pong_delay == Duration{})
        s.incoming.push_back(std::move(pong));
    else if (s.pong_delay != Duration::max())
        s.delayed.emplace_back(s.pong_delay, std::move(pong));
    impl.signals->read.set();
}

Task<> Mock::close(Context ctx, CloseReason reason)
{
    auto& impl = *impl_;
    const auto delay = [&] {
        std::lock_guard lock{impl.state->mutex};
        impl.enter(*impl.state, ctx, fmt::format("close {}", reason.code));
        return impl.state->close_delay;
    }();
    co_await impl.wait(ctx, impl.signals->close, deadline_after(ctx.now(), delay),
                       [](const MockPeer::State& s) { return s.close_delay == Duration{}; });
    std::lock_guard lock{impl.state->mutex};
    impl.state->closed = reason.code;
}

void Mock::abort() noexcept
{
    impl_->is_aborted = true;
    impl_->signals->set_all();
}

} // namespace sidecar
