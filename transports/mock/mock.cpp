// The transport of a Mock: does what its peer's state says.
#include <sidecar/transports/mock.hpp>

#include "fault_plan.hpp"
#include "player.hpp"
#include "state.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <utility>

namespace sidecar {

namespace asio = boost::asio;
using mock::Fault, mock::Incoming, mock::Operation, mock::Signals, mock::State, mock::failure;

struct Mock::Impl {
    using End = MockConnectionLog::End;

    explicit Impl(std::shared_ptr<State> s, const Options& options)
        : state{std::move(s)}, faults{options.faults}, token{options.token}
    {
    }

    // --- each operation

    void begin_connection(Context ctx)
    {
        std::lock_guard lock{state->mutex};
        if (state->signals)
            throw Exception{
                Failure{Error::bad_options,
                        {.attempted = "connect",
                         .endpoint = "mock",
                         .explanation =
                             "this MockPeer has a link already; each link needs a separate one"}}};
        if (const auto clock = ctx.mock_clock())
            state->clock = clock;
        state->signals = signals;
        state->executor = ctx.executor();
        context = ctx;
        connection = MockConnection{state, state->begin(ctx.now(), token), token};
        plan.emplace(faults, connection->number());
    }

    /// Adds the operation to the trace, fails it if the test wants that, and draws its faults.
    [[nodiscard]] Fault enter(Operation operation, const std::string& what)
    {
        add_to_trace(what);
        std::lock_guard lock{state->mutex};
        if (state->failing_operation != 0 && --state->failing_operation == 0)
            throw Exception{failure(what.c_str(), state->operation_error)};
        return plan->draw(operation);
    }

    void add_to_trace(std::string_view what) { state->add_to_trace(context->now(), what); }

