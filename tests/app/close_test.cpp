// What a close says to the peer, what a connection is known by, and a login that is refused.
#include "support/fixture.hpp"
#include "support/minimal_transport.hpp"
#include "support/next_text.hpp"

#include <sidecar/json.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace close_test {

using namespace sidecar;
using namespace std::chrono_literals;

const CloseReason bad_reasons[] = {
    {.code = 0},
    {.code = 999},
    {.code = 1004},
    {.code = 1005},
    {.code = 1006},
    {.code = 1015},
    {.code = 2999},
    {.code = 5000},
    {.code = 65535},
    {.code = 1000, .reason = std::string(124, 'x')},
    {.code = 1000, .reason = "cut \xc3"},
};

Failure refused(std::string why)
{
    return {Error::login_refused, {.attempted = "log in", .explanation = std::move(why)}};
}

// --- the close

TEST_CASE("close: the peer gets the code and the reason")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    for (const auto& reason :
         {CloseReason{}, CloseReason{.code = 1003}, CloseReason{.code = 1007, .reason = "a"},
          CloseReason{.code = 1014}, CloseReason{.code = 3000},
          CloseReason{.code = 4999, .reason = std::string(121, 'x') + "\xc3\xa9"}}) {
        CAPTURE(reason.code);
        MockPeer peer;
        auto link = f.feed.open<Mock>({.peer = peer}, 1s).value();
        CHECK(link.close(1s, reason));
        CHECK(peer.close_code() == reason.code);
        CHECK(peer.close_reason() == reason.reason);
        CHECK(link.close(1s, {.code = 4000})); // closed already
        CHECK(peer.close_code() == reason.code);
    }
    const auto report = f.feed.stop({.code = 1001, .reason = "restart"});
    CHECK(report.clean());
    CHECK_FALSE(report.first_error);
    CHECK(f.peer.close_code() == 1001);
    CHECK(f.peer.close_reason() == "restart");
}

TEST_CASE("close: what no peer may get is refused before anything is closed")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    auto link = f.feed.link().value();
    for (const auto& reason : bad_reasons) {
        CAPTURE(reason.code);
        const auto closed = link.close(1s, reason);
        REQUIRE_FALSE(closed);
        CHECK(closed.error() == Error::bad_options);
        CHECK(closed.error().attempted() == "close");
        CHECK(closed.error().endpoint() == "mock");
        CHECK(link.is_up());
    }
    CHECK(link.close(1s, bad_reasons[3]).error().message()
          == "cannot close (mock): the options make no sense: the close code 1005: it must be 1000 "
             "to 1003, 1007 to 1014 or 3000 to 4999");
    CHECK(link.close(1s, bad_reasons[9]).error().explanation()
          == "a close reason of 124 bytes; the limit is 123");
    CHECK(link.close(1s, bad_reasons[10]).error().explanation() == "the close reason is not UTF-8");
    CHECK(f.feed.send("still open"));
    CHECK(f.feed.stop().clean());
    CHECK(f.peer.sent() == std::vector<std::string>{"still open"});
    CHECK(f.peer.close_code() == 1000);
}

TEST_CASE("stop: with an invalid reason it closes with 1000, and the report says why")
{
    for (const auto& reason : bad_reasons) {
        CAPTURE(reason.code);
        Fixture f;
        REQUIRE(f.feed.start(1s));
        const auto report = f.feed.stop(reason);
        CHECK(report.clean());
        CHECK(f.peer.close_code() == 1000);
        CHECK(f.peer.close_reason().empty());
        REQUIRE(report.first_error);
        CHECK(*report.first_error == Error::bad_options);
        CHECK(report.first_error->attempted() == "stop");
        CHECK(f.feed.errors().entries.size() == 1);
        (void)f.feed.stop(reason); // it is over: nothing to say any more
        CHECK(f.feed.errors().entries.size() == 1);
    }
}

