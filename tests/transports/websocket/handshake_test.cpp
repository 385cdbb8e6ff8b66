// From the URL to the first frame behind the handshake's answer.
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <latch>
#include <memory>
#include <sys/socket.h>

namespace handshake_test {

using namespace sidecar;
using namespace std::chrono_literals;

TEST_CASE("websocket: a URL that cannot be used is told from start, with the reason")
{
    const auto why = [](std::string url) {
        Sidecar<WebSocket> feed{{.url = std::move(url)}, silent_options()};
        const auto started = feed.start(1s);
        REQUIRE_FALSE(started);
        CHECK(started.error() == Error::bad_address);
        return started.error().message();
    };
    CHECK(why("nonsense").find("nonsense") != std::string::npos);
    CHECK(why("http://x/").find("scheme") != std::string::npos);
    CHECK(why("wss:///path").find("host") != std::string::npos);
    CHECK(why("ws+unix:").find("path") != std::string::npos);
    CHECK(why("ws://x:99999/").find("99999") != std::string::npos);
    CHECK(why("ws:///path").find("host") != std::string::npos);
    CHECK(why("ws://a:b@x/").find("Authorization") != std::string::npos);
    CHECK(why("ws://x/#f").find("fragment") != std::string::npos);
    Sidecar<WebSocket> feed{{.url = "ws://x/", .headers = {{"A", "b\r\nC: d"}}}, silent_options()};
    CHECK(feed.start(1s).error() == Error::bad_options);
}

TEST_CASE("websocket: the request names host, resource and the headers asked for")
{
    std::string request;
    {
        RawPeer peer{[&](RawConnection& c) {
                         request = c.accept_websocket();
                         c.wait_for_end();
                     },
                     true};
        Sidecar<WebSocket> feed{
            {.url = peer.url() + "a%20b?c=d", .headers = {{"Authorization", "Bearer x"}}},
            silent_options()};
        REQUIRE(feed.start(10s));
    }
    CHECK(request.starts_with("GET /a%20b?c=d HTTP/1.1\r\n"));
    CHECK(request.find("Host: [::1]:") != std::string::npos);
    CHECK(request.find("Authorization: Bearer x\r\n") != std::string::npos);
}

TEST_CASE("websocket: refused, unresolvable, refusing and nonsensical peers are told apart")
{
    std::uint16_t closed_port = 0;
    {
        RawPeer gone{[](RawConnection&) {}};
        closed_port = gone.port();
    }
    Sidecar<WebSocket> refused{{.url = "ws://127.0.0.1:" + std::to_string(closed_port)},
                               silent_options()};
    const auto failure = refused.start(10s).error();
    CHECK(failure == Error::connect_failed);
    CHECK(failure.cause() == boost::asio::error::connection_refused);

    auto options = silent_options();
    options.lookup = [](const std::string&) -> std::vector<boost::asio::ip::address> {
        throw std::runtime_error{"no such name"};
    };
    Sidecar<WebSocket> nowhere{{.url = "ws://nowhere.example/"}, options};
    const auto unresolved = nowhere.start(10s).error();
    CHECK(unresolved == Error::lookup_failed);
    CHECK(unresolved.message().find("nowhere.example") != std::string::npos);
    CHECK(unresolved.message().find("no such name") != std::string::npos);

    const auto handshake = [](std::string answer) {
        RawPeer peer{[&](RawConnection& c) {
            c.read_until("\r\n\r\n");
            c.send(answer);
            c.half_close();
            c.wait_for_end();
        }};
        Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options()};
        return feed.start(10s).error();
    };
    const auto forbidden = handshake("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    CHECK(forbidden == Error::handshake_refused);
    CHECK(forbidden.message().find("403 Forbidden") != std::string::npos);
    CHECK(handshake("SSH-2.0-OpenSSH_9.2\r\n\r\n") == Error::handshake_refused);
    CHECK(
        handshake(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        == Error::handshake_refused);
    CHECK(handshake("HTTP/1.1 101 Switching Protocols\r\nX: " + std::string(100'000, 'x'))
          == Error::handshake_refused);
    CHECK(handshake("") == Error::connect_failed);
}

TEST_CASE("websocket: a handshake that is never answered ends at start's timeout, which says where "
          "it stood")
{
    RawPeer peer{[](RawConnection& c) { c.wait_for_end(); }};
    Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options()};
    const auto late = feed.start(50ms);
    CHECK(late.error() == Error::timed_out);
    CHECK(late.error().message().find("in the handshake") != std::string::npos);
}

TEST_CASE("websocket: names are resolved by the lookup hook, and every address is tried")
{
    RawPeer peer{[](RawConnection& c) {
        c.accept_websocket();
        c.wait_for_end();
    }};
    auto options = silent_options();
    options.lookup = [](const std::string&) {
        return std::vector{boost::asio::ip::make_address("127.0.0.2"),
                           boost::asio::ip::make_address("127.0.0.1")};
    };
    Sidecar<WebSocket> feed{{.url = "ws://name.example:" + std::to_string(peer.port())}, options};
    CHECK(feed.start(10s));
}

TEST_CASE("websocket: a look-up that never returns holds up neither start's timeout nor the stop")
{
    auto release = std::make_shared<std::latch>(1);
    auto options = silent_options();
    options.lookup = [release](const std::string&) {
        release->wait();
        return std::vector<boost::asio::ip::address>{};
    };
    {
        Sidecar<WebSocket> feed{{.url = "ws://slow.example/"}, options};
        const auto began = std::chrono::steady_clock::now();
        const auto late = feed.start(50ms);
        CHECK(late.error() == Error::timed_out);
        CHECK(late.error().message().find("resolving") != std::string::npos);
        CHECK(std::chrono::steady_clock::now() - began < 1s);
    }
    release->count_down();
}

TEST_CASE("websocket: frames that come in the same segment as the handshake's answer are not lost")
{
    RawPeer peer{[](RawConnection& c) {
        // Both parts in one write, as a busy server sends them: hold the answer back by corking.
        const int on = 1, off = 0;
        ::setsockopt(c.fd(), 6, 3, &on, sizeof on); // TCP_CORK
        c.accept_websocket();
        c.send(frame(0x81, "early") + frame(0x89, "p") + frame(0x81, "bird"));
        ::setsockopt(c.fd(), 6, 3, &off, sizeof off);
        c.wait_for_end();
    }};
    Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options()};
    REQUIRE(feed.start(10s));
    CHECK(feed.receive(10s).value().text() == "early");
    CHECK(feed.receive(10s).value().text() == "bird");
}

TEST_CASE(
    "websocket: frames behind a long answer to the handshake are not lost, however long it is")
{
    for (const std::size_t padding : {0u, 1400u, 1500u, 3000u, 7000u}) {
        CAPTURE(padding);
        RawPeer peer{[&](RawConnection& c) {
            const auto request = c.read_until("\r\n\r\n");
            std::string text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: "
                               "websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                               + websocket_accept(request)
                               + "\r\nX-Padding: " + std::string(padding, 'p') + "\r\n\r\n";
            for (int i = 0; i < 5; ++i)
                text += frame(0x81, std::to_string(i));
            c.send(text);
            c.wait_for_end();
        }};
        Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options()};
        REQUIRE(feed.start(10s));
        for (int i = 0; i < 5; ++i) {
            const auto message = feed.receive(10s);
            REQUIRE(message.has_value());
            CHECK(message->text() == std::to_string(i));
        }
    }
}

} // namespace handshake_test