    /// Waits until the condition holds; throws when aborted. Returns false if the deadline passes
    /// first.
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
                if (!state->get(&State::ignores_abort))
                    throw;
                is_cancelled = true;
            }
            if (is_cancelled) // ignored
                co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        }
    }
    [[nodiscard]] bool must_end() const { return is_aborted && !state->get(&State::ignores_abort); }

    /// Waits until the peer takes what the sidecar writes.
    Task<> wait_to_write(Context ctx, LoopEvent& event, const char* attempted)
    {
        (void)co_await wait(ctx, event, TimePoint::max(), [this](const State& s) {
            return (!s.holds_writes && !s.current.holds_writes) || is_cut(s) || is_closing;
        });
        if (is_closing) // no message follows the close
            throw boost::system::system_error{asio::error::operation_aborted};
        std::lock_guard lock{state->mutex};
        if (is_cut(*state))
            throw Exception{broken(attempted)};
    }
    [[nodiscard]] bool is_cut(const State& s) const
    {
        return s.current.is_cut || s.current.number != number();
    }
    [[nodiscard]] static Failure broken(const char* attempted)
    {
        return failure(attempted, asio::error::broken_pipe);
    }
    [[nodiscard]] std::uint32_t number() const { return connection->number(); }

    /// Does what the fault says, except for what is special to one operation.
    Task<> suffer(Context ctx, LoopEvent& event, const Fault& fault, const char* operation)
    {
        if (fault.is_stalled) {
            add_to_trace(fmt::format("fault: stall at {}", operation));
            state->apply([](State& s) { s.current.stall(); });
        }
        if (const auto delay = fault.delay + fault.pause; delay != Duration{}) {
            add_to_trace(fmt::format("fault: {} late by {} us", operation,
                                     std::chrono::ceil<std::chrono::microseconds>(delay).count()));
            (void)co_await wait(ctx, event, deadline_after(ctx.now(), delay),
                                [](const State&) { return false; });
        }
        if (!fault.is_reset)
            co_return;
        add_to_trace(fmt::format("fault: reset at {}", operation));
        connection->reset();
        throw Exception{failure(operation, asio::error::connection_reset)};
    }

    /// Calls a hook without the lock. It gets a copy of the handle, which it may change.
    template <class Hook, class... Arguments>
    void call(const Hook& hook, const Arguments&... arguments)
    {
        auto handle = *connection;
        hook(handle, arguments...);
    }

    // --- connecting

    Task<> connect(Context ctx)
    {
        const auto fault = enter(Operation::connect, "connect");
        const auto delay = state->get(&State::connect_delay);
        (void)co_await wait(ctx, signals->connect, deadline_after(ctx.now(), delay),
                            [](const State& s) { return s.connect_delay == Duration{}; });
        if (const auto error = state->get(&State::connect_error))
            throw Exception{failure("connect", *error, Error::connect_failed)};
        co_await suffer(ctx, signals->connect, fault, "connect");
        if (fault.is_refused) {
            add_to_trace("fault: refused");
            throw Exception{
                failure("connect", asio::error::connection_refused, Error::connect_failed)};
        }
        co_await ask_script(ctx);
        if (const auto hook = state->get(&State::on_connect))
            call(*hook);
        std::lock_guard lock{state->mutex};
        if (auto& refusal = state->current.refusal)
            throw Exception{*std::exchange(refusal, std::nullopt)};
        state->accept(ctx.now());
    }

    /// Waits until the script accepts the connect, if there is one.
    Task<> ask_script(Context ctx)
    {
        const auto began = ctx.now();
        while (const auto player = state->get(&State::player)) {
            const auto until = player->connecting(*connection, began, ctx.now());
            if (until <= ctx.now())
                co_return;
            (void)co_await wait(ctx, signals->connect, until,
                                [&](const State& s) { return s.player != player; });
        }
    }

    // --- the end

    /// The connection is over: nothing can be delivered on it.
    void end(End how, std::optional<Failure> why = std::nullopt)
    {
        const auto now = context->now();
        const auto player = [&] {
            std::lock_guard lock{state->mutex};
            state->record_end(number(), now, how, std::move(why));
            if (state->current.number == number())
                state->current = {};
            return state->player;
        }();
        if (player)
            player->ended(number(),
                          how == End::aborted ? "the sidecar gave the connection up"
                                              : "the connection ended",
                          now);
    }

    /// Records the present exception of an operation. After a failed write the peer may still say
    /// why; all other failures are the end.
    void failed(End how, Error code, const char* attempted)
    {
        auto why = to_failure(std::current_exception(), code, attempted, "mock");
        if (why == Error::cancelled)
            return; // abort() records the end
        if (why == Error::closed_by_peer && how == End::failed)
            how = End::closed_by_peer;
        if (std::string_view{attempted} != "write")
            return end(how, std::move(why));
        std::lock_guard lock{state->mutex};
        state->record_end(number(), context->now(), how, std::move(why));
    }

    // --- reading

    /// Returns when there is something to read.
    Task<> wait_for_incoming(Context ctx)
    {
        for (;;) {
            auto next = TimePoint::max();
            if (const auto player = state->get(&State::player))
                next = player->advance(*connection, ctx.now());
            {
                std::lock_guard lock{state->mutex};
                state->wakes_reader = false;
                next = std::min(next, state->admit_delayed(ctx.now()));
            }
            (void)co_await wait(ctx, signals->read, next, [](const State& s) {
                return s.has_incoming() || !s.delayed.empty() || s.wakes_reader;
            });
            if (state->ask([](const State& s) { return s.has_incoming(); }))
                co_return;
        }
    }

    /// Puts up to `limit` things that have arrived. Messages before an end are delivered first. The
    /// sink may run functions of the application, so the lock is not held.
    void put_incoming(Sink& sink, std::size_t limit)
    {
        for (std::size_t count = 0; count < limit; ++count) {
            auto next = [&] {
                std::lock_guard lock{state->mutex};
                return state->take_incoming(count == 0);
            }();
            if (!next)
                return;
            const auto payload = std::as_bytes(std::span{next->payload});
            switch (next->what) {
            case Incoming::Kind::message:
                if (put(sink, next->kind, payload, next->envelope))
                    break;
                return state->put_back(std::move(*next));
            case Incoming::Kind::pong:
                sink.on_bytes();
                sink.on_pong(payload);
                break;
            case Incoming::Kind::bytes: sink.on_bytes(); break;
            case Incoming::Kind::end: throw Exception{std::move(next->failure)};
            }
        }
    }

    [[nodiscard]] static bool put(Sink& sink, MessageKind kind, std::span<const std::byte> payload,
                                  const mock::OwnedEnvelope& envelope)
    {
        std::vector<Header> headers;
        for (const auto& header : envelope.headers)
            headers.push_back({header.name, header.value});
        return sink.put(kind, payload,
                        {.topic = envelope.topic,
                         .reply_to = envelope.reply_to,
                         .headers = headers,
                         .acknowledgement = envelope.acknowledgement});
    }

    /// Makes the reader ask the player when it is due.
    void wake_reader()
    {
        {
            std::lock_guard lock{state->mutex};
            state->wakes_reader = true;
        }
        signals->read.set();
    }

    // --- writing

    /// Takes one message. Throws if its write fails.
    void take(const MessageView& message, TimePoint now)
    {
        std::lock_guard lock{state->mutex};
        if (is_cut(*state))
            throw Exception{broken("write")};
        auto* const log = state->log_of(number());
        auto& failing = state->write_failure;
        const bool is_whole = !failing || failing->after-- != 0;
        if (log)
            log->written.push_back({now,
                                    message.kind(),
                                    std::string{message.text()},
                                    is_whole,
                                    std::string{message.topic()},
                                    std::string{message.reply_to()},
                                    {message.headers().begin(), message.headers().end()}});
        if (!is_whole)
            throw Exception{failure("write", std::exchange(failing, std::nullopt)->error)};
    }

    /// Takes the messages up to `last`.
    void take_all(Batch::iterator& at, const Batch::iterator& last, const Batch& batch,
                  TimePoint now)
    {
        while (at != last) {
            take(*at, now);
            const auto hook = state->get(&State::on_message);
            const auto player = state->get(&State::player);
            const auto copy = hook || player ? Message{*at} : Message{};
            const auto view = copy.view();
            const detail::Stored stored{view};
            const MessageView message{{}, stored.kind, stored.bytes, number(), now};
            ++at;
            batch.mark_written(1);
            if (player) {
                player->received(*connection, message);
                wake_reader();
            }
            if (hook)
                call(*hook, message);
        }
    }

    const std::shared_ptr<State> state;
    const std::shared_ptr<Signals> signals = std::make_shared<Signals>(); // sidecar side
    const Faults faults;                                                  // sidecar side
    const std::string token;                                              // sidecar side
    std::optional<mock::FaultPlan> plan;      // sidecar side; from connect() on, as the next two
    std::optional<MockConnection> connection; // sidecar side
    std::optional<Context> context;           // sidecar side
    bool is_aborted = false;                  // sidecar side
    bool is_closing = false;                  // sidecar side
};