TEST_CASE("stop: its reason is for one run, and for nothing where none runs")
{
    Fixture f;
    CHECK(f.feed.stop({.code = 4000}).clean());
    CHECK(f.feed.stop({.code = 1005}).clean());
    CHECK(f.feed.errors().entries.empty());
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.stop({.code = 4001, .reason = "first run"}).clean());
    CHECK(f.peer.close_code() == 4001);
    REQUIRE(f.feed.start(1s));
    f.feed.request_stop();
    CHECK(f.feed.wait_stopped(10s));
    CHECK(f.peer.close_code() == 1000);
    CHECK(f.peer.close_reason().empty());
}

TEST_CASE("stop: of several reasons at once, all links get the same one")
{
    for (int round = 0; round < 20; ++round) {
        MockPeer first, second;
        Sidecar<Mock> feed{{.peer = first}, silent_options()};
        REQUIRE(feed.start(1s));
        REQUIRE(feed.open<Mock>({.peer = second}, 1s));
        std::vector<std::thread> threads;
        for (const std::uint16_t code : {4001, 4002, 4003})
            threads.emplace_back([&feed, code] {
                CHECK(feed.stop({.code = code, .reason = std::string(100, 'r')}).joined);
            });
        for (auto& thread : threads)
            thread.join();
        CHECK(first.close_code() >= 4001);
        CHECK(first.close_code() <= 4003);
        CHECK(second.close_code() == first.close_code());
        CHECK(second.close_reason() == std::string(100, 'r'));
    }
}

TEST_CASE("close: its reason holds where a stop begins meanwhile, and so does the stop's elsewhere")
{
    Fixture f;
    MockPeer second;
    REQUIRE(f.feed.start(1s));
    auto link = f.feed.open<Mock>({.peer = second}, 1s).value();
    second.delay_close(Duration::max());
    std::thread closer{[&] { CHECK_FALSE(link.close(1h, {.code = 4001, .reason = "alone"})); }};
    const auto is_closing = [&] {
        const auto trace = second.trace();
        return std::find_if(trace.begin(), trace.end(),
                            [](const auto& line) { return line.find("close 4001") != line.npos; })
               != trace.end();
    };
    while (!is_closing())
        std::this_thread::yield();
    (void)f.feed.stop({.code = 4002, .reason = "all"});
    closer.join();
    CHECK(f.peer.close_code() == 4002);
    CHECK_FALSE(second.was_closed());
}

// --- a refused login

TEST_CASE("login: refused, start() fails for good, with and without reconnecting")
{
    for (const bool by_call : {true, false})
        for (const auto& reconnect :
             {std::optional<Reconnect>{}, std::optional{Reconnect{.at_start = true}}}) {
            CAPTURE(by_call);
            CAPTURE(reconnect.has_value());
            Options link{.reconnect = reconnect,
                         .on_connected = [by_call](Context, Session& session) -> Task<> {
                             if (by_call)
                                 session.refuse("the token is unknown");
                             throw Exception{refused("the token is unknown")};
                             co_return;
                         }};
            Fixture f{link};
            const auto started = f.feed.start(1h);
            REQUIRE_FALSE(started);
            CHECK(started.error() == Error::login_refused);
            CHECK(
                started.error().message()
                == fmt::format("cannot log in{}: the peer refused the login: the token is unknown",
                               by_call ? " (mock)" : ""));
            CHECK(f.peer.connect_count() == 1);
            CHECK_FALSE(is_retryable(started.error()));

            // The same of a further link; the first goes on
            MockPeer first, second;
            Sidecar<Mock> feed{{.peer = first}, silent_options()};
            REQUIRE(feed.start(1s));
            const auto opened = feed.open<Mock>({.peer = second}, 1h, link.link_options());
            REQUIRE_FALSE(opened);
            CHECK(opened.error() == Error::login_refused);
            CHECK(second.connect_count() == 1);
            CHECK(feed.send("x"));
            CHECK(feed.stop().clean());
        }
}

