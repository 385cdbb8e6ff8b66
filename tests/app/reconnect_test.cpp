// Links that come back: what the application sees of it, on virtual time.
#include "support/each_second.hpp"
#include "support/failure_of.hpp"
#include "support/next_text.hpp"
#include "support/silent_options.hpp"

#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace reconnect_test {

using namespace sidecar;
using namespace std::chrono_literals;

struct Trial {
    explicit Trial(Options options, OptionsProvider<Mock> fresh = {})
        : feed{{.peer = peer, .max_message_bytes = 64u << 10},
               silenced(std::move(options)),
               std::move(fresh)}
    {
    }
    /// Fails the connects of which `fails` says so, each with this failure.
    void refuse(std::function<bool(std::uint32_t)> fails, Failure why = Error::connect_failed)
    {
        peer.on_connect([fails, why](MockConnection& connection) {
            if (fails(connection.number()))
                connection.refuse(why);
        });
    }
    /// Delivers these and drops the connection, in one moment. Returns when it is down.
    void deliver_and_drop(std::vector<std::string> texts)
    {
        (void)feed.call("the peer", [this, texts](Context ctx) -> Task<> {
            for (const auto& text : texts)
                peer.deliver(text);
            peer.drop();
            co_await ctx.sleep_for(1ms);
        });
    }
    [[nodiscard]] std::string next() { return next_text(feed); }
    /// Until this comes; what came is told if it does not.
    void expect(const std::string& wanted)
    {
        std::string came;
        for (int i = 0; i < 20; ++i) {
            const auto event = next();
            if (event == wanted)
                return;
            came += event + "; ";
        }
        FAIL("instead of \"", wanted, "\" came ", came);
    }

    MockPeer peer;
    Sidecar<Mock> feed;
};

Failure refused(std::uint16_t status)
{
    return {Error::handshake_refused, {.attempted = "connect", .http_status = status}};
}

TEST_CASE("reconnect: off by default, a link that went down stays down")
{
    Trial t{{}};
    REQUIRE(t.feed.start(1s));
    CHECK(t.next() == "up 1 first");
    t.peer.drop();
    CHECK(t.next() == "down 1 last (the connection broke)");
    CHECK(t.feed.next_event(1h).error() == Error::disconnected);
    CHECK(t.peer.connect_count() == 1);
}

TEST_CASE("reconnect: the seam stands in the stream, each event with connection and times")
{
    Trial t{{.reconnect = each_second()}};
    REQUIRE(t.feed.start(1s));
    CHECK(t.next() == "up 1 first");
    t.deliver_and_drop({"a", "b"});
    CHECK(t.next() == "message 1 a");
    CHECK(t.next() == "message 1 b");
    const auto down = t.feed.next_event(1s);
    CHECK(text_of(down) == "down 1 more (the connection broke)");
    CHECK(*down->next_attempt == down->at + 1s);
    CHECK(t.feed.state() == State::disconnected);
    const auto up = t.feed.next_event(1h);
    CHECK(text_of(up) == "up 2 unknown");
    CHECK(up->at == *down->next_attempt);
    CHECK(up->wall_time.time_since_epoch() == up->at.time_since_epoch());
    CHECK(t.feed.state() == State::connected);
    t.peer.deliver("c");
    const auto message = t.feed.next_event(1s);
    CHECK(text_of(message) == "message 2 c");
    CHECK(message->message.connection() == 2);
    CHECK(message->at >= up->at);
    CHECK(t.feed.link()->connection() == 2);
    t.feed.stop();
    CHECK(t.next().substr(0, 7) == "stopped");
}

TEST_CASE("reconnect: receive and poll end once at the seam, and go on behind it")
{
    Trial t{{.reconnect = each_second()}};
    REQUIRE(t.feed.start(1s));
    for (std::uint32_t connection = 1; connection <= 3; ++connection) {
        t.deliver_and_drop({"received", "polled"});
        const auto message = t.feed.receive(1h);
        REQUIRE(message);
        CHECK(message->connection() == connection);
        const auto polled = t.feed.poll([&](const MessageView& view) {
            CHECK(view.text() == "polled");
            CHECK(view.connection() == connection);
        });
        CHECK(polled.value() == 1);
        if (connection == 2)
            CHECK(t.feed.poll([](const MessageView&) {}).error() == Error::disconnected);
        else
            CHECK(t.feed.receive(100ms).error() == Error::disconnected);
        CHECK(t.feed.receive(500ms).error() == Error::timed_out); // said once
        CHECK(t.feed.receive(1s).error() == Error::timed_out);    // and it is up again
    }
}

