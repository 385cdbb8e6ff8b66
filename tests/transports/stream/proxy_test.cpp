// Through a scripted proxy of the loopback, which is the server behind it as well.
#include "listener.hpp"
#include "support/raw_peer.hpp"
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/ip/address.hpp>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace proxy_test {

using namespace sidecar;
using namespace std::chrono_literals;
using Feeds = Sidecar<Tcp<Lines>>;

std::string at(const RawPeer& peer, const char* user_info = "")
{
    return fmt::format("http://{}127.0.0.1:{}", user_info, peer.port());
}

Tcp<Lines>::Options through(std::string proxy)
{
    return {.host = "feed.example", .port = 4711, .proxy = {.url = std::move(proxy)}};
}

/// Nothing is to be looked up here.
Options without_lookup()
{
    auto options = silent_options();
    options.lookup = [](const std::string& host) -> std::vector<boost::asio::ip::address> {
        FAIL_CHECK("looked up: " << host);
        return {};
    };
    return options;
}

/// What start() says if the proxy does this once the request has come.
Failure failure_with(const RawPeer::Script& script)
{
    RawPeer proxy{[&](RawConnection& c) {
        c.read_until("\r\n\r\n");
        script(c);
    }};
    Feeds feed{through(at(proxy, "user:s3cret@")), without_lookup()};
    const auto failure = feed.start(10s).error();
    CHECK(failure == Error::connect_failed);
    CHECK(failure.endpoint() == "feed.example:4711");
    CHECK(failure.message().find("the proxy " + at(proxy)) != std::string::npos);
    CHECK(failure.message().find("s3cret") == std::string::npos);
    return failure;
}

/// The process's environment, for as long as this.
struct Variable {
    Variable(const char* variable, const std::string& value) : name{variable}
    {
        ::setenv(name, value.c_str(), 1);
    }
    ~Variable() { ::unsetenv(name); }
    const char* name;
};

TEST_CASE(
    "proxy: the tunnel is asked for by name, with authorization, and what is glued behind the "
    "answer comes through it")
{
    for (const std::string answer : {"HTTP/1.1 200 Connection established\r\n\r\n",
                                     "HTTP/1.0 204 x\r\nContent-Length: 3\r\n\r\n",
                                     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
                                     "Transfer-Encoding: chunked\r\n\r\n"})
        for (const bool is_trickled : {false, true}) {
            CAPTURE(answer);
            std::string request, line;
            RawPeer proxy{[&](RawConnection& c) {
                request = c.read_until("\r\n\r\n");
                const auto bytes = answer + "hello\nworld\n";
                is_trickled ? c.trickle(bytes) : c.send(bytes);
                line = c.read_until("\n");
                c.send("more\n");
                c.wait_for_end();
            }};
            Feeds feed{through(at(proxy, "Aladdin:open%20sesame@")), without_lookup()};
            REQUIRE(feed.start(10s));
            CHECK(feed.receive(10s).value().text() == "hello");
            CHECK(feed.receive(10s).value().text() == "world");
            CHECK(feed.send("hi"));
            CHECK(feed.receive(10s).value().text() == "more");
            CHECK(line == "hi\n");
            CHECK(request.starts_with(
                "CONNECT feed.example:4711 HTTP/1.1\r\nHost: feed.example:4711\r\n"));
            CHECK(request.find("\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n")
                  != std::string::npos);
        }
}

TEST_CASE("proxy: much that is glued behind the answer arrives whole, in order")
{
    std::string lines;
    for (int i = 0; i < 20'000; ++i)
        lines += std::to_string(i) + "\n";
    RawPeer proxy{[&](RawConnection& c) {
        c.read_until("\r\n\r\n");
        c.send("HTTP/1.1 200 OK\r\n\r\n" + lines);
        c.wait_for_end();
    }};
    Feeds feed{through(at(proxy)), without_lookup()};
    REQUIRE(feed.start(10s));
    for (int i = 0; i < 20'000; ++i) {
        const auto message = feed.receive(10s);
        REQUIRE(message.has_value());
        REQUIRE(message->text() == std::to_string(i));
    }
}

TEST_CASE("proxy: every refusal and every end names the proxy, and what it said")
{
    const auto contains = [](const Failure& failure, const char* part) {
        return failure.message().find(part) != std::string::npos;
    };
    const auto answered = [](const char* answer, bool is_trickled) {
        return failure_with([&](RawConnection& c) {
            is_trickled ? c.trickle(answer) : c.send(answer);
            c.wait_for_end();
        });
    };
    for (const bool is_trickled : {false, true}) {
        const auto wanted =
            answered("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", is_trickled);
        CHECK(wanted.http_status() == 407);
        CHECK(contains(wanted, "the proxy wants authorization: HTTP 407"));
        CHECK(contains(answered("HTTP/1.1 403 No\r\nContent-Length: 99\r\n\r\n", is_trickled),
                       "refused: HTTP 403 No"));
        CHECK(contains(answered("HTTP/1.1 503 s3cret\r\n\r\n", is_trickled), "HTTP 503 ***"));
        CHECK(contains(answered("SSH-2.0-x\r\n", is_trickled), "not HTTP/1.1"));
    }
    CHECK(contains(failure_with([](RawConnection& c) {
                       c.send("HTTP/1.1 200 OK\r\nX: " + std::string(70'000, 'x'));
                       c.wait_for_end();
                   }),
                   "longer than 65536 bytes"));
    CHECK(contains(failure_with([](RawConnection&) {}), "closed the connection before its answer"));
    CHECK(contains(failure_with([](RawConnection& c) { c.send("HTTP/1.1 200 O"); }),
                   "in the middle of its answer"));
    const auto reset = failure_with([](RawConnection& c) { c.reset(); });
    CHECK(contains(reset, "broke before its answer"));
    CHECK(reset.cause() == boost::asio::error::connection_reset);
}

TEST_CASE("proxy: one that is not there, and one whose name is unknown, are told as such")
{
    std::uint16_t closed_port = 0;
    {
        RawPeer gone{[](RawConnection&) {}};
        closed_port = gone.port();
    }
    Feeds refused{through(fmt::format("http://127.0.0.1:{}", closed_port)), without_lookup()};
    const auto failure = refused.start(10s).error();
    CHECK(failure == Error::connect_failed);
    CHECK(failure.cause() == boost::asio::error::connection_refused);
    CHECK(failure.endpoint() == "feed.example:4711");
    CHECK(failure.message().find("through the proxy http://127.0.0.1") != std::string::npos);

    auto options = silent_options();
    options.lookup = [](const std::string& host) -> std::vector<boost::asio::ip::address> {
        CHECK(host == "proxy.example");
        throw std::runtime_error{"no such name"};
    };
    Feeds unknown{through("http://proxy.example:1"), options};
    const auto lookup = unknown.start(10s).error();
    CHECK(lookup == Error::lookup_failed);
    CHECK(lookup.message().find("through the proxy http://proxy.example:1") != std::string::npos);
    CHECK(lookup.message().find("no such name") != std::string::npos);
}

TEST_CASE("proxy: a mute one costs the time of the start, which says so, and nothing of the stop's")
{
    RawPeer proxy{[](RawConnection& c) { c.wait_for_end(); }};
    Feeds late{through(at(proxy)), without_lookup()};
    const auto failure = late.start(100ms).error();
    CHECK(failure == Error::timed_out);
    CHECK(failure.message().find("tunnel") != std::string::npos);
    CHECK(failure.message().find(at(proxy)) != std::string::npos);

    Feeds stopped{through(at(proxy)), without_lookup()};
    std::thread starter{[&] { CHECK(stopped.start(20s).error() == Error::stopping); }};
    while (stopped.dump().find("tunnel") == std::string::npos)
        std::this_thread::yield();
    const auto report = stopped.stop();
    CHECK(report.joined);
    CHECK(report.total < promptly);
    starter.join();
}

TEST_CASE("proxy: the environment is read at each start, and its mistakes are told by the "
          "variable's name")
{
    RawPeer proxy{[](RawConnection& c) {
        c.read_until("\r\n\r\n");
        c.send("HTTP/1.1 200 OK\r\n\r\nhello\n");
        c.wait_for_end();
    }};
    const auto options = [] {
        auto result = through("");
        result.proxy.from_environment = true;
        return result;
    };
    {
        const Variable set{"http_proxy", at(proxy)};
        Feeds feed{options(), without_lookup()};
        REQUIRE(feed.start(10s));
        CHECK(feed.receive(10s).value().text() == "hello");
        // Not asked for, so not taken
        RawPeer peer{[](RawConnection& c) {
            c.send("straight\n");
            c.wait_for_end();
        }};
        Feeds straight{{.host = "127.0.0.1", .port = peer.port()}, silent_options()};
        REQUIRE(straight.start(10s));
        CHECK(straight.receive(10s).value().text() == "straight");
        const Variable none{"no_proxy", "127.0.0.0/8"};
        Feeds exempt{
            {.host = "127.0.0.1", .port = peer.port(), .proxy = {.from_environment = true}},
            silent_options({.total = 10s, .close = 20ms})};
        REQUIRE(straight.stop().joined);
        REQUIRE(exempt.start(10s));
        CHECK(exempt.receive(10s).value().text() == "straight");
    }
    const Variable set{"HTTP_PROXY", "socks5://u:s3cret@p"};
    Feeds feed{options(), without_lookup()};
    const auto failure = feed.start(10s).error();
    CHECK(failure == Error::bad_options);
    CHECK(failure.message().find("the variable HTTP_PROXY") != std::string::npos);
    CHECK(failure.message().find("s3cret") == std::string::npos);
}

TEST_CASE("proxy: the environment is read by the application's start, not by a reconnect")
{
    int connections = 0;
    RawPeer proxy{[&](RawConnection& c) {
        c.read_until("\r\n\r\n");
        c.send("HTTP/1.1 200 OK\r\n\r\n" + std::to_string(++connections) + "\n");
        if (connections != 1)
            c.wait_for_end();
    }};
    auto target = through("");
    target.proxy.from_environment = true;
    auto options = without_lookup();
    options.reconnect = Reconnect{.window = 1ms};
    const Variable set{"http_proxy", at(proxy)};
    Feeds feed{target, options};
    const Variable other{"http_proxy", "socks5://nowhere"};
    CHECK(feed.start(10s).error() == Error::bad_options);
    {
        const Variable right{"http_proxy", at(proxy)};
        REQUIRE(feed.start(10s));
    }
    std::string heard;
    while (heard.size() < 2) {
        const auto message = feed.receive(10s);
        REQUIRE((message || message.error() == Error::disconnected));
        if (message)
            heard += message->text();
    }
    CHECK(heard == "12");
}

TEST_CASE("proxy: a host that can be none is refused by check(), with the form that it should have")
{
    const auto why = [](const Tcp<Lines>::Options& options) {
        const auto checked = Tcp<Lines>::check(options);
        REQUIRE_FALSE(checked);
        return checked.error().explanation();
    };
    CHECK(why(through("http://m\xc3\xbcnchen.test:3128"))
          == "proxy.url is no URL of a proxy like http://host:port: the host name has a character "
             "beyond ASCII; write it in its xn-- form (http://m\\xc3\\xbcnchen.test:3128)");
    auto target = through("http://p:3128");
    target.host = std::string(300, 'h');
    CHECK(why(target) == "the host name has 300 bytes, a name has at most 253");
    target.host = ".example.com";
    CHECK(why(target) == "the host name has an empty part before a dot");
    target = through("http://p:3128");
    target.proxy.tls.insecure_skip_verification = true;
    CHECK(why(target) == "proxy.tls has no meaning without a proxy of https://");
}

TEST_CASE("hosts: what is no name is refused for each use, and no look-up is asked about it")
{
    using namespace std::string_literals;
    const std::string bad[] = {".example.com",        "example.com..",
                               "a..example.com",      ".",
                               "*.example.com",       std::string(64, 'a') + ".example.com",
                               std::string(256, 'h'), "localhost\0.example.com"s,
                               "127.0.0.1\0"s,        "127.0.0.1%x\r\nX",
                               "127.0.0.1%",          "::1%\r\nX"};
    std::atomic<int> lookups{0};
    auto options = silent_options();
    options.lookup = [&](const std::string&) {
        ++lookups;
        return std::vector{boost::asio::ip::make_address("127.0.0.1")};
    };
    for (const auto& host : bad) {
        CAPTURE(host);
        Tcp<Lines>::Options direct{.host = host, .port = 1};
        auto proxied = through("http://127.0.0.1:1");
        proxied.host = host;
        auto secured = direct;
        secured.tls = TlsOptions{};
        for (const auto& target : {direct, proxied, secured}) {
            CHECK(Tcp<Lines>::check(target).error() == Error::bad_address);
            Sidecar<Tcp<Lines>> feed{target, options};
            CHECK(feed.start(10s).error() == Error::bad_address);
        }
        CHECK(Tcp<Lines>::check(through("http://" + host + ":3128")).error() == Error::bad_options);
    }
    CHECK(lookups == 0);
    // A name may say that it is complete
    RawPeer peer{[](RawConnection& c) {
        c.send("hello\n");
        c.wait_for_end();
    }};
    Sidecar<Tcp<Lines>> feed{{.host = "example.com.", .port = peer.port()}, options};
    REQUIRE(feed.start(10s));
    CHECK(feed.receive(10s)->text() == "hello");
    CHECK(lookups == 1);
}

TEST_CASE("proxy: one whose URL makes no sense is refused by check()")
{
    const auto checked = Tcp<Lines>::check(through("http://u:s3cret@p:0"));
    REQUIRE_FALSE(checked);
    CHECK(checked.error() == Error::bad_options);
    CHECK(checked.error().message().find("proxy.url") != std::string::npos);
    CHECK(checked.error().message().find("s3cret") == std::string::npos);
}

} // namespace proxy_test
