// Who one is, over redirections, through a proxy, on a Unix-domain socket: the way to the handshake.
#include "support/raw_peer.hpp"
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <thread>
#include <unistd.h>

namespace connect_test {

using namespace sidecar;
using namespace std::chrono_literals;

bool contains(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
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

/// Sends each request elsewhere.
struct Redirecting {
    explicit Redirecting(std::string to, bool is_trickled = false, int status = 302)
        : location{std::move(to)}, peer{[this, is_trickled, status](RawConnection& c) {
              request = c.read_until("\r\n\r\n");
              const auto answer =
                  fmt::format("HTTP/1.1 {} Elsewhere\r\nLocation: {}\r\n\r\n", status, location);
              is_trickled ? c.trickle(answer) : c.send(answer);
              c.wait_for_end();
          }}
    {
    }
    std::string location, request;
    RawPeer peer;
};

TEST_CASE("redirect: followed on request, with all that is public")
{
    for (const bool is_trickled : {false, true})
        for (const int status : {301, 302, 303, 307, 308}) {
            CAPTURE(status);
            std::string request;
            RawPeer end{[&](RawConnection& c) {
                request = c.accept_websocket();
                c.send(frame(0x81, "hello"));
                c.wait_for_end();
            }};
            Redirecting begin{end.url() + "there?x=y", is_trickled, status};
            Sidecar<WebSocket> feed{{.url = begin.peer.url() + "here",
                                     .headers = {{"Cookie", "s3cret"},
                                                 {"X-Color", "red"},
                                                 {"User-Agent", "mine"},
                                                 {"Host", "virtual"}},
                                     .subprotocols = {"a", "b"},
                                     .origin = "https://o.example",
                                     .bearer = "s3cret",
                                     .max_redirects = 1},
                                    silent_options()};
            REQUIRE(feed.start(10s));
            CHECK(feed.receive(10s).value().text() == "hello");
            CHECK(contains(begin.request, "Authorization: Bearer s3cret"));
            CHECK(contains(begin.request, "Cookie: s3cret"));
            CHECK(contains(begin.request, "Host: virtual\r\n"));
            CHECK(request.starts_with("GET /there?x=y HTTP/1.1\r\n"));
            CHECK(contains(request, fmt::format("Host: 127.0.0.1:{}\r\n", end.port())));
            CHECK(contains(request, "Sec-WebSocket-Protocol: a, b\r\n"));
            CHECK(contains(request, "Origin: https://o.example\r\n"));
            CHECK(contains(request, "User-Agent: mine\r\n"));
            CHECK_FALSE(contains(request, "X-Color"));
            CHECK_FALSE(contains(request, "s3cret"));
            CHECK_FALSE(contains(request, "Cookie"));
        }
}

TEST_CASE(
    "redirect: to the same place credentials go along; off, it is a refusal with its Location")
{
    int count = 0;
    std::string request;
    RawPeer peer{[&](RawConnection& c) {
        if (++count == 1) {
            c.read_until("\r\n\r\n");
            c.send("HTTP/1.1 307 x\r\nLocation: other\r\n\r\n");
            return;
        }
        request = c.accept_websocket();
        c.send(frame(0x81, "noted"));
        c.wait_for_end();
    }};
    Sidecar<WebSocket> feed{
        {.url = peer.url() + "a/b", .basic_auth = BasicAuth{"u", "p"}, .max_redirects = 5},
        silent_options({.total = 10s, .close = 20ms})};
    REQUIRE(feed.start(10s));
    REQUIRE(feed.receive(10s)); // the peer has stored the request by then
    CHECK(request.starts_with("GET /a/other HTTP/1.1\r\n"));
    CHECK(contains(request, "Authorization: Basic dTpw\r\n"));

    Redirecting off{"ws://elsewhere.example/?token=s3cret"};
    Sidecar<WebSocket> refused{{.url = off.peer.url()}, without_lookup()};
    const auto failure = refused.start(10s).error();
    CHECK(failure == Error::handshake_refused);
    CHECK(failure.http_status() == 302);
    CHECK(failure.location() == "ws://elsewhere.example/?token=s3cret");
    CHECK_FALSE(contains(failure.message(), "s3cret"));
}

TEST_CASE("redirect: a circle, one too many, and what fails behind one are told")
{
    Redirecting circle{"/"};
    Sidecar<WebSocket> round{{.url = circle.peer.url(), .max_redirects = 9}, silent_options()};
    const auto in_circle = round.start(10s).error();
    CHECK(in_circle == Error::handshake_refused);
    CHECK(contains(in_circle.message(), "circle"));
    CHECK(in_circle.location() == "/");

    int count = 0;
    RawPeer endless{[&](RawConnection& c) {
        c.read_until("\r\n\r\n");
        c.send(fmt::format("HTTP/1.1 302 x\r\nLocation: /{}\r\n\r\n", ++count));
    }};
    Sidecar<WebSocket> far{{.url = endless.url(), .max_redirects = 3}, silent_options()};
    CHECK(contains(far.start(10s).error().message(), "max_redirects (3)"));
    CHECK(count == 4);

    RawPeer refusing{[](RawConnection& c) {
        c.read_until("\r\n\r\n");
        c.send("HTTP/1.1 403 No\r\n\r\n");
    }};
    Redirecting begin{refusing.url() + "?token=s3cret"};
    Sidecar<WebSocket> refused{{.url = begin.peer.url(), .max_redirects = 1}, silent_options()};
    const auto failure = refused.start(10s).error();
    CHECK(failure.http_status() == 403);
    CHECK(failure.endpoint() == refusing.url() + "?token=***");
}

TEST_CASE("redirect: all hops have one deadline, and a stop ends any of them")
{
    RawPeer mute{[](RawConnection& c) { c.wait_for_end(); }};
    Redirecting begin{mute.url()};
    Sidecar<WebSocket> feed{{.url = begin.peer.url(), .max_redirects = 1}, silent_options()};
    const auto failure = feed.start(200ms).error();
    CHECK(failure == Error::timed_out);
    CHECK(contains(failure.message(), fmt::format("127.0.0.1:{}", mute.port())));

    Redirecting again{mute.url()};
    Sidecar<WebSocket> stopped{{.url = again.peer.url(), .max_redirects = 1}, silent_options()};
    std::thread starter{[&] { CHECK(stopped.start(20s).error() == Error::stopping); }};
    while (!contains(stopped.dump(), fmt::format("with 127.0.0.1:{}", mute.port())))
        std::this_thread::yield();
    const auto report = stopped.stop();
    CHECK(report.joined);
    CHECK(report.total < promptly);
    starter.join();
}

TEST_CASE(
    "proxy: the handshake goes through the tunnel, and each phase's failure says which it was")
{
    std::string connect, request;
    RawPeer proxy{[&](RawConnection& c) {
        connect = c.read_until("\r\n\r\n");
        c.send("HTTP/1.1 200 OK\r\n\r\n");
        request = c.accept_websocket();
        c.send(frame(0x81, "hello"));
        c.wait_for_end();
    }};
    const auto url = fmt::format("http://127.0.0.1:{}", proxy.port());
    Sidecar<WebSocket> feed{
        {.url = "ws://feed.example/x", .bearer = "s3cret", .proxy = {.url = url}},
        without_lookup()};
    REQUIRE(feed.start(10s));
    CHECK(feed.receive(10s).value().text() == "hello");
    CHECK(connect.starts_with("CONNECT feed.example:80 HTTP/1.1\r\nHost: feed.example:80\r\n"));
    CHECK_FALSE(contains(connect, "s3cret"));
    CHECK(request.starts_with("GET /x HTTP/1.1\r\nHost: feed.example\r\n"));

    const auto failure_with = [](const char* at_proxy, const char* behind) {
        RawPeer peer{[&](RawConnection& c) {
            c.read_until("\r\n\r\n");
            c.send(at_proxy);
            if (!*behind)
                return;
            c.read_until("\r\n\r\n");
            c.send(behind);
        }};
        Sidecar<WebSocket> refused{
            {.url = "ws://feed.example/x",
             .max_redirects = 5,
             .proxy = {.url = fmt::format("http://127.0.0.1:{}", peer.port())}},
            without_lookup()};
        return refused.start(10s).error();
    };
    const auto at_proxy = failure_with("HTTP/1.1 302 x\r\nLocation: /y\r\n\r\n", "");
    CHECK(at_proxy == Error::connect_failed); // and is no redirection of the server's
    CHECK(at_proxy.http_status() == 302);
    CHECK(contains(at_proxy.message(), "connect through the proxy"));
    const auto behind =
        failure_with("HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
    CHECK(behind == Error::handshake_refused);
    CHECK(behind.http_status() == 401);
    CHECK(contains(behind.message(), "shake hands"));
}

TEST_CASE("unix: the handshake's Host is localhost, and its resource stands behind the colon")
{
    const auto name = fmt::format("@sidecar-ws-{}", ::getpid());
    std::string request;
    RawPeer peer{[&](RawConnection& c) {
                     request = c.accept_websocket();
                     c.send(frame(0x81, "hello"));
                     c.wait_for_end();
                 },
                 RawPeer::UnixPath{name}};
    Sidecar<WebSocket> feed{
        {.url = "ws+unix:" + name + ":/x?y", .proxy = {.url = "http://127.0.0.1:1"}},
        without_lookup()};
    REQUIRE(feed.start(10s));
    CHECK(feed.receive(10s).value().text() == "hello");
    CHECK(request.starts_with("GET /x?y HTTP/1.1\r\nHost: localhost\r\n"));

    Sidecar<WebSocket> missing{{.url = "ws+unix:/nowhere/at%20all.sock:/x?token=s3cret"},
                               silent_options()};
    const auto failure = missing.start(10s).error();
    CHECK(failure == Error::connect_failed);
    CHECK(contains(failure.message(), "the socket /nowhere/at all.sock: No such file"));
    CHECK_FALSE(contains(failure.message(), "s3cret"));
}

} // namespace connect_test