TEST_CASE("reconnect: attempts that fail are told as such, and the last one as the end")
{
    Trial t{{.reconnect = each_second({.max_attempts = 3})}};
    t.refuse([](std::uint32_t connect) { return connect > 1; });
    REQUIRE(t.feed.start(1s));
    t.peer.drop();
    CHECK(t.next() == "up 1 first");
    CHECK(t.next() == "down 1 more (the connection broke)");
    CHECK(t.next() == "retry 1 more (the connection could not be made)");
    CHECK(t.next() == "retry 1 more (the connection could not be made)");
    CHECK(t.next() == "retry 1 last (the connection could not be made)");
    CHECK(t.feed.next_event(1h).error() == Error::connect_failed);
    CHECK(t.feed.receive(1h).error() == Error::connect_failed); // and again
    CHECK(t.peer.connect_count() == 4);
    CHECK(t.feed.stats().failed_attempts == 3);
    CHECK(t.feed.stats().connections == 1);
}

TEST_CASE("reconnect: what cannot heal ends it at once, and the application is told")
{
    Trial t{{.reconnect = each_second()}};
    t.refuse([](std::uint32_t connect) { return connect == 3; }, refused(401));
    REQUIRE(t.feed.start(1s));
    t.peer.drop();
    CHECK(t.feed.receive(1h).error() == Error::disconnected);
    CHECK(t.feed.receive(5s).error() == Error::timed_out);
    t.peer.drop();
    CHECK(t.feed.receive(1h).error() == Error::disconnected);
    CHECK(t.feed.receive(1h).error().http_status() == 401);
    CHECK(t.feed.receive(1h).error().http_status() == 401);
    CHECK(t.peer.connect_count() == 3);
}

TEST_CASE("reconnect: a predicate decides otherwise, and what it throws ends the link")
{
    auto options = each_second({.max_attempts = 5});
    options.retry_if = [](const Failure& why) { return why.http_status() != 500; };
    Trial asks{{.reconnect = options}};
    asks.peer.on_connect([](MockConnection& connection) {
        if (connection.number() > 1)
            connection.refuse(refused(connection.number() < 4 ? 401 : 500));
    });
    REQUIRE(asks.feed.start(1s));
    asks.peer.drop();
    CHECK(asks.feed.receive(1h).error() == Error::disconnected);
    CHECK(asks.feed.receive(1h).error().http_status() == 500);
    CHECK(asks.peer.connect_count() == 4);

    options.retry_if = [](const Failure&) -> bool { throw std::runtime_error{"undecided"}; };
    Trial throws{{.reconnect = options}};
    REQUIRE(throws.feed.start(1s));
    throws.peer.drop();
    for (int i = 0; i < 2; ++i) {
        const auto failure = throws.feed.receive(1h).error();
        CHECK(failure == Error::callback_failed);
        CHECK(failure.explanation() == "the retry_if function threw: undecided");
    }
    CHECK(throws.peer.connect_count() == 1);
    const auto errors = throws.feed.errors();
    REQUIRE(errors.entries.size() == 2);
    CHECK(errors.entries[0].failure == Error::disconnected);
    CHECK(errors.entries[1].failure == Error::callback_failed);
}

TEST_CASE("reconnect: start fails at the first failure, or keeps trying until its timeout")
{
    const auto fails = [](std::uint32_t until) {
        return [until](std::uint32_t connect) { return connect < until; };
    };
    Trial once{{.reconnect = each_second()}};
    once.refuse(fails(3));
    CHECK(once.feed.start(1h).error() == Error::connect_failed);
    CHECK(once.peer.connect_count() == 1);

    Trial patient{{.reconnect = each_second({.at_start = true})}};
    patient.refuse(fails(10));
    CHECK(patient.feed.start(1h));
    CHECK(patient.peer.connect_count() == 10);
    CHECK(patient.feed.link()->connection() == 1);

    Trial too_late{{.reconnect = each_second({.at_start = true})}};
    too_late.refuse(fails(10));
    CHECK(too_late.feed.start(5s).error() == Error::connect_failed);
    CHECK(too_late.peer.connect_count() == 5);
    CHECK(too_late.feed.state() == State::idle);

    Trial hopeless{{.reconnect = each_second({.at_start = true})}};
    hopeless.refuse(fails(2), refused(404));
    CHECK(hopeless.feed.start(1h).error().http_status() == 404);
    CHECK(hopeless.peer.connect_count() == 1);
}

