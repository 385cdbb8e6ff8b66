// One application function, several transports: written against Feed, tested on the mock.
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <latch>
#include <poll.h>
#include <stdexcept>
#include <string>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

/// The application: asks for three numbers and adds them up. Not a template.
int sum_of_three(Feed& feed)
{
    feed.start(5s).value();
    feed.send("three, please").value();
    int sum = 0;
    for (int i = 0; i < 3; ++i) {
        const auto message = feed.receive(5s).value();
        int number = 0;
        const auto text = message.text();
        std::from_chars(text.data(), text.data() + text.size(), number);
        sum += number;
    }
    CHECK(feed.stop().joined);
    return sum;
}

std::string url_of(const RawPeer& peer) { return fmt::format("ws://127.0.0.1:{}/", peer.port()); }

/// The next event or failure of a program that waits only for the descriptor.
Result<Event> next_when_readable(Feed& feed)
{
    const int fd = feed.native_handle().value();
    for (;;) {
        pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
        if (::poll(&entry, 1, 20'000) != 1)
            throw std::runtime_error{"the descriptor does not get readable"};
        auto event = feed.next_event({});
        if (event || !(event.error() == Error::timed_out))
            return event;
    }
}

} // namespace

TEST_CASE("feed: one application function runs on the mock, on TCP and on WebSocket")
{
    MockPeer mock;
    for (const auto* number : {"1", "2", "3"})
        mock.deliver(number);
    Sidecar<Mock> on_mock{{.peer = mock}, silent_options()};
    CHECK(sum_of_three(on_mock) == 6);
    CHECK(mock.sent().at(0) == "three, please");

    RawPeer lines{[](RawConnection& c) {
        (void)c.read_until("please\n");
        c.send("10\n20\n30\n");
        c.wait_for_end();
    }};
    Sidecar<Tcp<Lines>> on_tcp{{.host = "127.0.0.1", .port = lines.port()}, silent_options()};
    CHECK(sum_of_three(on_tcp) == 60);

    RawPeer websocket{[](RawConnection& c) {
        (void)c.accept_websocket();
        c.send(frame(0x81, "100") + frame(0x81, "200") + frame(0x81, "300"));
        c.wait_for_end();
    }};
    Sidecar<WebSocket> on_websocket{{.url = url_of(websocket)}, silent_options({.close = 100ms})};
    CHECK(sum_of_three(on_websocket) == 600);
}

TEST_CASE("feed: links of two transports bring their messages through one inbox")
{
    RawPeer websocket{[](RawConnection& c) {
        (void)c.accept_websocket();
        c.send(frame(0x81, "from the WebSocket"));
        c.wait_for_end();
    }};
    RawPeer lines{[](RawConnection& c) {
        (void)c.read_until("hello\n");
        c.send("from the lines\n");
        c.wait_for_end();
    }};
    Sidecar<WebSocket> sidecar{{.url = url_of(websocket)}, silent_options({.close = 100ms})};
    Feed& feed = sidecar;
    REQUIRE(feed.start(5s));
    CHECK(feed.receive(5s).value().text() == "from the WebSocket");
    auto second = feed.open<Tcp<Lines>>({.host = "127.0.0.1", .port = lines.port()}, 5s).value();
    CHECK(second.send(std::string_view{"two\nlines"}).error() == Error::bad_message);
    REQUIRE(second.send("hello"));
    const auto message = feed.receive(5s).value();
    CHECK(message.text() == "from the lines");
    CHECK(message.link() == second.id());
    CHECK(feed.link().value().id() == LinkId{0});
    CHECK(feed.stats().sends_refused == 1);
}

TEST_CASE("feed: a link on another kind of clock is refused, and says why")
{
    MockPeer peer;
    Sidecar<Mock> virtual_feed{{.peer = peer}, silent_options()};
    REQUIRE(virtual_feed.start(1s));
    const auto real = virtual_feed.open<Tcp<Lines>>({.host = "127.0.0.1", .port = 1}, 1s);
    REQUIRE_FALSE(real);
    CHECK(real.error() == Error::bad_options);
    CHECK(real.error().message().find("clock") != std::string::npos);
}

TEST_CASE("feed: a link may have an outbox of its own size")
{
    MockPeer peer, other;
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
    REQUIRE(feed.start(1s));
    other.hold_writes();
    auto link = feed.open({.peer = other}, 1s, {.outbox = {.bytes = 4096, .messages = 2}}).value();
    Result<void> sent;
    int accepted = 0;
    while ((sent = link.send("x")) && accepted < 100)
        ++accepted;
    REQUIRE_FALSE(sent);
    CHECK(sent.error() == Error::full);
    CHECK(accepted <= 4);
    CHECK(feed.send("the first link's has its room"));
    const auto bad = feed.open({.peer = MockPeer{}}, 1s, {.outbox = {.bytes = 1, .messages = 1}});
    CHECK(bad.error() == Error::bad_options);
}

TEST_CASE(
    "start_in_background: `up` and the messages come through the descriptor, on each transport")
{
    const auto use = [](Feed& feed) {
        CHECK(feed.native_handle());
        REQUIRE(feed.start_in_background());
        CHECK(next_when_readable(feed)->kind == Event::Kind::up);
        CHECK(feed.send("hello"));
        CHECK(next_when_readable(feed)->message.text() == "welcome");
        CHECK(feed.stop().joined);
    };
    RawPeer lines{[](RawConnection& c) {
        (void)c.read_until("hello\n");
        c.send("welcome\n");
        c.wait_for_end();
    }};
    Sidecar<Tcp<Lines>> on_tcp{{.host = "127.0.0.1", .port = lines.port()}, silent_options()};
    use(on_tcp);
    RawPeer websocket{[](RawConnection& c) {
        (void)c.accept_websocket();
        c.send(frame(0x81, "welcome"));
        c.wait_for_end();
    }};
    Sidecar<WebSocket> on_websocket{{.url = url_of(websocket)}, silent_options({.close = 100ms})};
    use(on_websocket);
}

TEST_CASE("start_in_background: a refusal, a mute server and a bad address are failures in time")
{
    std::uint16_t unused = 0;
    {
        RawPeer peer{[](RawConnection&) {}};
        unused = peer.port();
    }
    Sidecar<Tcp<Lines>> refused{{.host = "127.0.0.1", .port = unused}, silent_options()};
    REQUIRE(refused.start_in_background());
    CHECK(next_when_readable(refused).error() == Error::connect_failed);
    CHECK(refused.wait_started(1s).error() == Error::connect_failed);

    RawPeer peer{[](RawConnection& c) { c.wait_for_end(); }};
    Sidecar<WebSocket> mute{{.url = url_of(peer)}, silent_options()};
    REQUIRE(mute.start_in_background(100ms));
    CHECK(mute.state() == State::starting);
    CHECK(next_when_readable(mute).error() == Error::connect_failed);
    CHECK(mute.wait_started(1s).error() == Error::timed_out);

    Sidecar<WebSocket> wrong{{.url = "http://example.com"}, silent_options()};
    CHECK(wrong.start_in_background().error() == Error::bad_address);
}

TEST_CASE("writable: comes in the middle of a batch that the peer takes slowly")
{
    constexpr std::size_t queue = 8u << 20;
    std::latch begin{1}, end{1};
    RawPeer peer{[&](RawConnection& c) {
        begin.wait();
        (void)c.read(6u << 20); // more than half of the queue, and less than the batch
        end.wait();
    }};
    Sidecar<Tcp<Lines>> feed{
        {.host = "127.0.0.1", .port = peer.port()},
        silenced({.outbox = {.bytes = queue}, .stop = {.drain = 0s, .close = 0s}})};
    REQUIRE(feed.start(5s));
    CHECK(next_when_readable(feed)->kind == Event::Kind::up);
    const std::string message(std::size_t{64} << 10, 'x');
    // The system takes some of it; it is full when nothing moves any more
    while (feed.send(message, 200ms))
        ;
    CHECK(feed.send(message).error() == Error::full);
    CHECK(feed.next_event({}).error() == Error::timed_out);
    begin.count_down();
    CHECK(next_when_readable(feed)->kind == Event::Kind::writable);
    CHECK(feed.stats().outbox_bytes > 0);
    CHECK(feed.send(message));
    CHECK(feed.stop().joined);
    end.count_down();
}
