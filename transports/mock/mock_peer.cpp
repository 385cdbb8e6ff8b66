// The peer of a Mock, and its connections, as the test sees them.
#include "player.hpp"
#include "state.hpp"

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace sidecar {

namespace asio = boost::asio;
using mock::Incoming, mock::State, mock::failure;

MockPeer::MockPeer() : state_{std::make_shared<State>()} {}

// --- hooks

void MockPeer::on_connect(ConnectHook hook)
{
    state_->set(&State::on_connect,
                hook ? std::make_shared<const ConnectHook>(std::move(hook)) : nullptr);
}
void MockPeer::on_message(MessageHook hook)
{
    state_->set(&State::on_message,
                hook ? std::make_shared<const MessageHook>(std::move(hook)) : nullptr);
}

// --- scripts

void MockPeer::play(MockScript script)
{
    auto player = std::make_shared<mock::Player>(*state_, std::move(script.steps_));
    state_->apply([&](State& s) {
        s.player.swap(player);
        s.wakes_reader = true;
    });
}

Result<void> MockPeer::verify() const
{
    constexpr std::size_t lines_before = 10, lines_after = 4;
    state_->settle();
    const auto player = state_->get(&State::player);
    const auto verdict = player ? player->verdict() : std::nullopt;
    if (!verdict)
        return {};
    auto text = verdict->why;
    std::lock_guard lock{state_->mutex};
    const auto& trace = state_->trace;
    const auto at = std::min(verdict->trace_size, trace.size());
    const auto end = std::min(trace.size(), at + lines_after);
    for (auto line = at - std::min(at, lines_before); line != end; ++line)
        text += "\n  " + trace[line];
    return Failure{Error::script_failed,
                   {.attempted = "verify the script", .endpoint = "mock", .explanation = text}};
}

// --- what the peer does

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
    state_->add({.kind = MessageKind::binary, .payload = mock::to_string(bytes)});
}
void MockPeer::deliver(std::string_view text, const Envelope& envelope)
{
    state_->add({.payload = std::string{text}, .envelope = mock::OwnedEnvelope{envelope}});
}
void MockPeer::deliver_after(Duration delay, std::string_view text)
{
    state_->add_after(delay, {.payload = std::string{text}});
}
void MockPeer::limit_reads(std::size_t messages) { state_->set(&State::read_limit, messages); }