TEST_CASE("reconnect: a start that ran out of time names its attempts and the last real failure")
{
    Trial t{{.reconnect = each_second({.at_start = true})}};
    t.peer.on_connect([](MockConnection& connection) {
        if (connection.number() == 2)
            connection.peer().delay_connect(1h); // of the third
        connection.refuse(refused(503));
    });
    const auto failure = t.feed.start(10s).error();
    CHECK(failure == Error::timed_out);
    INFO(failure.message());
    CHECK(failure.message().find("3 attempts, the one before failed: ") != std::string::npos);
    CHECK(failure.message().find(refused(503).message()) != std::string::npos);
}

TEST_CASE(
    "reconnect: a start whose time ends between two attempts names how many there were, and why")
{
    Trial t{{.reconnect = each_second({.at_start = true}),
             .on_connected = [](Context, Session&) -> Task<> {
                 throw std::runtime_error{"the login was refused"};
                 co_return;
             }}};
    const auto failure = t.feed.start(4500ms).error();
    CHECK(failure == Error::callback_failed);
    CHECK(failure.explanation()
          == "the on_connected function threw: the login was refused; 5 attempts");
    CHECK(failure.trace().has_value());
    CHECK(t.peer.connect_count() == 5);

    Trial busy{{.reconnect = each_second({.at_start = true})}};
    const auto always = [](std::uint32_t) { return true; };
    busy.refuse(always, refused(503));
    const auto last = busy.feed.start(2500ms).error();
    CHECK(last.http_status() == 503);
    CHECK(last.explanation() == "3 attempts");

    Trial once{{.reconnect = each_second()}};
    once.refuse(always, refused(503));
    CHECK(once.feed.start(2500ms).error().explanation().empty());
}

TEST_CASE("reconnect: an open that ran out of time in on_connected names the failure before")
{
    Trial t{{}};
    REQUIRE(t.feed.start(1s));
    MockPeer peer;
    int calls = 0; // the loop's thread
    const auto failure = t.feed
                             .open({.peer = peer}, 10s,
                                   {.reconnect = each_second({.at_start = true}),
                                    .on_connected = [&](Context ctx, Session&) -> Task<> {
                                        if (++calls < 3)
                                            throw std::runtime_error{"the login was refused"};
                                        co_await ctx.sleep_for(1h);
                                    },
                                    .on_connected_timeout = 1h})
                             .error();
    CHECK(failure == Error::timed_out);
    CHECK(failure.message().find("3 attempts, the one before failed: ") != std::string::npos);
    CHECK(failure.message().find("the login was refused") != std::string::npos);
    CHECK(t.feed.state() == State::connected);
    CHECK(t.feed.stop().clean());
}

TEST_CASE("reconnect: a message above the limit ends the link for good, unless retry_if wants more")
{
    const auto too_big = [](MockPeer& peer) {
        peer.deliver("fits");
        peer.deliver(std::string((64u << 10) + 1, 'x'));
    };
    for (const auto queued : {OnDisconnect::discard, OnDisconnect::keep}) {
        Trial t{{.reconnect = each_second({.on_disconnect = queued})}};
        REQUIRE(t.feed.start(1s));
        too_big(t.peer);
        CHECK(t.next() == "up 1 first");
        CHECK(t.next() == "message 1 fits");
        const auto down = t.feed.next_event(1h);
        REQUIRE(down);
        CHECK(down->kind == Event::Kind::down);
        CHECK_FALSE(down->next_attempt);
        CHECK(down->failure->message().find("65537 bytes; the option max_message_bytes is 65536")
              != std::string::npos);
        CHECK(t.feed.receive(1h).error() == Error::too_big); // and again
        CHECK(t.peer.connect_count() == 1);
        CHECK(t.feed.send("x").error() == Error::not_connected);
        CHECK(t.feed.stop().joined);
    }
    auto insists = each_second();
    insists.retry_if = [](const Failure&) { return true; };
    Trial t{{.reconnect = insists}};
    REQUIRE(t.feed.start(1s));
    too_big(t.peer);
    t.expect("up 2 unknown");
    CHECK(t.feed.stop().clean());
}

