// wss://: the two goodbyes, WebSocket's and TLS's, and what TLS must not be told by the application.
#include "trial.hpp"

#include "support/sanitized.hpp"

#include <sidecar/transports/websocket.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <atomic>

namespace websocket_test {

using namespace sidecar;
using namespace std::chrono_literals;
using namespace std::string_literals;

using WssFeed = Sidecar<WebSocket>;

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

WebSocket::Options to(const TlsPeer& peer, TlsOptions tls = trusting())
{
    return {.url = "wss://localhost:" + std::to_string(peer.port()) + "/feed?token=hidden",
            .tls = std::move(tls)};
}

std::string accept_websocket(TlsConnection& c)
{
    auto request = c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
           "Upgrade\r\nSec-WebSocket-Accept: "
           + websocket_accept(request) + "\r\n\r\n");
    return request;
}

const auto close_1000 = frame(0x88, "\x03\xe8"s);

/// Reads the client's Close, 1000 and masked.
void read_close(TlsConnection& c) { (void)c.read(8); }

TEST_CASE("wss: three messages, a Close and close_notify that came in one record, or in one read")
{
    for (const bool is_one_record : {true, false}) {
        TlsPeer peer{{}, [&](TlsConnection& c) {
                         accept_websocket(c);
                         const auto one = frame(0x81, "one"), two = frame(0x82, "two"),
                                    three = frame(0x81, "three");
                         std::string bytes;
                         if (is_one_record)
                             bytes = c.end.seal(one + two + three + close_1000);
                         else
                             for (const auto& part : {one, two, three, close_1000})
                                 bytes += c.end.seal(part);
                         bytes += c.end.seal_goodbye();
                         c.raw.send(bytes);
                         c.raw.half_close();
                         c.raw.wait_for_end();
                     }};
        WssFeed feed{to(peer), at_home()};
        REQUIRE(feed.start(20s));
        for (const std::string_view expected : {"one", "two", "three"})
            CHECK(feed.receive(20s).value().text() == expected);
        const auto failure = failure_of(feed);
        CHECK(failure == Error::closed_by_peer);
        CHECK(failure.close_code() == 1000);
    }
}

TEST_CASE("wss: a closing handshake ends with our close_notify, whoever closes first")
{
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        CAPTURE(version);
        std::atomic<int> notified = 0;
        TlsPeer theirs{{.version = version}, [&](TlsConnection& c) {
                           accept_websocket(c);
                           c.send(close_1000);
                           read_close(c);
                           notified += c.wait_for_goodbye();
                       }};
        WssFeed closed{to(theirs), at_home()};
        REQUIRE(closed.start(20s));
        CHECK(failure_of(closed) == Error::closed_by_peer);
        REQUIRE(theirs.wait_for_ended(1));
        CHECK(notified == 1);

        TlsPeer ours{{.version = version}, [&](TlsConnection& c) {
                         accept_websocket(c);
                         read_close(c);
                         c.send(close_1000);
                         notified += c.wait_for_goodbye();
                     }};
        WssFeed closing{to(ours), at_home()};
        REQUIRE(closing.start(20s));
        CHECK(closing.stop().close.verdict == Verdict::ok);
        REQUIRE(ours.wait_for_ended(1));
        CHECK(notified == 2);
    }
}

TEST_CASE("wss: a connection that is cut after a complete Close is well closed")
{
    TlsPeer theirs{{}, [](TlsConnection& c) {
                       accept_websocket(c);
                       c.send(close_1000);
                       c.raw.half_close();
                       c.raw.wait_for_end();
                   }};
    WssFeed closed{to(theirs), at_home()};
    REQUIRE(closed.start(20s));
    CHECK(failure_of(closed) == Error::closed_by_peer);

    TlsPeer ours{{}, [](TlsConnection& c) {
                     accept_websocket(c);
                     read_close(c);
                     c.send(close_1000);
                     c.raw.half_close();
                     c.raw.wait_for_end();
                 }};
    WssFeed closing{to(ours), at_home()};
    REQUIRE(closing.start(20s));
    CHECK(closing.stop().close.verdict == Verdict::ok);
}

