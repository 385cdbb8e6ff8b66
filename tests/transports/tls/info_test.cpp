// What a connection over TLS is known by.
#include "trial.hpp"

#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>

namespace tls_info_test {

using namespace sidecar;
using namespace std::chrono_literals;

/// Serves lines until the client's goodbye.
void serve(TlsConnection& c)
{
    c.send("hello\n");
    c.wait_for_goodbye();
    c.say_goodbye();
}

/// The facts once the first line has come.
ConnectionInfo info_of(LinesFeed& feed)
{
    feed.start(20s).value();
    feed.receive(20s).value();
    return feed.link().value().connection_info();
}

TEST_CASE("tls connection_info: version, cipher, ALPN and the certificate")
{
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        TlsPeer peer{{.version = version, .alpn = "lines/1"}, serve};
        auto tls = trusting();
        tls.alpn = {"lines/1"};
        LinesFeed feed{lines_to(peer.port(), tls), at_home()};
        const auto info = info_of(feed);
        CHECK(info.peer == "127.0.0.1:" + std::to_string(peer.port()));
        CHECK(info.protocol == "lines/1");
        CHECK(info.headers.empty());
        REQUIRE(info.tls);
        CHECK(info.tls->version == (version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2"));
        CHECK_FALSE(info.tls->cipher.empty());
        CHECK(info.tls->alpn == "lines/1");
        CHECK(info.tls->is_verified);
        CHECK_FALSE(info.tls->is_resumed);
        const auto& certificate = info.tls->certificate;
        CHECK(certificate.subject == "valid");
        CHECK_FALSE(certificate.issuer.empty());
        CHECK(certificate.issuer != certificate.subject);
        CHECK(certificate.names
              == std::vector<std::string>{"localhost", "feed.example", "*.wild.example",
                                          "127.0.0.1", "::1"});
        const auto now = std::chrono::system_clock::now();
        CHECK(certificate.valid_from < now);
        CHECK(certificate.valid_from > now - 48h);
        CHECK(certificate.valid_until > now);
        CHECK(certificate.valid_until < now + 48h);
        CHECK(feed.stop().clean());
    }
}

TEST_CASE("tls connection_info: all names, though texts show the first few only")
{
    TlsPeer peer{{.certificate = "wrong"}, serve};
    LinesFeed feed{lines_to(peer.port(), trusting(), "f.example"), at_home()};
    CHECK(info_of(feed).tls.value().certificate.names.size() == 6);
}

TEST_CASE("tls connection_info: what was not verified says so")
{
    TlsPeer peer{{.certificate = "self-signed"}, serve};
    LinesFeed feed{lines_to(peer.port(), {.insecure_skip_verification = true}), at_home()};
    const auto info = info_of(feed);
    REQUIRE(info.tls);
    CHECK_FALSE(info.tls->is_verified);
    CHECK(info.tls->certificate.subject == "self-signed");
}

TEST_CASE("tls connection_info: a resumed session has the certificate of the first")
{
    TlsPeer peer{{}, serve};
    LinesFeed feed{lines_to(peer.port()), at_home()};
    const auto first = info_of(feed);
    CHECK(feed.stop().clean());
    const auto second = info_of(feed);
    REQUIRE(second.tls);
    CHECK(second.tls->is_resumed);
    CHECK(second.tls->is_verified);
    CHECK(second.tls->certificate == first.tls.value().certificate);
}

TEST_CASE("tls close: at once, the peer still gets close_notify")
{
    bool notified = false;
    {
        TlsPeer peer{{}, [&](TlsConnection& c) {
                         c.send("hello\n");
                         notified = c.wait_for_goodbye(); // and keeps its half open
                         c.raw.wait_for_end();
                     }};
        auto options = lines_to(peer.port());
        options.close = TcpClose::at_once;
        LinesFeed feed{options, at_home()};
        (void)info_of(feed);
        CHECK(feed.stop().clean());
        (void)peer.wait_for_ended(1);
    }
    CHECK(notified);
}

TEST_CASE("wss connection_info: has both, the handshake's fields and the certificate")
{
    TlsPeer peer{{}, [](TlsConnection& c) {
                     const auto request = c.read_until("\r\n\r\n");
                     c.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                            "Connection: Upgrade\r\nServer: feeder/1\r\nSec-WebSocket-Accept: "
                            + websocket_accept(request) + "\r\n\r\n");
                     c.wait_for_goodbye();
                 }};
    Sidecar<WebSocket> feed{
        {.url = "wss://localhost:" + std::to_string(peer.port()), .tls = trusting()}, at_home()};
    REQUIRE(feed.start(20s));
    const auto info = feed.link().value().connection_info();
    CHECK(info.http_status == 101);
    CHECK(info.header("Server") == "feeder/1");
    REQUIRE(info.tls);
    CHECK(info.tls->certificate.subject == "valid");
    CHECK(info.tls->is_verified);
}

} // namespace tls_info_test