TEST_CASE("reconnect: after close code 1012 or 1013 no wait is longer than max_window")
{
    for (const std::uint16_t code : {1012, 1013})
        for (const bool is_latest : {false, true}) {
            CAPTURE(code);
            Reconnect options{.max_window = 2s};
            options.random = [is_latest] { return is_latest ? UINT64_MAX : 0; };
            Trial t{{.reconnect = options}};
            REQUIRE(t.feed.start(1s));
            CHECK(t.next() == "up 1 first");
            for (std::uint32_t i = 2; i < 6; ++i) {
                t.peer.close(code, {});
                const auto down = t.feed.next_event(1h);
                REQUIRE(down);
                REQUIRE(down->next_attempt);
                const auto wait = *down->next_attempt - down->at;
                CHECK(wait <= 2s);
                CHECK(wait >= 2s / 6);
                CHECK(t.next() == fmt::format("up {} unknown", i));
            }
            CHECK(t.feed.stop().clean());
        }
}

TEST_CASE("reconnect: an attempt that hangs is given up, and the next one follows")
{
    Trial t{{.reconnect = each_second({.connect_timeout = 3s})}};
    REQUIRE(t.feed.start(1s));
    t.peer.delay_connect(1h);
    t.peer.drop();
    t.expect("retry 1 more (timed out)");
    t.peer.allow_connect();
    t.expect("up 2 unknown");
}

TEST_CASE("reconnect: each attempt gets its own options, and what makes them may fail")
{
    std::vector<std::string> attempts; // on the loop's thread
    MockPeer peer;
    const OptionsProvider<Mock> fresh = [&attempts, peer](Context ctx,
                                                          Attempt attempt) -> Task<Mock::Options> {
        attempts.push_back(fmt::format("{}/{} {}", attempt.connection, attempt.number,
                                       attempt.last_failure ? attempt.last_failure->code().message()
                                                            : std::string{"-"}));
        co_await ctx.sleep_for(10ms); // asks for a token
        if (attempts.size() == 2)
            throw std::runtime_error{"no token to be had"};
        Mock::Options options{.peer = peer};
        options.token = fmt::format("t{}", attempts.size());
        co_return options;
    };
    Sidecar<Mock> feed{{.peer = peer}, silenced({.reconnect = each_second()}), fresh};
    REQUIRE(feed.start(1s));
    peer.drop();
    CHECK(next_text(feed) == "up 1 first");
    CHECK(next_text(feed) == "down 1 more (the connection broke)");
    const auto retry = feed.next_event(1h);
    CHECK(text_of(retry) == "retry 1 more (the connection could not be made)");
    CHECK(retry->failure->explanation()
          == "the function that makes the options threw: no token to be had");
    CHECK(next_text(feed) == "up 2 unknown");
    feed.stop();
    CHECK(attempts
          == std::vector<std::string>{"1/1 -", "2/2 the connection broke",
                                      "2/3 the connection could not be made"});
    CHECK(peer.connections().at(0).token == "t1");
    CHECK(peer.connections().at(1).token == "t3");
}