Mock::Mock(const Options& options) : impl_{std::make_unique<Impl>(options.peer.state_, options)} {}

Mock::~Mock()
{
    std::lock_guard lock{impl_->state->mutex};
    if (impl_->state->signals == impl_->signals)
        impl_->state->signals.reset();
}

Task<> Mock::connect(Context ctx)
{
    auto& impl = *impl_;
    impl.begin_connection(ctx);
    try {
        co_await impl.connect(ctx);
    } catch (...) {
        impl.failed(Impl::End::refused, Error::connect_failed, "connect");
        throw;
    }
}

Task<> Mock::read(Context ctx, Sink& sink)
{
    auto& impl = *impl_;
    const auto fault = impl.enter(Operation::read, "read");
    try {
        co_await impl.wait_for_incoming(ctx);
        co_await impl.suffer(ctx, impl.signals->read, fault, "read");
        co_await impl.wait_for_incoming(ctx); // after a stall there is none
        auto limit = impl.state->get(&State::read_limit);
        if (fault.is_short) {
            const auto count = impl.state->ask([](const State& s) { return s.incoming.size(); });
            limit = std::min<std::size_t>(limit, fault.random % (count + 1));
            impl.add_to_trace(fmt::format("fault: reads {} of {}", limit, count));
        }
        impl.put_incoming(sink, limit);
    } catch (...) {
        impl.failed(Impl::End::failed, Error::disconnected, "read");
        throw;
    }
}

