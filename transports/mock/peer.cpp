#include "script.hpp"

#include <boost/asio/error.hpp>

namespace sidecar {

namespace asio = boost::asio;
using mock::Incoming;

MockPeer::MockPeer() : state_{std::make_shared<State>()} {}

void MockPeer::refuse_connect(error_code error)
{
    state_->tell([&](State& s) { s.connect_error = error; });
}
void MockPeer::allow_connect()
{
    state_->tell([](State& s) {
        s.connect_error.reset();
        s.connect_delay = {};
    });
}
void MockPeer::delay_connect(Duration delay)
{
    state_->tell([&](State& s) { s.connect_delay = delay; });
}

void MockPeer::deliver(std::string_view text)
{
    state_->tell(
        [&](State& s) { s.incoming.push_back({.payload = std::string{text}, .error = {}}); });
}
void MockPeer::deliver(std::span<const std::byte> bytes)
{
    const MessageView view{{}, MessageKind::bytes, bytes};
    state_->tell([&](State& s) {
        s.incoming.push_back(
            {.kind = MessageKind::bytes, .payload = std::string{view.text()}, .error = {}});
    });
}
void MockPeer::deliver_after(Duration delay, std::string_view text)
{
    state_->tell([&](State& s) {
        s.delayed.push_back({delay, {.payload = std::string{text}, .error = {}}});
    });
}
void MockPeer::limit_reads(std::size_t messages)
{
    state_->tell([&](State& s) { s.read_limit = messages; });
}

void MockPeer::fail_read(error_code error)
{
    state_->tell([&](State& s) {
        s.incoming.push_back({.what = Incoming::Kind::failure, .payload = {}, .error = error});
    });
}
void MockPeer::fail_write(error_code error, std::size_t messages)
{
    state_->tell([&](State& s) { s.write_failure = {error, messages}; });
}
void MockPeer::drop()
{
    state_->tell([](State& s) {
        s.incoming.push_back(
            {.what = Incoming::Kind::failure, .payload = {}, .error = asio::error::eof});
        s.is_dropped = s.signals != nullptr;
    });
}
void MockPeer::close(std::uint16_t code, std::string_view reason)
{
    state_->tell([&](State& s) {
        s.incoming.push_back({.what = Incoming::Kind::close,
                              .payload = std::string{reason},
                              .error = {},
                              .code = code});
    });
}
void MockPeer::fail_operation(std::size_t n, error_code error)
{
    state_->tell([&](State& s) {
        s.failing_operation = n;
        s.operation_error = error;
    });
}

void MockPeer::delay_close(Duration delay)
{
    state_->tell([&](State& s) { s.close_delay = delay; });
}
void MockPeer::ignore_abort()
{
    state_->tell([](State& s) { s.ignores_abort = true; });
}
void MockPeer::release_abort()
{
    state_->tell([](State& s) { s.ignores_abort = false; });
}
void MockPeer::hold_writes()
{
    state_->tell([](State& s) { s.holds_writes = true; });
}
void MockPeer::release_writes()
{
    state_->tell([](State& s) { s.holds_writes = false; });
}

void MockPeer::delay_pongs(Duration delay)
{
    state_->tell([&](State& s) { s.pong_delay = delay; });
}
void MockPeer::send_bytes()
{
    state_->tell([](State& s) {
        s.incoming.push_back({.what = Incoming::Kind::bytes, .payload = {}, .error = {}});
    });
}

void MockPeer::forget()
{
    state_->tell([](State& s) {
        s.sent.clear();
        s.trace.clear();
    });
}
std::vector<std::string> MockPeer::sent() const
{
    return state_->ask([](const State& s) { return s.sent; });
}
std::size_t MockPeer::write_count() const
{
    return state_->ask([](const State& s) { return s.write_count; });
}
std::size_t MockPeer::connect_count() const
{
    return state_->ask([](const State& s) { return s.connect_count; });
}
bool MockPeer::was_closed() const
{
    return state_->ask([](const State& s) { return s.closed.has_value(); });
}
std::uint16_t MockPeer::close_code() const
{
    return state_->ask([](const State& s) { return s.closed.value_or(0); });
}
std::vector<std::string> MockPeer::trace() const
{
    return state_->ask([](const State& s) { return s.trace; });
}

} // namespace sidecar