TEST_CASE("wss: a connection that is cut without a Close is truncated, within a message or not")
{
    for (const auto& said : {frame(0x81, "whole"), frame(0x81, "whole") + "\x81\x7e\x01"s,
                             frame(0x81, "whole") + frame(0x01, "begun")}) {
        TlsPeer peer{{}, [&](TlsConnection& c) {
                         accept_websocket(c);
                         c.send(said);
                         c.raw.half_close();
                         c.raw.wait_for_end();
                     }};
        WssFeed feed{to(peer), at_home()};
        REQUIRE(feed.start(20s));
        CHECK(feed.receive(20s).value().text() == "whole");
        const auto failure = failure_of(feed);
        CHECK(failure == Error::disconnected);
        CHECK(has(failure.explanation(), "truncated"));
        CHECK_FALSE(has(failure.message(), "hidden"));
    }
}

TEST_CASE("wss: a record that ends in the middle is truncated, before the answer as well")
{
    TlsPeer within{{}, [](TlsConnection& c) {
                       accept_websocket(c);
                       const auto record = c.end.seal(frame(0x81, "message"));
                       c.raw.send(std::string_view{record}.substr(0, record.size() / 2));
                       c.raw.half_close();
                       c.raw.wait_for_end();
                   }};
    WssFeed cut{to(within), at_home()};
    REQUIRE(cut.start(20s));
    CHECK(has(failure_of(cut).explanation(), "truncated"));

    TlsPeer early{{}, [](TlsConnection& c) {
                      c.read_until("\r\n\r\n");
                      c.raw.half_close();
                      c.raw.wait_for_end();
                  }};
    WssFeed unanswered{to(early), at_home()};
    const auto failure = unanswered.start(20s).error();
    CHECK(failure == Error::connect_failed);
    CHECK(has(failure.message(), "truncated"));
}

TEST_CASE("wss: a peer that answers the Close and never close_notify costs nothing")
{
    TlsPeer peer{{}, [](TlsConnection& c) {
                     accept_websocket(c);
                     read_close(c);
                     c.send(close_1000);
                     c.raw.wait_for_end(); // and says nothing more
                 }};
    WssFeed feed{to(peer), at_home()};
    REQUIRE(feed.start(20s));
    const auto report = feed.stop();
    CHECK(report.joined);
    CHECK(report.close.verdict == Verdict::ok);
    CHECK(report.total < 1s);
}

TEST_CASE("wss: a peer that answers nothing costs the stop's budget")
{
    TlsPeer peer{{}, [](TlsConnection& c) {
                     accept_websocket(c);
                     c.raw.wait_for_end();
                 }};
    auto options = at_home();
    options.stop.total = 300ms;
    WssFeed feed{to(peer), options};
    REQUIRE(feed.start(20s));
    const auto report = feed.stop();
    CHECK(report.joined);
    CHECK(report.total < 300ms + promptly);
}

TEST_CASE("wss: KeyUpdate and tickets between fragments and pings, and a pong under the new key")
{
    std::string pong;
    {
        TlsPeer peer{{.version = TLS1_3_VERSION}, [&](TlsConnection& c) {
                         accept_websocket(c);
                         std::string bytes = c.end.seal(frame(0x01, "frag"));
                         bytes += c.end.seal_key_update(true);
                         bytes += c.end.seal(frame(0x89, "ping"));
                         bytes += c.end.seal_ticket();
                         bytes += c.end.seal(frame(0x80, "ment"));
                         c.raw.send(bytes);
                         pong = c.read(10);
                         read_close(c);
                         c.send(close_1000);
                         c.say_goodbye();
                     }};
        WssFeed feed{to(peer), at_home()};
        REQUIRE(feed.start(20s));
        CHECK(feed.receive(20s).value().text() == "fragment");
        CHECK(feed.stop().close.verdict == Verdict::ok);
    }
    REQUIRE(pong.size() == 10);
    CHECK(pong.substr(0, 2) == "\x8a\x84"s);
}

