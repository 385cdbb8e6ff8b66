#include <sidecar/transports/mock.hpp>

#include <sidecar/loop_event.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <fmt/format.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sidecar {

namespace asio = boost::asio;

namespace mock {

/// The events that the coroutines of one connection wait for. Posted handlers share it, since they
/// may run after the connection.
struct Signals {
    LoopEvent connect, read, write, ping, close; // sidecar side
    void set_all()
    {
        connect.set();
        read.set();
        write.set();
        ping.set();
        close.set();
    }
};

struct Incoming {
    enum class Kind { message, failure, close, bytes, pong } what = Kind::message;
    MessageKind kind = MessageKind::text;
    std::string payload{}; // of a message or a pong; the reason of a close
    error_code error{};
    std::uint16_t code = 0;
};

} // namespace mock

/// Shared by the peer's copies and by the current connection. Side: any thread, guarded by its
/// mutex. A change wakes the connection's coroutines, which look again.
struct MockPeer::State {
    mutable std::mutex mutex; // guards all below

    // set by the test
    std::optional<error_code> connect_error;
    Duration connect_delay{};
    Duration close_delay{};
    std::deque<mock::Incoming> incoming;
    std::vector<std::pair<Duration, mock::Incoming>> delayed; // not yet seen by a connection
    std::size_t read_limit = SIZE_MAX;
    struct WriteFailure {
        error_code error;
        std::size_t after;
    };
    std::optional<WriteFailure> write_failure;
    std::size_t failing_operation = 0;
    error_code operation_error;
    bool ignores_abort = false;
    bool holds_writes = false;
    Duration pong_delay{};
    ConnectionInfo connection_info{.peer = "mock"};

    // recorded from the sidecar
    std::vector<std::string> sent;
    std::vector<std::string> trace;
    std::size_t write_count = 0;
    std::size_t connect_count = 0;
    std::optional<CloseReason> closed;

    // the current connection
    std::optional<MockClock> clock; // of the latest connection, or of the options
    std::shared_ptr<mock::Signals> signals;
    boost::asio::any_io_executor executor;
    bool is_dropped = false;

    template <class Change>
    void apply(Change change)
    {
        std::lock_guard lock{mutex};
        change(*this);
        if (signals)
            boost::asio::post(executor, [s = signals] { s->set_all(); });
    }
    template <class T>
    void set(T State::*member, std::type_identity_t<T> value)
    {
        apply([&](State& s) { s.*member = std::move(value); });
    }
    /// Lets everything happen that can happen now.
    void settle() const
    {
        if (const auto present = get(&State::clock))
            present->settle();
    }
    template <class T>
    [[nodiscard]] T get(T State::*member) const
    {
        std::lock_guard lock{mutex};
        return this->*member;
    }
    /// Returns it as it is once everything has happened that can happen now.
    template <class T>
    [[nodiscard]] T look(T State::*member) const
    {
        settle();
        return get(member);
    }
    /// Adds input from the peer.
    void add(mock::Incoming next)
    {
        apply([&](State& s) { s.incoming.push_back(std::move(next)); });
    }
    template <class Question>
    auto ask(Question question) const
    {
        std::lock_guard lock{mutex};
        return question(*this);
    }
};

using mock::Incoming, mock::Signals;

namespace {

std::string to_string(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Exception failed(const char* attempted, error_code cause, Error code = Error::disconnected)
{
    return Exception{Failure{code, {.attempted = attempted, .endpoint = "mock", .cause = cause}}};
}

} // namespace

// --- the peer, as the test sees it

MockPeer::MockPeer() : state_{std::make_shared<State>()} {}

void MockPeer::refuse_connect(error_code error) { state_->set(&State::connect_error, error); }
void MockPeer::allow_connect()
{
    state_->apply([](State& s) {
        s.connect_error.reset();
        s.connect_delay = {};
    });
}
void MockPeer::delay_connect(Duration delay) { state_->set(&State::connect_delay, delay); }

void MockPeer::deliver(std::string_view text) { state_->add({.payload = std::string{text}}); }
void MockPeer::deliver(std::span<const std::byte> bytes)
{
    state_->add({.kind = MessageKind::binary, .payload = to_string(bytes)});
}
void MockPeer::deliver_after(Duration delay, std::string_view text)
{
    state_->apply([&](State& s) { s.delayed.push_back({delay, {.payload = std::string{text}}}); });
}
void MockPeer::limit_reads(std::size_t messages) { state_->set(&State::read_limit, messages); }

void MockPeer::fail_read(error_code error)
{
    state_->add({.what = Incoming::Kind::failure, .error = error});
}
void MockPeer::fail_write(error_code error, std::size_t messages)
{
    state_->set(&State::write_failure, State::WriteFailure{error, messages});
}
void MockPeer::drop()
{
    state_->apply([](State& s) {
        s.incoming.push_back({.what = Incoming::Kind::failure, .error = asio::error::eof});
        s.is_dropped = s.signals != nullptr;
    });
}
void MockPeer::close(std::uint16_t code, std::string_view reason)
{
    state_->add({.what = Incoming::Kind::close, .payload = std::string{reason}, .code = code});
}
void MockPeer::fail_operation(std::size_t n, error_code error)
{
    state_->apply([&](State& s) {
        s.failing_operation = n;
        s.operation_error = error;
    });
}

void MockPeer::set_connection_info(ConnectionInfo info)
{
    state_->set(&State::connection_info, std::move(info));
}

void MockPeer::delay_close(Duration delay) { state_->set(&State::close_delay, delay); }
void MockPeer::ignore_abort() { state_->set(&State::ignores_abort, true); }
void MockPeer::release_abort() { state_->set(&State::ignores_abort, false); }
void MockPeer::hold_writes() { state_->set(&State::holds_writes, true); }
void MockPeer::release_writes() { state_->set(&State::holds_writes, false); }

void MockPeer::delay_pongs(Duration delay) { state_->set(&State::pong_delay, delay); }
void MockPeer::send_bytes() { state_->add({.what = Incoming::Kind::bytes}); }

void MockPeer::forget()
{
    state_->apply([](State& s) {
        s.sent.clear();
        s.trace.clear();
    });
}
void MockPeer::advance(Duration duration)
{
    if (const auto clock = state_->get(&State::clock))
        clock->advance(duration);
}
std::vector<std::string> MockPeer::sent() const { return state_->look(&State::sent); }
std::size_t MockPeer::write_count() const { return state_->look(&State::write_count); }
std::size_t MockPeer::connect_count() const { return state_->look(&State::connect_count); }
bool MockPeer::was_closed() const { return state_->look(&State::closed).has_value(); }
std::uint16_t MockPeer::close_code() const
{
    const auto closed = state_->look(&State::closed);
    return closed ? closed->code : std::uint16_t{0};
}
std::string MockPeer::close_reason() const
{
    const auto closed = state_->look(&State::closed);
    return closed ? closed->reason : std::string{};
}
std::vector<std::string> MockPeer::trace() const { return state_->look(&State::trace); }

// --- the transport

struct Mock::Impl {
    using State = MockPeer::State;

