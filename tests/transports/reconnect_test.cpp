// Links that come back, on real sockets: servers that restart, that throw out whom they accept, that
// break in the middle of a message.
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <atomic>
#include <optional>
#include <string>
#include <vector>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

/// Waits as long as the window allows, so that its growth can be seen.
Reconnect quick()
{
    return {.window = 4ms, .max_window = 64ms, .random = [] { return UINT64_MAX; }};
}

Options coming_back(Reconnect reconnect = quick())
{
    return silenced({.reconnect = std::move(reconnect)});
}

} // namespace

TEST_CASE("reconnect on sockets: a server that goes away, each connection with its messages")
{
    std::atomic<int> served{0};
    RawPeer peer{[&](RawConnection& c) {
        (void)c.accept_websocket();
        const auto text = fmt::format("hello {}", ++served);
        c.send(frame(0x81, text));
        if (served < 4)
            c.send(frame(0x88, "\x03\xe9")); // 1001, going away
        c.wait_for_end();
    }};
    Sidecar<WebSocket> feed{{.url = peer.url()}, coming_back()};
    REQUIRE(feed.start(10s));
    for (std::uint32_t connection = 1; connection <= 4; ++connection) {
        const auto message = feed.receive(10s);
        REQUIRE(message);
        CHECK(message->text() == fmt::format("hello {}", connection));
        CHECK(message->connection() == connection);
        if (connection < 4) {
            const auto down = feed.receive(10s);
            REQUIRE_FALSE(down);
            CHECK(down.error().close_code() == 1001);
        }
    }
    CHECK(feed.stop().joined); // the peer answers no goodbye
}

TEST_CASE("reconnect on sockets: the server is gone, and another one of the list takes over")
{
    std::optional<RawPeer> first{std::in_place, [](RawConnection& c) {
                                     c.send("from the first\n");
                                     c.wait_for_end();
                                 }};
    RawPeer second{[](RawConnection& c) {
        c.send("from the second\n");
        c.wait_for_end();
    }};
    using Transport = Tcp<Lines>;
    const std::vector<std::uint16_t> ports{first->port(), second.port()};
    std::vector<std::uint32_t> attempts; // the loop's thread
    const OptionsProvider<Transport> fresh = [&](Context,
                                                 Attempt attempt) -> Task<Transport::Options> {
        attempts.push_back(attempt.number);
        Transport::Options options{.host = "127.0.0.1"};
        options.port = ports[attempt.number < 4 ? 0 : 1];
        co_return options;
    };
    Sidecar<Transport> feed{{.host = "127.0.0.1", .port = ports[0]}, coming_back(), fresh};
    REQUIRE(feed.start(10s));
    CHECK(feed.receive(10s)->text() == "from the first");
    first.reset();
    CHECK_FALSE(feed.receive(10s));
    const auto message = feed.receive(10s);
    REQUIRE(message);
    CHECK(message->text() == "from the second");
    CHECK(message->connection() == 2);
    CHECK(feed.stats().failed_attempts == 2);
    feed.stop();
    CHECK(attempts == std::vector<std::uint32_t>{1, 2, 3, 4});
}

TEST_CASE("reconnect on sockets: who is accepted and thrown out comes back ever more slowly")
{
    std::atomic<int> accepted{0};
    RawPeer peer{[&](RawConnection& c) {
        (void)c.accept_websocket();
        ++accepted;
        c.reset();
    }};
    Sidecar<WebSocket> feed{{.url = peer.url()}, coming_back()};
    REQUIRE(feed.start(10s));
    std::vector<Duration> waits;
    std::uint32_t connections = 0;
    while (waits.size() < 7) {
        const auto event = feed.next_event(10s);
        REQUIRE(event);
        if (event->kind == Event::Kind::up)
            connections = event->connection;
        if (event->next_attempt)
            waits.push_back(*event->next_attempt - event->at);
    }
    // The event has the time at which its turn of the loop began, before the decision: on a busy
    // machine long before.
    const std::vector<Duration> windows{4ms, 8ms, 16ms, 32ms, 64ms, 64ms, 64ms};
    for (std::size_t i = 0; i < windows.size(); ++i) {
        CHECK(waits[i] < windows[i] + 1s);
        CHECK(waits[i] > windows[i] - 4ms);
    }
    CHECK(connections >= 1);
    const auto report = feed.stop();
    CHECK(report.joined);
    const auto then = accepted.load();
    CHECK(feed.receive(100ms).error() == Error::stopped);
    CHECK(accepted <= then + 1); // one may have been on its way
}

