// What a WebSocket's connection is known by, and what its Close says.
#include "client_frames.hpp"
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>

namespace info_test {

using namespace sidecar;
using namespace std::chrono_literals;

using Client = Sidecar<WebSocket>;

/// Answers the handshake with these fields beside its own.
void accept_with(RawConnection& c, const std::string& fields)
{
    const auto request = c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Accept: "
           + websocket_accept(request) + "\r\n" + fields + "\r\n");
}

TEST_CASE("websocket connection_info: the answer's status and fields, the peer and the protocol")
{
    RawPeer peer{[](RawConnection& c) {
        accept_with(c, "Sec-WebSocket-Protocol: v2\r\nServer: feeder/1\r\n"
                       "Set-Cookie: id=hidden-one\r\nset-cookie: other=hidden-two\r\n");
        (void)read_until_end(c);
    }};
    std::string seen;
    Options link{.on_connected = [&seen](Context, Session& session) -> Task<> {
        seen = session.connection_info().header("set-cookie");
        co_return;
    }};
    Client feed{{.url = peer.url(), .subprotocols = {"v2"}}, silenced(link)};
    REQUIRE(feed.start(10s));
    auto connected = feed.link().value();
    const auto info = connected.connection_info();
    CHECK(seen == "id=hidden-one");
    CHECK(info.connection == 1);
    CHECK(info.peer == "127.0.0.1:" + std::to_string(peer.port()));
    CHECK(info.protocol == "v2");
    CHECK(info.http_status == 101);
    CHECK(info.headers.size() == 7);
    CHECK(info.header("server") == "feeder/1");
    CHECK(info.headers.at(5).second == "id=hidden-one");
    CHECK(info.headers.at(6).second == "other=hidden-two");
    CHECK_FALSE(info.tls);
    CHECK(feed.dump().find("hidden") == std::string::npos);
    (void)feed.stop();
    CHECK(connected.connection_info() == info);
}

TEST_CASE("websocket close: the peer gets the code and the reason of a stop and of a link's close")
{
    for (const bool by_link : {false, true}) {
        UntilEnd read;
        {
            RawPeer peer{[&](RawConnection& c) {
                c.accept_websocket();
                for (auto one = read_client_frame(c);; one = read_client_frame(c)) {
                    read.frames.push_back(one);
                    if (one.is_close())
                        return c.send(frame(0x88, one.payload));
                }
            }};
            Client feed{{.url = peer.url()}, silent_options()};
            REQUIRE(feed.start(10s));
            REQUIRE(feed.send("last"));
            const CloseReason reason{.code = 4001, .reason = "moved \xc3\xa0 b"};
            if (by_link)
                CHECK(feed.link().value().close(10s, reason));
            const auto report = by_link ? feed.stop() : feed.stop(reason);
            CHECK(report.clean());
            CHECK_FALSE(report.first_error);
            (void)peer.wait_for_ended(1);
        }
        REQUIRE(read.frames.size() == 2);
        CHECK(read.frames[0].payload == "last");
        CHECK(read.frames[1].close_code() == 4001);
        CHECK(read.frames[1].payload.substr(2) == "moved \xc3\xa0 b");
    }
}

TEST_CASE("websocket close: the longest reason goes out whole")
{
    std::string got;
    {
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            const auto close = read_client_frame(c);
            got = close.payload.substr(2);
            c.send(frame(0x88, close.payload));
        }};
        Client feed{{.url = peer.url()}, silent_options()};
        REQUIRE(feed.start(10s));
        CHECK(feed.stop({.code = 3000, .reason = std::string(123, 'r')}).clean());
        (void)peer.wait_for_ended(1);
    }
    CHECK(got == std::string(123, 'r'));
}

} // namespace info_test