TEST_CASE("wss: a Host field of the application's changes neither SNI nor the verified name")
{
    std::string asked, request;
    {
        TlsPeer peer{{}, [&](TlsConnection& c) {
                         asked = c.end.asked_name();
                         request = accept_websocket(c);
                         c.wait_for_goodbye();
                     }};
        auto options = to(peer);
        options.headers = {{"Host", "other.example"}};
        WssFeed feed{options, at_home()};
        CHECK(feed.start(20s));
    }
    CHECK(asked == "localhost");
    CHECK(has(request, "Host: other.example\r\n"));

    TlsPeer wrong{{.certificate = "wrong"}, [](TlsConnection&) {}};
    auto options = to(wrong);
    options.headers = {{"Host", "a.example"}};
    WssFeed feed{options, at_home()};
    const auto failure = feed.start(20s).error();
    CHECK(failure == Error::tls_failed);
    CHECK(has(failure.explanation(), "instead of \"localhost\""));
}

TEST_CASE("wss: no octet of HTTP leaves for a peer that was not verified")
{
    std::string read;
    {
        const TlsServer server{{.certificate = "unknown"}};
        RawPeer peer{[&](RawConnection& raw) {
            TlsConnection c{raw, server};
            c.accept();
            read = c.read(1);
        }};
        WebSocket::Options options{.url = "wss://localhost:" + std::to_string(peer.port())
                                          + "/?key=secret",
                                   .basic_auth = BasicAuth{.user = "user", .password = "secret"},
                                   .tls = trusting()};
        WssFeed feed{options, at_home()};
        const auto failure = feed.start(20s).error();
        CHECK(failure == Error::tls_failed);
        CHECK_FALSE(has(failure.message(), "secret"));
        CHECK(peer.wait_for_ended(1));
    }
    CHECK(read.empty());
}

TEST_CASE(
    "wss: a client certificate that is missed ends the start with tls_failed, in each version")
{
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        TlsPeer peer{{.version = version, .demands_client = true}, [](TlsConnection&) {}};
        WssFeed feed{to(peer), at_home()};
        const auto failure = feed.start(20s).error();
        CHECK(failure == Error::tls_failed);
        CHECK(has(failure.message(), "demands a client certificate"));
    }
}

TEST_CASE("wss: a peer without TLS, and ws:// to one with TLS, suggest the other scheme")
{
    for (const auto* const answer : {"HTTP/1.1 400 Bad Request\r\n\r\n", "220 mail\r\n"}) {
        RawPeer plain{[&](RawConnection& c) {
            c.send(answer);
            c.half_close();
            c.wait_for_end();
        }};
        WssFeed feed{{.url = "wss://localhost:" + std::to_string(plain.port()), .tls = trusting()},
                     at_home()};
        const auto failure = feed.start(20s).error();
        CHECK(failure == Error::tls_failed);
        CHECK(failure.explanation().ends_with("; does the address want ws://?"));
    }
    // OpenSSL ends the connection without an alert when it reads HTTP
    TlsPeer secure{{}, [](TlsConnection&) {}};
    WssFeed feed{{.url = "ws://localhost:" + std::to_string(secure.port()) + "/"}, at_home()};
    const auto failure = feed.start(20s).error();
    CHECK(failure == Error::connect_failed);
    CHECK(
        has(failure.explanation(), "before its answer (does the address want wss://?)")
        != has(failure.explanation(), "before the peer's answer (does the address want wss://?)"));
}

TEST_CASE("wss: options of TLS that make no sense are told before anything is tried")
{
    WssFeed feed{{.url = "wss://localhost:1/", .tls = {.ca_file = "/nowhere"}}, at_home()};
    CHECK(feed.start(20s).error() == Error::bad_options);
}

} // namespace websocket_test