TEST_CASE("orders: what names a connection goes out on that one or not at all")
{
    for (const auto queued : {OnDisconnect::discard, OnDisconnect::keep}) {
        CAPTURE(queued == OnDisconnect::keep);
        Trial t{{.reconnect = each_second({.on_disconnect = queued})}};
        REQUIRE(t.feed.start(1s));
        auto link = t.feed.link().value();
        CHECK(link.send("first", {.connection = 1}));
        CHECK(link.send("never", {.connection = 2}).error() == Error::wrong_connection);
        CHECK(link.send("never", {.connection = 0}).error() == Error::wrong_connection);
        REQUIRE(link.flush(1s));
        // One waits for its turn when the connection breaks.
        t.peer.connection()->hold_writes();
        REQUIRE(link.send("plug"));
        CHECK(t.feed.receive(1ms).error() == Error::timed_out); // the writer has it
        REQUIRE(link.send("order", {.connection = 1}));
        REQUIRE(link.send("any"));
        t.peer.drop();
        CHECK(t.feed.receive(1h).error() == Error::disconnected);
        CHECK(link.send("late order", {.connection = 1}).error() == Error::wrong_connection);
        CHECK(t.feed.receive(5s).error() == Error::timed_out); // it is up again
        CHECK(link.connection() == 2);
        CHECK(link.send("second", {.connection = 2}));
        REQUIRE(link.flush(1s));
        for (const auto* never : {"never", "order", "late order", "plug"})
            CHECK(t.peer.count(fmt::format("2:{}", never)) == 0);
        CHECK(t.peer.count("2:any") == (queued == OnDisconnect::keep ? 1 : 0));
        CHECK(t.peer.count("2:second") == 1);
        const auto stats = t.feed.stats();
        CHECK(stats.messages_accepted == stats.messages_sent + stats.unsent);
        CHECK(stats.unsent == (queued == OnDisconnect::keep ? 2 : 3));
        CHECK(t.feed.stop().unsent_messages == stats.unsent);
    }
}

TEST_CASE("orders: what was written half is not written again, and what was not is kept")
{
    Trial t{{.reconnect = each_second({.on_disconnect = OnDisconnect::keep})}};
    t.peer.fail_write(boost::asio::error::broken_pipe, 2);
    REQUIRE(t.feed.start(1s));
    t.peer.connection()->hold_writes();
    for (const auto* text : {"a", "b", "c", "d", "e"})
        REQUIRE(t.feed.send(text));
    CHECK(t.feed.receive(1ms).error() == Error::timed_out);
    t.peer.connection()->release_writes();
    t.peer.drop();
    t.expect("up 2 unknown");
    if (!t.feed.flush(1s)) // the first connection was dropped before its write failed, so one of
        REQUIRE(t.feed.flush(5s)); // the second did
    const auto written = t.peer.written();
    for (const auto* text : {"a", "b", "c", "d", "e"}) {
        CAPTURE(text);
        const auto times = t.peer.count(fmt::format("1:{}", text))
                           + t.peer.count(fmt::format("1:half of {}", text))
                           + t.peer.count(fmt::format("2:{}", text));
        CHECK(times <= 1);
    }
    const auto stats = t.feed.stats();
    CHECK(stats.messages_accepted == stats.messages_sent + stats.unsent);
}

TEST_CASE("sends: who waits for room, or for the writing, is answered at the drop")
{
    Options options{.outbox = {.bytes = 1024, .messages = 2}, .reconnect = each_second()};
    Trial t{std::move(options)};
    REQUIRE(t.feed.start(1s));
    auto link = t.feed.link().value();
    t.peer.connection()->hold_writes();
    REQUIRE(link.send("a"));
    REQUIRE(link.send("b"));
    CHECK(link.send("c").error() == Error::full);
    // First, so that an hour of virtual time cannot pass without it.
    REQUIRE(t.feed.spawn("drop later", [peer = t.peer](Context ctx) mutable -> Task<> {
        co_await ctx.sleep_for(1s);
        peer.drop();
    }));
    Result<void> sent, flushed;
    std::thread sender{[&] { sent = link.send("c", 1h); }};
    std::thread flusher{[&] { flushed = link.flush(1h); }};
    sender.join();
    flusher.join();
    // A thread that came late found the next connection; both are answers to the drop otherwise.
    CHECK((sent || sent.error() == Error::not_connected));
    CHECK((flushed || flushed.error() == Error::not_connected));
    CHECK(t.peer.count("2:a") == 0);
    CHECK(t.peer.count("2:b") == 0);
    CHECK(t.feed.next_event(1s)->kind == Event::Kind::up);
    t.expect("up 2 unknown");
    CHECK(link.send("d", 1s));
    CHECK(link.flush(1s));
}