TEST_CASE("login: refused on a later connection, the link ends with it")
{
    MockPeer peer;
    Options link{.reconnect = Reconnect{}, .on_connected = [](Context, Session& session) -> Task<> {
                     if (session.connection() == 2)
                         session.refuse("logged in elsewhere");
                     co_return;
                 }};
    Sidecar<Mock> feed{{.peer = peer}, silenced(link)};
    REQUIRE(feed.start(1s));
    CHECK(next_text(feed) == "up 1 first");
    CHECK(next_text(feed) == "ready 1");
    peer.drop();
    CHECK(next_text(feed) == "down 1 more (the connection broke)");
    CHECK(next_text(feed) == "retry 1 last (the peer refused the login)");
    const auto end = feed.receive(1h);
    REQUIRE_FALSE(end);
    CHECK(end.error() == Error::login_refused);
    CHECK(end.error().explanation() == "logged in elsewhere");
    CHECK(peer.connect_count() == 2);
    CHECK(feed.state() == State::disconnected);
    CHECK(feed.send("x").error() == Error::not_connected);
    CHECK(feed.errors().entries.back().failure == Error::login_refused);
}

TEST_CASE("login: refused after a message was passed on, the end is a `down`")
{
    MockPeer peer;
    peer.on_message([](MockConnection& to, const MessageView&) { to.deliver("motd"); });
    Options link{.reconnect = Reconnect{}, .on_connected = [](Context, Session& session) -> Task<> {
                     if (session.connection() == 1)
                         co_return;
                     co_await session.send("login");
                     co_await session.pass_on(co_await session.receive());
                     session.refuse("no");
                 }};
    Sidecar<Mock> feed{{.peer = peer}, silenced(link)};
    REQUIRE(feed.start(1s));
    CHECK(next_text(feed) == "up 1 first");
    CHECK(next_text(feed) == "ready 1");
    peer.drop();
    CHECK(next_text(feed) == "down 1 more (the connection broke)");
    CHECK(next_text(feed) == "up 2 unknown");
    CHECK(next_text(feed) == "message 2 motd");
    CHECK(next_text(feed) == "down 2 last (the peer refused the login)");
}

TEST_CASE("login: retry_if may try again after a refusal")
{
    std::atomic<int> asked = 0;
    Options link{.reconnect = Reconnect{.at_start = true,
                                        .retry_if =
                                            [&](const Failure& why) {
                                                ++asked;
                                                return why == Error::login_refused;
                                            }},
                 .on_connected = [](Context, Session& session) -> Task<> {
                     if (session.connection_info().peer == "mock")
                         session.refuse("too early");
                     co_return;
                 }};
    Fixture f{link};
    CHECK(f.feed.start(1min).error() == Error::login_refused);
    CHECK(asked >= 2);
    CHECK(f.peer.connect_count() >= 2);
    f.peer.set_connection_info({.peer = "another"});
    CHECK(f.feed.start(1min));
}

// --- the facts of a connection

TEST_CASE("connection_info: empty before the first connection, then the present one's")
{
    const auto unused = ConnectionInfo{};
    CHECK(unused.header("x").empty());
    Fixture f{{.reconnect = Reconnect{}}};
    f.peer.set_connection_info(
        {.peer = "192.0.2.1:443",
         .http_status = 101,
         .headers = {{"Server", "one"}, {"Set-Cookie", "id=hidden"}, {"SERVER", "two"}},
         .tls = TlsInfo{.version = "TLSv1.3", .certificate = {.subject = "feed.example"}}});
    REQUIRE(f.feed.start(1s));
    auto link = f.feed.link().value();
    const auto info = link.connection_info();
    CHECK(info.connection == 1);
    CHECK(info.peer == "192.0.2.1:443");
    CHECK(info.protocol == link.protocol());
    CHECK(info.http_status == 101);
    CHECK(info.headers.size() == 3);
    CHECK(info.header("server") == "one");
    CHECK(info.header("set-cookie") == "id=hidden");
    CHECK(info.header("Serve").empty());
    CHECK(info.header("Server2").empty());
    REQUIRE(info.tls);
    CHECK(info.tls->certificate.subject == "feed.example");
    CHECK(link.connection_info() == info);

    // The next connection's replace them; while there is none, the last one's stay
    f.peer.set_connection_info({.peer = "192.0.2.2:443"});
    f.peer.drop();
    CHECK(f.feed.receive(1h).error() == Error::disconnected);
    CHECK(link.connection_info().peer == "192.0.2.1:443");
    while (!link.is_up())
        (void)f.feed.receive(1s);
    CHECK(link.connection_info().connection == 2);
    CHECK(link.connection_info().peer == "192.0.2.2:443");
    CHECK(link.connection_info().headers.empty());
    CHECK_FALSE(link.connection_info().tls);
    CHECK(f.feed.stop().clean());
    CHECK(link.connection_info().peer == "192.0.2.2:443");
    const auto moved = std::move(link);
    CHECK(link.connection_info() == ConnectionInfo{}); // NOLINT: what it is for
    CHECK(moved.connection_info().connection == 2);
}