    explicit Impl(std::shared_ptr<State> s) : state{std::move(s)} {}

    /// Begins an operation: adds it to the trace, and fails it if the test wants that.
    void enter(Context ctx, const std::string& what)
    {
        std::lock_guard lock{state->mutex};
        const std::chrono::duration<double> now = ctx.now().time_since_epoch();
        state->trace.push_back(fmt::format("{:.3f} {}", now.count(), what));
        if (state->failing_operation != 0 && --state->failing_operation == 0)
            throw failed(what.c_str(), state->operation_error);
    }

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
        state->is_dropped = false;
        ++state->connect_count;
    }

    [[nodiscard]] static bool may_write(const State& s) { return !s.holds_writes || s.is_dropped; }
    [[nodiscard]] bool must_end() const { return is_aborted && !state->get(&State::ignores_abort); }

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

    /// Queues delayed input that is due. Returns when the next is due.
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
    impl.begin_connection(ctx);
    impl.enter(ctx, "connect");
    const auto delay = impl.state->get(&MockPeer::State::connect_delay);
    co_await impl.wait(ctx, impl.signals->connect, deadline_after(ctx.now(), delay),
                       [](const MockPeer::State& s) { return s.connect_delay == Duration{}; });
    if (const auto error = impl.state->get(&MockPeer::State::connect_error))
        throw failed("connect", *error, Error::connect_failed);
}

Task<> Mock::read(Context ctx, Sink& sink)
{
    auto& impl = *impl_;
    auto& s = *impl.state;
    impl.enter(ctx, "read");
    const auto has_incoming = [](const MockPeer::State& state) { return !state.incoming.empty(); };
    const auto has_any = [&](const MockPeer::State& state) {
        return has_incoming(state) || !state.delayed.empty();
    };
    do {
        const auto next = impl.admit_delayed(ctx.now());
        (void)co_await impl.wait(ctx, impl.signals->read, next, has_any);
    } while (!s.ask(has_incoming));
    std::lock_guard lock{s.mutex};
    for (std::size_t count = 0; count < s.read_limit && !s.incoming.empty(); ++count) {
        auto& front = s.incoming.front();
        const auto payload = std::as_bytes(std::span{front.payload});
        if (front.what == Incoming::Kind::message) {
            if (!sink.put(front.kind, payload))
                co_return;
            s.incoming.pop_front();
            continue;
        }
        if (front.what == Incoming::Kind::bytes || front.what == Incoming::Kind::pong) {
            sink.on_bytes();
            if (front.what == Incoming::Kind::pong)
                sink.on_pong(payload);
            s.incoming.pop_front();
            continue;
        }
        if (count != 0)
            co_return; // messages before it are delivered first
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
    }
    impl.enter(ctx, fmt::format("write {}", std::distance(batch.begin(), batch.end())));
    co_await impl.wait(ctx, impl.signals->write, TimePoint::max(), Impl::may_write);
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
    Incoming pong{.what = Incoming::Kind::pong, .payload = to_string(payload)};
    impl.enter(ctx, "ping");
    co_await impl.wait(ctx, impl.signals->ping, TimePoint::max(), Impl::may_write);
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
    impl.enter(ctx, fmt::format("close {}", reason.code));
    const auto delay = impl.state->get(&MockPeer::State::close_delay);
    co_await impl.wait(ctx, impl.signals->close, deadline_after(ctx.now(), delay),
                       [](const MockPeer::State& s) { return s.close_delay == Duration{}; });
    std::lock_guard lock{impl.state->mutex};
    impl.state->closed = std::move(reason);
}

ConnectionInfo Mock::connection_info()
{
    return impl_->state->get(&MockPeer::State::connection_info);
}

void Mock::abort() noexcept
{
    impl_->is_aborted = true;
    impl_->signals->set_all();
}

} // namespace sidecar