TEST_CASE("flush: while the link is down it does not say that what was lost was written")
{
    Trial t{{.reconnect = each_second()}};
    REQUIRE(t.feed.start(1s));
    REQUIRE(t.feed.send("good"));
    REQUIRE(t.feed.flush(1s));
    t.peer.connection()->hold_writes();
    REQUIRE(t.feed.send("lost"));
    t.peer.drop();
    t.expect("down 1 more (the connection broke)");
    CHECK(t.feed.flush(0s).error() == Error::not_connected);
    CHECK(t.feed.flush(100ms).error() == Error::not_connected);
    t.expect("up 2 unknown");
    CHECK(t.feed.flush(1s)); // a new beginning
    t.peer.drop();
    t.expect("down 2 more (the connection broke)");
    CHECK(t.feed.flush(1s)); // nothing was lost
}

TEST_CASE("stop: in the back-off it comes at once, and no attempt and no event follows")
{
    Trial t{{.reconnect = each_second()}};
    REQUIRE(t.feed.start(1s));
    t.peer.drop();
    t.expect("down 1 more (the connection broke)");
    (void)t.feed.call("wait", [](Context ctx) { return ctx.sleep_for(1ms); });
    CHECK(t.feed.dump().find("backing off") != std::string::npos);
    const auto report = t.feed.stop();
    CHECK(report.clean());
    CHECK(report.total == Duration{});
    CHECK(report.cancelled.empty());
    CHECK(t.next().substr(0, 7) == "stopped");
    CHECK(t.peer.connect_count() == 1);
}

TEST_CASE("stop: between attempts and in an attempt no other one follows")
{
    for (const auto delay : {Duration{}, Duration{10s}}) {
        Trial t{{.reconnect = each_second()}};
        t.refuse([](std::uint32_t connect) { return connect > 1; });
        REQUIRE(t.feed.start(1s));
        t.peer.delay_connect(delay);
        t.peer.drop();
        t.expect("down 1 more (the connection broke)");
        CHECK_FALSE(t.feed.receive(3s)); // attempts are made
        t.feed.request_stop();
        const auto report = t.feed.wait_stopped(1h).value();
        CHECK(report.joined);
        const auto connects = t.peer.connect_count();
        for (auto event = t.feed.next_event(1h); event && event->kind != Event::Kind::stopped;
             event = t.feed.next_event(1h))
            CHECK(event->kind == Event::Kind::retry);
        CHECK(t.peer.connect_count() == connects);
    }
}

TEST_CASE("close: one link closes alone, in every phase, and leaves nothing behind")
{
    enum class Phase { up, backing_off, connecting, down };
    for (const auto phase : {Phase::up, Phase::backing_off, Phase::connecting, Phase::down}) {
        CAPTURE(static_cast<int>(phase));
        Trial t{{}};
        REQUIRE(t.feed.start(1s));
        MockPeer other;
        auto link = t.feed.open({.peer = other}, 1s, {.reconnect = each_second()}).value();
        CHECK(t.next() == "up 1 first");
        CHECK(t.next() == "up 1 first");
        if (phase != Phase::up) {
            if (phase == Phase::connecting)
                other.delay_connect(1h);
            if (phase == Phase::down)
                other.on_connect([](MockConnection& peer) { peer.refuse(refused(403)); });
            other.drop();
            t.expect("down 1 more (the connection broke)");
        }
        if (phase == Phase::connecting)
            CHECK(t.feed.receive(2s).error() == Error::timed_out);
        if (phase == Phase::down)
            t.expect("retry 1 last (the peer refused the handshake)");
        if (phase == Phase::up) {
            REQUIRE(link.send("goodbye"));
            other.deliver("before");
            CHECK(t.feed.receive(1s)->text() == "before");
        }
        CHECK(link.close(1s));
        CHECK(link.close(1s));
        CHECK_FALSE(link.is_up());
        if (phase != Phase::down) {
            CHECK(link.send("x").error() == Error::link_closed);
            CHECK(t.next() == "down 1 last (the link was closed by the application)");
        }
        if (phase == Phase::up)
            CHECK(other.written() == std::vector<std::string>{"1:goodbye", "1:close"});
        CHECK(t.feed.dump().find("link 1") == std::string::npos);
        const auto connects = other.connect_count();
        // The feed runs on
        CHECK(t.feed.state() == State::connected);
        REQUIRE(t.feed.send("on"));
        CHECK(t.feed.flush(1s));
        CHECK(t.feed.receive(1h).error() == Error::timed_out);
        CHECK(other.connect_count() == connects);
        CHECK(t.feed.stop().clean());
    }
}

