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
    auto link =
        feed.open({.peer = other}, 1s, {.outbox = QueueLimits{.bytes = 4096, .messages = 2}})
            .value();
    Result<void> sent;
    int accepted = 0;
    while ((sent = link.send("x")) && accepted < 100)
        ++accepted;
    REQUIRE_FALSE(sent);
    CHECK(sent.error() == Error::full);
    CHECK(accepted <= 4);
    CHECK(feed.send("the first link's has its room"));
    const auto bad =
        feed.open({.peer = MockPeer{}}, 1s, {.outbox = QueueLimits{.bytes = 1, .messages = 1}});
    CHECK(bad.error() == Error::bad_options);
}
