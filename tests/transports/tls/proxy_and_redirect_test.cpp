// TLS where more lies on the way: a proxy, TLS to a proxy, a redirection, a WebSocket inside.
#include "trial.hpp"

#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <atomic>
#include <string>

namespace proxy_and_redirect_test {

using namespace sidecar;
using namespace std::chrono_literals;

bool contains(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

std::string answer_to(const std::string& request)
{
    return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Accept: "
           + websocket_accept(request) + "\r\n\r\n";
}

/// Takes the handshake of a WebSocket, gives its request, and greets in the same record.
std::string accept_and_greet(TlsConnection& c)
{
    auto request = c.read_until("\r\n\r\n");
    c.send(answer_to(request) + frame(0x81, "hello"));
    return request;
}

Options without_lookup()
{
    auto options = silent_options();
    options.lookup = [](const std::string& host) -> std::vector<boost::asio::ip::address> {
        FAIL_CHECK("looked up: " << host);
        return {};
    };
    return options;
}

TEST_CASE(
    "tls: a WebSocket through a proxy asks for and verifies the URL's host, whatever the Host "
    "header says")
{
    const TlsServer server;
    std::string connect, asked, request;
    RawPeer proxy{[&](RawConnection& raw) {
        connect = raw.read_until("\r\n\r\n");
        raw.send("HTTP/1.1 200 OK\r\n\r\n");
        TlsConnection c{raw, server};
        c.accept();
        asked = c.end.asked_name();
        request = accept_and_greet(c);
        c.wait_for_goodbye();
    }};
    Sidecar<WebSocket> feed{{.url = "wss://feed.example/x",
                             .headers = {{"Host", "virtual.example"}},
                             .bearer = "s3cret",
                             .proxy = {.url = fmt::format("http://127.0.0.1:{}", proxy.port())},
                             .tls = trusting()},
                            without_lookup()};
    REQUIRE(feed.start(20s));
    CHECK(feed.receive(20s).value().text() == "hello");
    feed.stop();
    REQUIRE(proxy.wait_for_ended(1));
    CHECK(connect.starts_with("CONNECT feed.example:443 HTTP/1.1\r\n"));
    CHECK(asked == "feed.example");
    CHECK(contains(request, "\r\nHost: virtual.example\r\n"));
    CHECK(contains(request, "\r\nAuthorization: Bearer s3cret\r\n"));
}

TEST_CASE("tls: nothing of the request leaves before the peer is verified, through a proxy or not")
{
    for (const bool is_proxied : {false, true}) {
        CAPTURE(is_proxied);
        const TlsServer server{{.certificate = "wrong"}};
        std::string plaintext;
        RawPeer peer{[&](RawConnection& raw) {
            if (is_proxied) {
                raw.read_until("\r\n\r\n");
                raw.send("HTTP/1.1 200 OK\r\n\r\n");
            }
            TlsConnection c{raw, server};
            c.accept();
            plaintext = c.read(1);
        }};
        WebSocket::Options options{.url = fmt::format("wss://localhost:{}/", peer.port()),
                                   .bearer = "s3cret",
                                   .tls = trusting()};
        if (is_proxied)
            options.proxy.url = fmt::format("http://127.0.0.1:{}", peer.port());
        Sidecar<WebSocket> feed{options, at_home()};
        const auto failure = feed.start(20s).error();
        CHECK(failure == Error::tls_failed);
        CHECK(failure.endpoint() == options.url);
        CHECK(peer.wait_for_ended(1));
        CHECK(plaintext.empty());
    }
}

TEST_CASE(
    "tls: a proxy of https:// is secured and verified itself, and TLS goes through it as well")
{
    const TlsServer inner_server{{.certificate = "valid"}};
    std::string connect;
    TlsPeer proxy{{}, [&](TlsConnection& c) {
                      connect = c.read_until("\r\n\r\n");
                      c.send("HTTP/1.1 200 OK\r\n\r\n");
                      TlsServerEnd inner{inner_server};
                      while (!inner.shake_hands()) {
                          if (const auto records = inner.take(); !records.empty())
                              c.send(records);
                          inner.come(c.read(1));
                      }
                      c.send(inner.take() + inner.seal("hello\nworld\n"));
                      c.wait_for_goodbye();
                  }};
    Tcp<Lines>::Options options{
        .host = "feed.example",
        .port = 4711,
        .proxy = {.url = fmt::format("https://u:p@localhost:{}", proxy.port()), .tls = trusting()},
        .tls = trusting()};
    LinesFeed feed{options, at_home()};
    REQUIRE(feed.start(20s));
    CHECK(feed.receive(20s).value().text() == "hello");
    CHECK(feed.receive(20s).value().text() == "world");
    CHECK(contains(connect, "\r\nProxy-Authorization: Basic dTpw\r\n"));
    (void)feed.stop();

    options.proxy.tls = {}; // the system does not know the tests' authority
    LinesFeed unknown{options, at_home()};
    const auto failure = unknown.start(20s).error();
    CHECK(failure == Error::tls_failed);
    CHECK(contains(failure.message(), fmt::format("the proxy https://localhost:{} on the way to "
                                                  "feed.example:4711",
                                                  proxy.port())));
}

TEST_CASE("tls: what is glued behind the answer of a proxy of https:// comes through the tunnel")
{
    TlsPeer proxy{{}, [&](TlsConnection& c) {
                      c.read_until("\r\n\r\n");
                      c.send("HTTP/1.1 200 OK\r\n\r\nhello\nworld\n");
                      c.send("more\n");
                      c.wait_for_goodbye();
                      c.say_goodbye();
                  }};
    LinesFeed feed{
        {.host = "feed.example",
         .port = 4711,
         .proxy = {.url = fmt::format("https://localhost:{}", proxy.port()), .tls = trusting()}},
        at_home()};
    REQUIRE(feed.start(20s));
    for (const auto* line : {"hello", "world", "more"})
        CHECK(feed.receive(20s).value().text() == line);
}

TEST_CASE(
    "tls: what is glued behind the answer of a proxy belongs to the handshake within the tunnel")
{
    RawPeer proxy{[&](RawConnection& c) {
        c.read_until("\r\n\r\n");
        c.send("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 400 Bad Request\r\n");
        c.wait_for_end();
    }};
    LinesFeed feed{{.host = "feed.example",
                    .port = 4711,
                    .proxy = {.url = fmt::format("http://127.0.0.1:{}", proxy.port())},
                    .tls = trusting()}};
    const auto failure = feed.start(20s).error();
    CHECK(failure == Error::tls_failed);
    CHECK(failure.http_status() == 400);
    CHECK(
        failure.explanation()
        == "the peer speaks no TLS here: it answered plain HTTP, \"HTTP/1.1 400 Bad Request\"; is "
           "the option tls right for this port?");
}

TEST_CASE("tls: a redirection from ws:// to wss:// is followed, and back it is not")
{
    std::string request;
    TlsPeer secure{{}, [&](TlsConnection& c) {
                       request = accept_and_greet(c);
                       c.wait_for_goodbye();
                   }};
    RawPeer plain{[&](RawConnection& c) {
        c.read_until("\r\n\r\n");
        c.send(fmt::format("HTTP/1.1 308 x\r\nLocation: https://localhost:{}/x\r\n\r\n",
                           secure.port()));
    }};
    Sidecar<WebSocket> feed{
        {.url = plain.url(), .bearer = "s3cret", .max_redirects = 1, .tls = trusting()}, at_home()};
    REQUIRE(feed.start(20s));
    CHECK(feed.receive(20s).value().text() == "hello");
    feed.stop();
    REQUIRE(secure.wait_for_ended(1));
    CHECK_FALSE(contains(request, "s3cret"));

    TlsPeer back{{}, [&](TlsConnection& c) {
                     c.read_until("\r\n\r\n");
                     c.send("HTTP/1.1 308 x\r\nLocation: " + plain.url() + "\r\n\r\n");
                     c.wait_for_goodbye();
                 }};
    Sidecar<WebSocket> refused{{.url = fmt::format("wss://localhost:{}/", back.port()),
                                .max_redirects = 1,
                                .tls = trusting()},
                               at_home()};
    const auto failure = refused.start(20s).error();
    CHECK(failure == Error::handshake_refused);
    CHECK(contains(failure.message(), "from wss:// to ws://"));
}

TEST_CASE("tls: options that cannot be used are told before a redirection is connected to")
{
    std::atomic<int> connections = 0;
    RawPeer secure{[&](RawConnection& c) {
        ++connections;
        c.wait_for_end();
    }};
    RawPeer plain{[&](RawConnection& c) {
        c.read_until("\r\n\r\n");
        c.send(
            fmt::format("HTTP/1.1 308 x\r\nLocation: wss://localhost:{}/\r\n\r\n", secure.port()));
    }};
    Sidecar<WebSocket> feed{
        {.url = plain.url(), .max_redirects = 1, .tls = {.ca_file = "/nowhere/ca.pem"}}, at_home()};
    const auto failure = feed.start(20s).error();
    CHECK(failure == Error::bad_options);
    CHECK(failure.endpoint() == fmt::format("wss://localhost:{}/", secure.port()));
    CHECK(contains(failure.message(), "ca_file \"/nowhere/ca.pem\" cannot be read"));
    CHECK(connections == 0);
}

} // namespace proxy_and_redirect_test