Task<> Mock::write(Context ctx, Batch batch)
{
    auto& impl = *impl_;
    const auto count = std::distance(batch.begin(), batch.end());
    {
        std::lock_guard lock{impl.state->mutex};
        ++impl.state->write_count;
    }
    const auto fault = impl.enter(Operation::write, fmt::format("write {}", count));
    try {
        auto at = batch.begin();
        co_await impl.wait_to_write(ctx, impl.signals->write, "write");
        if (fault.is_short) {
            const auto first =
                static_cast<std::ptrdiff_t>(fault.random % static_cast<std::uint64_t>(count));
            impl.add_to_trace(fmt::format("fault: writes {} of {}", first, count));
            impl.take_all(at, std::next(at, first), batch, ctx.now());
        }
        co_await impl.suffer(ctx, impl.signals->write, fault, "write");
        co_await impl.wait_to_write(ctx, impl.signals->write, "write");
        impl.take_all(at, batch.end(), batch, ctx.now());
    } catch (...) {
        impl.failed(Impl::End::failed, Error::disconnected, "write");
        throw;
    }
}

Task<> Mock::ping(Context ctx, std::span<const std::byte> payload)
{
    auto& impl = *impl_;
    auto& s = *impl.state;
    Incoming pong{.what = Incoming::Kind::pong,
                  .payload = mock::to_string(payload),
                  .connection = impl.number()};
    const auto fault = impl.enter(Operation::ping, "ping");
    co_await impl.wait_to_write(ctx, impl.signals->ping, "ping");
    co_await impl.suffer(ctx, impl.signals->ping, fault, "ping");
    co_await impl.wait_to_write(ctx, impl.signals->ping, "ping");
    std::lock_guard lock{s.mutex};
    if (s.pong_delay != Duration::max() && !s.current.is_silent)
        s.delayed.emplace_back(s.pong_delay + fault.pong_delay, std::move(pong));
    impl.signals->read.set();
}

Task<> Mock::close(Context ctx, CloseReason reason)
{
    auto& impl = *impl_;
    auto& s = *impl.state;
    const auto fault = impl.enter(Operation::close, fmt::format("close {}", reason.code));
    impl.is_closing = true;
    impl.signals->write.set();
    impl.signals->ping.set();
    const auto deadline = [&] {
        std::lock_guard lock{s.mutex};
        if (auto* const log = s.log_of(impl.number())) {
            log->closing = ctx.now();
            log->close_code = reason.code;
            log->close_reason = reason.reason;
        }
        return deadline_after(ctx.now(), s.close_delay);
    }();
    if (const auto player = s.get(&State::player)) {
        player->closing(*impl.connection, reason.code, ctx.now());
        impl.wake_reader();
    }
    (void)co_await impl.wait(ctx, impl.signals->close, deadline,
                             [](const State& state) { return state.close_delay == Duration{}; });
    co_await impl.suffer(ctx, impl.signals->close, fault, "close");
    (void)co_await impl.wait(ctx, impl.signals->close, TimePoint::max(),
                             [](const State& state) { return !state.current.ignores_close; });
    impl.end(Impl::End::closed_by_sidecar);
    std::lock_guard lock{s.mutex};
    s.closed = std::move(reason);
}

ConnectionInfo Mock::connection_info() { return impl_->state->get(&State::connection_info); }

void Mock::abort() noexcept
{
    auto& impl = *impl_;
    impl.is_aborted = true;
    impl.signals->set_all();
    if (!impl.must_end() || !impl.connection)
        return;
    try {
        impl.end(Impl::End::aborted);
    } catch (const std::bad_alloc&) { // the script's text; its steps stay unmet
    }
}

} // namespace sidecar