TEST_CASE("close: receive passes over it, and says it when no link is left")
{
    Trial t{{}};
    REQUIRE(t.feed.start(1s));
    MockPeer other;
    auto link = t.feed.open({.peer = other}, 1s).value();
    CHECK(link.close(1s));
    CHECK(t.feed.receive(1s).error() == Error::timed_out);
    CHECK(t.feed.link()->close(1s));
    CHECK(t.feed.receive(1s).error() == Error::link_closed);
    CHECK(t.feed.poll([](const MessageView&) {}).error() == Error::link_closed);
    CHECK(t.feed.stop().clean());
}

TEST_CASE("close: a peer that does not answer is cut off at the timeout")
{
    Trial t{{.reconnect = each_second()}};
    t.peer.delay_close(Duration::max());
    REQUIRE(t.feed.start(1s));
    CHECK(t.feed.link()->close(2s).error() == Error::timed_out);
    CHECK(t.feed.receive(1h).error() == Error::link_closed);
    CHECK(t.peer.connect_count() == 1);
    (void)t.feed.call("from the loop", [&](Context) -> Task<> {
        CHECK(t.feed.link()->close(1s).error() == Error::misuse);
        co_return;
    });
    CHECK(t.feed.stop().joined);
}

TEST_CASE("close: a stop that comes meanwhile takes it over")
{
    Trial t{{}};
    t.peer.delay_close(Duration::max());
    REQUIRE(t.feed.start(1s));
    auto link = t.feed.link().value();
    std::thread closer{[&] { CHECK_FALSE(link.close(1h)); }};
    while (t.peer.count("1:close") == 0)
        std::this_thread::yield();
    const auto report = t.feed.stop();
    closer.join();
    CHECK(report.joined);
    CHECK(t.peer.count("1:close") == 1);
}

TEST_CASE("reconnect: 24 hours of flapping, with the same trace for the same seed")
{
    const auto run = [](std::uint64_t seed) {
        std::vector<std::string> trace;
        Trial t{{.reconnect = Reconnect{.random = std::mt19937_64{seed}}}};
        t.refuse([](std::uint32_t connect) { return connect % 3 == 0; });
        REQUIRE(t.feed.start(1s));
        (void)t.feed.spawn("flapping", [peer = t.peer](Context ctx) mutable -> Task<> {
            for (;;) {
                co_await ctx.sleep_for(25s);
                if (peer.connection()) {
                    peer.deliver("alive");
                    peer.drop();
                }
            }
        });
        TimePoint until{24h};
        std::uint32_t last_connection = 0;
        for (;;) {
            const auto event = t.feed.next_event(1h);
            REQUIRE(event);
            if (event->at >= until)
                break;
            if (event->kind == Event::Kind::up) {
                CHECK(event->connection == last_connection + 1);
                last_connection = event->connection;
            }
            trace.push_back(
                fmt::format("{} {}", event->at.time_since_epoch().count(), text_of(event)));
        }
        CHECK(last_connection > 1000);
        return trace;
    };
    const auto first = run(1);
    CHECK(first == run(1));
    CHECK(first != run(2));
}

TEST_CASE("reconnect: what nobody reads of a flapping link is bounded")
{
    Trial t{{.reconnect = each_second()}};
    REQUIRE(t.feed.start(1s));
    (void)t.feed.call("flapping", [peer = t.peer](Context ctx) mutable -> Task<> {
        for (int i = 0; i < 1000; ++i) {
            co_await ctx.sleep_for(2s);
            if (auto connection = peer.connection())
                connection->drop();
        }
    });
    std::size_t events = 0;
    std::uint32_t last = 0;
    for (auto event = t.feed.next_event(0s); event; event = t.feed.next_event(0s)) {
        ++events;
        CHECK(event->connection >= last);
        last = event->connection;
    }
    CHECK(events < 200);
    CHECK(last >= 1000);
}

} // namespace reconnect_test
