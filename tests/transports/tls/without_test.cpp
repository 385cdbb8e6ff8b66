// What asks for TLS where the library was built without it.
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"
#include "tls/tls.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>

#include <string>

namespace without_test {

using namespace sidecar;
using namespace std::chrono_literals;

template <class Transport>
Failure start_of(typename Transport::Options options)
{
    Sidecar<Transport> feed{std::move(options), silent_options()};
    return feed.start(20s).error();
}

void check_told(const Failure& failure, const std::string& endpoint)
{
    CHECK(failure == Error::bad_options);
    CHECK(failure.attempted() == "connect with TLS");
    CHECK(failure.endpoint() == endpoint);
    CHECK(failure.explanation().find("built without TLS") != std::string::npos);
}

TEST_CASE("without TLS: whatever asks for it is bad_options, before there is a socket")
{
    check_told(start_of<WebSocket>({.url = "wss://h.example/?token=s3cret"}),
               "wss://h.example/?token=***");
    check_told(start_of<WebSocket>({.url = "wss+unix:/run/feed.sock"}), "wss+unix:/run/feed.sock");
    check_told(start_of<Tcp<Lines>>({.host = "h.example", .port = 1, .tls = TlsOptions{}}),
               "h.example:1");
    check_told(
        start_of<Tcp<Lines>>(
            {.host = "h.example", .port = 1, .proxy = {.url = "https://u:s3cret@p.example"}}),
        "the proxy https://p.example:443");
}

TEST_CASE("without TLS: a server that asks for it is refused too")
{
    const auto failure = stream::prepare_tls_server({}, "wss://127.0.0.1:1").error();
    CHECK(failure == Error::bad_options);
    CHECK(failure.attempted() == "listen with TLS");
    CHECK(failure.endpoint() == "wss://127.0.0.1:1");
    CHECK(failure.explanation().find("built without TLS") != std::string::npos);
}

TEST_CASE("without TLS: a redirection to wss:// fails, and says where to and why")
{
    RawPeer peer{[](RawConnection& c) {
        c.read_until("\r\n\r\n");
        c.send("HTTP/1.1 301 Moved Permanently\r\nLocation: wss://h.example/\r\n\r\n");
        c.wait_for_end();
    }};
    const auto failure = start_of<WebSocket>({.url = peer.url(), .max_redirects = 1});
    check_told(failure, "wss://h.example/");
}

TEST_CASE("without TLS: what asks for none is served")
{
    RawPeer peer{[](RawConnection& c) {
        c.accept_websocket();
        c.send(frame(0x81, "hello"));
        c.wait_for_end();
    }};
    Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options()};
    REQUIRE(feed.start(20s));
    CHECK(feed.receive(20s).value().text() == "hello");
}

} // namespace without_test