void MockPeer::fail_read(error_code error) { state_->end(0, failure("read", error), false); }
void MockPeer::fail_write(error_code error, std::size_t messages)
{
    state_->set(&State::write_failure, State::WriteFailure{error, messages});
}
void MockPeer::drop() { state_->end(0, failure("read", asio::error::eof), true); }
void MockPeer::close(std::uint16_t code, std::string_view reason)
{
    state_->end(0, mock::closed(code, reason), false);
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

void MockPeer::advance(Duration duration)
{
    if (const auto clock = state_->get(&State::clock))
        clock->advance(duration);
}

// --- what the peer has seen

std::optional<MockConnection> MockPeer::connection() const
{
    return state_->look([&](const State& s) {
        return s.current.is_up
                   ? std::optional{MockConnection{state_, s.current.number, s.current.token}}
                   : std::nullopt;
    });
}
std::vector<MockConnectionLog> MockPeer::connections() const
{
    return state_->look([](const State& s) { return std::vector(s.logs.begin(), s.logs.end()); });
}
void MockPeer::forget()
{
    state_->apply([](State& s) {
        const bool keeps_last = !s.logs.empty() && s.logs.back().number == s.current.number;
        while (s.logs.size() > (keeps_last ? 1u : 0u))
            s.logs.pop_front();
        if (keeps_last)
            s.logs.back().written.clear();
        s.trace.clear();
    });
}
std::vector<std::string> MockPeer::sent() const
{
    std::vector<std::string> all;
    state_->settle();
    std::lock_guard lock{state_->mutex};
    for (const auto& log : state_->logs)
        for (const auto& message : log.written)
            if (message.is_whole)
                all.push_back(message.text);
    return all;
}
std::vector<std::string> MockPeer::written() const
{
    std::vector<std::string> all;
    state_->settle();
    std::lock_guard lock{state_->mutex};
    for (const auto& log : state_->logs) {
        for (const auto& message : log.written)
            all.push_back(fmt::format("{}:{}{}", log.number, message.is_whole ? "" : "half of ",
                                      message.text));
        if (log.closing)
            all.push_back(fmt::format("{}:close", log.number));
    }
    return all;
}
std::size_t MockPeer::count(std::string_view entry) const
{
    const auto all = written();
    return static_cast<std::size_t>(std::count(all.begin(), all.end(), entry));
}
std::size_t MockPeer::write_count() const
{
    return state_->look([](const State& s) { return s.write_count; });
}
std::size_t MockPeer::connect_count() const
{
    return state_->look([](const State& s) { return s.connect_count; });
}
bool MockPeer::was_closed() const
{
    return state_->look([](const State& s) { return s.closed.has_value(); });
}
std::uint16_t MockPeer::close_code() const
{
    return state_->look(
        [](const State& s) { return s.closed ? s.closed->code : std::uint16_t{0}; });
}
std::string MockPeer::close_reason() const
{
    return state_->look([](const State& s) { return s.closed ? s.closed->reason : std::string{}; });
}
std::vector<std::string> MockPeer::trace() const
{
    return state_->look([](const State& s) { return s.trace; });
}

std::string_view to_string(MockConnectionLog::End end) noexcept
{
    using End = MockConnectionLog::End;
    switch (end) {
    case End::open: return "open";
    case End::refused: return "refused";
    case End::failed: return "failed";
    case End::closed_by_peer: return "closed by the peer";
    case End::closed_by_sidecar: return "closed by the sidecar";
    case End::aborted: return "aborted by the sidecar";
    }
    return "?";
}

// --- one connection

MockConnection::MockConnection(std::shared_ptr<State> state, std::uint32_t number,
                               std::string token)
    : state_{std::move(state)}, number_{number}, token_{std::move(token)}
{
}

bool MockConnection::is_open() const
{
    return state_->look([&](const State& s) { return s.can_receive(number_); });
}
MockConnectionLog MockConnection::log() const
{
    state_->settle();
    std::lock_guard lock{state_->mutex};
    const auto* log = state_->log_of(number_);
    return log ? *log : MockConnectionLog{.number = number_, .token = token_};
}
MockPeer MockConnection::peer() const { return MockPeer{state_}; }

void MockConnection::deliver(std::string_view text)
{
    state_->add({.payload = std::string{text}, .connection = number_});
}
void MockConnection::deliver(std::span<const std::byte> bytes)
{
    state_->add(
        {.kind = MessageKind::binary, .payload = mock::to_string(bytes), .connection = number_});
}
void MockConnection::deliver(std::string_view text, const Envelope& envelope)
{
    state_->add({.payload = std::string{text},
                 .envelope = mock::OwnedEnvelope{envelope},
                 .connection = number_});
}
void MockConnection::deliver_after(Duration delay, std::string_view text)
{
    state_->add_after(delay, {.payload = std::string{text}, .connection = number_});
}

void MockConnection::refuse()
{
    refuse(failure("connect", asio::error::connection_refused, Error::connect_failed));
}
void MockConnection::refuse(Failure why)
{
    change([&](State::Current& current) {
        if (!current.is_up)
            current.refusal = std::move(why);
    });
}
void MockConnection::drop() { fail(failure("read", asio::error::eof)); }
void MockConnection::reset() { fail(failure("read", asio::error::connection_reset)); }
void MockConnection::fail(Failure why) { state_->end(number_, std::move(why), true); }
void MockConnection::close(std::uint16_t code, std::string_view reason)
{
    state_->end(number_, mock::closed(code, reason), false);
}

void MockConnection::hold_writes()
{
    change([](State::Current& current) { current.holds_writes = true; });
}
void MockConnection::release_writes()
{
    change([](State::Current& current) { current.holds_writes = false; });
}
void MockConnection::go_silent()
{
    change([](State::Current& current) { current.go_silent(); });
}

void MockConnection::ignore_close()
{
    change([](State::Current& current) { current.ignores_close = true; });
}

template <class Change>
void MockConnection::change(Change change)
{
    state_->apply([&](State& s) {
        if (s.current.number == number_)
            change(s.current);
    });
}

} // namespace sidecar