TEST_CASE("reconnect on sockets: half a message never comes, whether copied or received in place")
{
    for (const std::size_t size : {100u, 200'000u}) {
        std::atomic<int> served{0};
        RawPeer peer{[&](RawConnection& c) {
            (void)c.accept_websocket();
            const auto whole = frame(0x81, "whole");
            const auto half = frame(0x82, std::string(size, 'h'));
            c.send(whole + half.substr(0, ++served < 3 ? half.size() / 2 : half.size()));
            if (served < 3)
                return;
            c.wait_for_end();
        }};
        Sidecar<WebSocket> feed{{.url = peer.url()}, coming_back()};
        REQUIRE(feed.start(10s));
        for (int i = 0; i < 3; ++i) {
            CHECK(feed.receive(10s)->text() == "whole");
            const auto next = feed.receive(10s);
            CHECK(next.has_value() == (i == 2));
            if (next)
                CHECK(next->size() == size);
        }
        const auto stats = feed.stats();
        CHECK(stats.messages_received == stats.messages_taken + stats.inbox_messages);
        feed.stop();
    }
}

TEST_CASE("reconnect on sockets: a refusal that cannot heal is the end, one that can is not")
{
    std::atomic<int> asked{0};
    RawPeer peer{[&](RawConnection& c) {
        (void)c.read_until("\r\n\r\n");
        const auto* status = ++asked < 3 ? "503 Service Unavailable" : "403 Forbidden";
        c.send(fmt::format("HTTP/1.1 {}\r\nContent-Length: 0\r\n\r\n", status));
        c.wait_for_end();
    }};
    auto reconnect = quick();
    reconnect.at_start = true;
    Sidecar<WebSocket> feed{{.url = peer.url()}, coming_back(reconnect)};
    const auto started = feed.start(10s);
    REQUIRE_FALSE(started);
    CHECK(started.error().http_status() == 403);
    CHECK(asked == 3);
}

TEST_CASE("reconnect on sockets: a message above the limit ends the link for good, with its cause")
{
    constexpr std::size_t limit = 1000;
    const auto expect_end = [](Feed& feed, const char* why) {
        REQUIRE(feed.start(10s));
        CHECK(feed.receive(10s)->text() == "fits");
        const auto down = feed.next_event(10s);
        REQUIRE(down);
        CHECK(down->kind == Event::Kind::down);
        CHECK_FALSE(down->next_attempt);
        CHECK(down->failure == Error::too_big);
        CHECK(down->failure->message().find(why) != std::string::npos);
        CHECK(feed.receive(10s).error() == Error::too_big);
        CHECK(feed.stats().connections == 1);
        CHECK(feed.stats().failed_attempts == 0);
    };
    const std::string large(limit + 1, 'x');
    for (const bool is_cut : {false, true}) { // two fragments, of which neither is too large
        RawPeer peer{[&](RawConnection& c) {
            (void)c.accept_websocket();
            c.send(frame(0x81, "fits"));
            c.send(is_cut ? frame(0x01, large.substr(1)) + frame(0x80, "x") : frame(0x81, large));
            c.wait_for_end();
        }};
        Sidecar<WebSocket> feed{{.url = peer.url(), .max_message_bytes = limit}, coming_back()};
        expect_end(feed, "1000");
    }
    RawPeer lines{[&](RawConnection& c) {
        c.send("fits\n" + large + "\n");
        c.wait_for_end();
    }};
    Sidecar<Tcp<Lines>> by_lines{
        {.host = "127.0.0.1", .port = lines.port(), .max_message_bytes = limit}, coming_back()};
    expect_end(by_lines, "the option max_message_bytes is 1000");
    RawPeer prefixed{[&](RawConnection& c) {
        using namespace std::string_literals;
        c.send("\0\0\0\x04"s + "fits" + "\0\0\x03\xe9"s);
        c.wait_for_end();
    }};
    Sidecar<Tcp<LengthPrefix>> by_length{
        {.host = "127.0.0.1", .port = prefixed.port(), .max_message_bytes = limit}, coming_back()};
    expect_end(by_length, "a message of 1001 bytes; the option max_message_bytes is 1000");
}

TEST_CASE("reconnect on sockets: close code 1012 waits within max_window")
{
    RawPeer peer{[&](RawConnection& c) {
        (void)c.accept_websocket();
        c.send(frame(0x88, "\x03\xf4"));
        c.wait_for_end();
    }};
    Sidecar<WebSocket> feed{{.url = peer.url()}, coming_back()};
    REQUIRE(feed.start(10s));
    for (int downs = 0; downs < 5;) {
        const auto event = feed.next_event(10s);
        REQUIRE(event);
        if (event->kind != Event::Kind::down)
            continue;
        ++downs;
        CHECK(event->failure->close_code() == 1012);
        REQUIRE(event->next_attempt);
        // The event has the time at which its turn of the loop began
        CHECK(*event->next_attempt - event->at < 64ms + 1s);
    }
    CHECK(feed.stop().joined);
}

TEST_CASE("close on sockets: one link of several says goodbye alone, the others go on")
{
    RawPeer stays{[](RawConnection& c) {
        c.send("a\n");
        (void)c.read_until("on\n");
        c.send("b\n");
        c.wait_for_end();
    }};
    std::string heard;
    RawPeer goes{[&](RawConnection& c) {
        heard = c.read_until("bye\n");
        c.wait_for_end();
    }};
    using Transport = Tcp<Lines>;
    Sidecar<Transport> feed{{.host = "127.0.0.1", .port = stays.port()}, silenced({})};
    REQUIRE(feed.start(10s));
    auto link = feed.open({.host = "127.0.0.1", .port = goes.port()}, 10s).value();
    REQUIRE(link.send("bye"));
    CHECK(link.close(10s));
    REQUIRE(goes.wait_for_ended(1)); // `heard` belongs to the peer's thread until then
    CHECK(heard == "bye\n");
    CHECK(feed.receive(10s)->text() == "a");
    REQUIRE(feed.send("on"));
    CHECK(feed.receive(10s)->text() == "b");
    CHECK(feed.stop().clean());
}