TEST_CASE("connection_info: no text shows a header")
{
    std::string log;
    Options options;
    options.log = [&log](LogLevel, std::string_view line) { log += line; };
    Fixture f{std::move(options)};
    f.peer.set_connection_info({.headers = {{"Set-Cookie", "id=hidden"}}});
    REQUIRE(f.feed.start(1s));
    const auto event = f.feed.next_event(1s).value();
    f.peer.drop();
    (void)f.feed.receive(1s);
    const auto dump = f.feed.dump();
    const auto report = f.feed.stop();
    for (const auto& text :
         {dump, to_string(report), to_json(report), to_json(event), log, to_string(f.feed.stats()),
          to_json(f.feed.stats()), f.feed.errors().entries.at(0).failure.message(),
          to_json(f.feed.errors().entries.at(0).failure)})
        CHECK(text.find("hidden") == text.npos);
}

/// Gives facts of its own.
struct Telling : MinimalTransport {
    using MinimalTransport::MinimalTransport;
    Task<> connect(Context ctx)
    {
        ctx.negotiated("v2");
        co_return;
    }
    ConnectionInfo connection_info()
    {
        return {.connection = 77, .peer = "bus 3", .protocol = "ignored"};
    }
};
/// Cannot give any.
struct Failing : MinimalTransport {
    using MinimalTransport::MinimalTransport;
    ConnectionInfo connection_info() { throw std::runtime_error{"no facts"}; }
};

TEST_CASE("connection_info: a custom transport may give facts")
{
    Sidecar<Telling> telling{{}, silent_options()};
    REQUIRE(telling.start(10s));
    const auto info = telling.link().value().connection_info();
    CHECK(info.connection == 1);
    CHECK(info.peer == "bus 3");
    CHECK(info.protocol == "v2");
    CHECK(telling.stop().clean());

    Sidecar<MinimalTransport> silent{{}, silent_options()};
    REQUIRE(silent.start(10s));
    CHECK(silent.link().value().connection_info() == ConnectionInfo{.connection = 1});
    CHECK(silent.stop().clean());

    Sidecar<Failing> failing{{}, silent_options()};
    const auto failure = failing.start(10s).error();
    CHECK(failure == Error::connect_failed);
    CHECK(failure.explanation() == "no facts");
}

TEST_CASE("connection_info: threads read it while the link reconnects and stops")
{
    Fixture f{{.reconnect = Reconnect{.window = 1ms, .max_window = 1ms}}};
    f.peer.set_connection_info(
        {.peer = "one", .headers = {{"Server", std::string(100, 's')}, {"Other", "x"}}});
    REQUIRE(f.feed.start(1s));
    auto link = f.feed.link().value();
    std::atomic<bool> is_over = false;
    std::vector<std::thread> readers;
    for (int i = 0; i < 2; ++i)
        readers.emplace_back([&] {
            std::uint32_t last = 1;
            while (!is_over) {
                const auto info = link.connection_info();
                CHECK(info.headers.size() == 2);
                CHECK(info.connection >= last);
                last = info.connection;
            }
        });
    for (int i = 0; i < 50; ++i) {
        f.peer.drop();
        (void)f.feed.receive(1s);
    }
    (void)f.feed.stop({.code = 1001});
    is_over = true;
    for (auto& reader : readers)
        reader.join();
}

} // namespace close_test
