// What a connection begins with: on_connected, subscriptions, and what waits for them.
#include "support/each_second.hpp"
#include "support/fixture.hpp"
#include "support/next_text.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace restore_test {

using namespace sidecar;
using namespace std::chrono_literals;

using Texts = std::vector<std::string>;

/// Logs in and waits for "welcome"; what comes before that is passed on.
Task<> log_in(Context, Session& session)
{
    co_await session.send("login");
    for (;;) {
        auto message = co_await session.receive();
        if (message.text() == "welcome")
            co_return;
        if (message.text() == "refused")
            throw std::runtime_error{"the login was refused"};
        co_await session.pass_on(std::move(message));
    }
}

/// Answers a login and each subscription ("sub x" by "ok x").
void answer_all(MockConnection& peer, const MessageView& message)
{
    if (message.text() == "login")
        peer.deliver("welcome");
    if (message.text().starts_with("sub "))
        peer.deliver("ok " + std::string{message.text().substr(4)});
}

AckPredicate ok(std::string what)
{
    return [what](const MessageView& message) { return message.text() == "ok " + what; };
}

struct Trial : Fixture {
    explicit Trial(Options options) : Fixture{std::move(options)} {}
    [[nodiscard]] std::string next() { return next_text(feed); }
};

TEST_CASE("on_connected: runs before anything else is sent, on each connection")
{
    Trial t{{.reconnect = each_second(), .on_connected = log_in}};
    t.peer.on_message(answer_all);
    REQUIRE(t.feed.start(1s));
    REQUIRE(t.feed.send("order"));
    REQUIRE(t.feed.flush(1s));
    CHECK(t.next() == "up 1 first");
    CHECK(t.next() == "ready 1");
    t.peer.drop();
    CHECK(t.next() == "down 1 more (the connection broke)");
    CHECK(t.next() == "up 2 unknown");
    CHECK(t.next() == "ready 2");
    REQUIRE(t.feed.send("another"));
    REQUIRE(t.feed.flush(1s));
    CHECK(t.peer.written() == Texts{"1:login", "1:order", "2:login", "2:another"});
}

TEST_CASE("on_connected: sees messages first, and what it does not take goes on in order")
{
    Trial t{{.on_connected = log_in}};
    t.peer.on_message([](MockConnection& peer, const MessageView& message) {
        if (message.text() != "login")
            return;
        for (const auto* each : {"early", "motd", "welcome", "after", "and more"})
            peer.deliver(each);
    });
    REQUIRE(t.feed.start(1s));
    t.peer.deliver("later");
    CHECK(t.next() == "up 1 first");
    for (const auto* text : {"early", "motd", "after", "and more"})
        CHECK(t.next() == std::string{"message 1 "} + text);
    CHECK(t.next() == "ready 1");
    CHECK(t.next() == "message 1 later");
}

TEST_CASE("on_connected: tells whether what follows continues")
{
    Trial t{{.reconnect = each_second(), .on_connected = [](Context, Session& session) -> Task<> {
                 if (session.connection() == 2)
                     session.set_continuity(Continuity::continues);
                 if (session.connection() == 3)
                     session.set_continuity(Continuity::restarted);
                 co_return;
             }}};
    REQUIRE(t.feed.start(1s));
    for (const auto* up : {"up 1 first", "up 2 continues", "up 3 restarted"}) {
        CHECK(t.next() == up);
        CHECK(t.next().substr(0, 5) == "ready");
        t.peer.drop();
        CHECK(t.next().substr(0, 4) == "down");
    }
}

TEST_CASE("on_connected: its failure is the connection's, and backs off")
{
    Trial t{{.reconnect = each_second(), .on_connected = log_in}};
    t.peer.on_message([](MockConnection& peer, const MessageView& message) {
        if (message.text() == "login")
            peer.deliver(peer.number() == 2 ? "refused" : "welcome");
    });
    REQUIRE(t.feed.start(1s));
    t.peer.drop();
    CHECK(t.next() == "up 1 first");
    CHECK(t.next() == "ready 1");
    CHECK(t.next() == "down 1 more (the connection broke)");
    const auto retry = t.feed.next_event(1h);
    CHECK(text_of(retry) == "retry 1 more (the application's code threw an exception)");
    CHECK(retry->failure->explanation()
          == "the on_connected function threw: the login was refused");
    CHECK(t.next() == "up 2 unknown"); // nobody has seen the one that failed
    CHECK(t.next() == "ready 2");

    Trial first{{.on_connected = log_in}};
    first.peer.on_message(
        [](MockConnection& peer, const MessageView&) { peer.deliver("refused"); });
    const auto failure = first.feed.start(1s).error();
    CHECK(failure == Error::callback_failed);
    CHECK(failure.explanation() == "the on_connected function threw: the login was refused");
}

TEST_CASE("on_connected: what it passed on makes the connection known, and so its end")
{
    Trial t{{.reconnect = each_second(), .on_connected = log_in}};
    t.peer.on_message([](MockConnection& peer, const MessageView&) {
        if (peer.number() != 1)
            return peer.deliver("welcome");
        peer.deliver("motd");
        peer.deliver("refused");
    });
    CHECK(t.feed.start(1s).error() == Error::callback_failed);
}

TEST_CASE("on_connected: has a deadline, and is told of the end of its connection")
{
    Trial mute{{.reconnect = each_second(), .on_connected = log_in, .on_connected_timeout = 3s}};
    const auto failure = mute.feed.start(1h).error();
    CHECK(failure == Error::timed_out);
    CHECK(failure.message().find("still running on_connected (") != std::string::npos);

    // What came before the end is still received
    Trial refuses{{.on_connected = log_in}};
    refuses.peer.on_message([](MockConnection& peer, const MessageView&) {
        peer.deliver("refused");
        peer.close(1008, {});
    });
    CHECK(refuses.feed.start(1h).error().explanation()
          == "the on_connected function threw: the login was refused");
    Trial closes{{.on_connected = log_in}};
    closes.peer.on_message([](MockConnection& peer, const MessageView&) { peer.close(1008, {}); });
    CHECK(closes.feed.start(1h).error().close_code() == 1008);
}

TEST_CASE("on_connected: more may arrive than it asks for, and reading pauses")
{
    constexpr int count = 2000;
    MockPeer peer;
    Options options{.on_connected = [peer](Context ctx, Session& session) mutable -> Task<> {
        for (int i = 0; i < count; ++i)
            peer.deliver(fmt::format("{:01000}", i));
        co_await ctx.sleep_for(5s);
        for (int i = 0; i < 2; ++i) {
            const auto taken = co_await session.receive();
            CHECK(taken.text() == fmt::format("{:01000}", i));
        }
    }};
    Sidecar<Mock> feed{{.peer = peer}, silenced(std::move(options))};
    REQUIRE(feed.start(1h));
    CHECK(feed.stats().reading_pauses > 0);
    CHECK(next_text(feed) == "up 1 first");
    for (int i = 2; i < count; ++i) {
        const auto message = feed.receive(1s);
        REQUIRE(message);
        CHECK(message->text() == fmt::format("{:01000}", i));
    }
}

TEST_CASE("stop: while on_connected runs, it is named and the connection closed politely")
{
    Trial t{
        {.reconnect = each_second(), .on_connected = [](Context ctx, Session& session) -> Task<> {
             if (session.connection() == 2) {
                 ctx.waiting_for("the end of the world");
                 LoopEvent never;
                 co_await never.wait();
             }
         }}};
    REQUIRE(t.feed.start(1s));
    t.peer.drop();
    CHECK(t.next() == "up 1 first");
    CHECK(t.next() == "ready 1");
    CHECK(t.next() == "down 1 more (the connection broke)");
    CHECK(t.feed.next_event(3s).error() == Error::timed_out);
    CHECK(t.feed.dump().find("running on_connected") != std::string::npos);
    CHECK(t.feed.dump().find("the end of the world") != std::string::npos);
    const auto report = t.feed.stop();
    CHECK(report.clean());
    CHECK(t.peer.count("2:close") == 1);
    CHECK(t.next().substr(0, 7) == "stopped");
}

TEST_CASE(
    "subscriptions: until they are answered, the link's phase says so, and its connecting goes on")
{
    const auto has = [](const Trial& t, std::string_view text) {
        return t.feed.dump().find(text) != std::string::npos;
    };
    const auto waiting = "waiting for answers to subscriptions";
    for (const bool is_answered : {true, false}) {
        Trial t{{.reconnect = each_second(), .ack_timeout = 7s}};
        REQUIRE(t.feed.start(1s));
        CHECK(has(t, "): open"));
        REQUIRE(t.feed.link()->subscribe("a", "sub a", ok("a")));
        CHECK_FALSE(has(t, waiting)); // the connection is up already
        t.peer.drop();
        CHECK(t.next() == "up 1 first");
        CHECK(t.next() == "down 1 more (the connection broke)");
        CHECK(t.next() == "up 2 unknown");
        CHECK(has(t, waiting));
        CHECK(t.feed.state() == State::connected);
        CHECK(t.feed.stats().last_connect.steps.back().phase == Phase::subscribing);
        if (is_answered) {
            REQUIRE(t.feed.call("wait", [](Context ctx) { return ctx.sleep_for(2s); }));
            t.peer.deliver("ok a");
            CHECK(t.next() == "message 2 ok a");
        }
        CHECK(t.next().starts_with("ready 2"));
        CHECK_FALSE(has(t, waiting));
        CHECK(has(t, "): open"));
        const auto wanted = is_answered ? 2s : 7s;
        CHECK(t.feed.receive(20s).error() == Error::timed_out);
        CHECK(t.feed.stats().last_connect.time_in(Phase::subscribing) == wanted);
        CHECK(t.feed.stats().last_connect.total == wanted);
        CHECK(t.feed.stop().clean());
    }
    Trial t{{.reconnect = each_second(), .ack_timeout = 7s}}; // a close does not open it again
    REQUIRE(t.feed.start(1s));
    auto link = t.feed.link().value();
    REQUIRE(link.subscribe("a", "sub a", ok("a")));
    t.peer.drop();
    CHECK(t.next() == "up 1 first");
    CHECK(t.next() == "down 1 more (the connection broke)");
    CHECK(t.next() == "up 2 unknown");
    t.peer.delay_close(Duration::max());
    CHECK(link.close(20s).has_error());
    CHECK_FALSE(has(t, "): open"));
}

TEST_CASE(
    "subscriptions: each connection begins with them, after on_connected and before what is queued")
{
    Trial t{{.reconnect = each_second(), .on_connected = log_in}};
    t.peer.on_message(answer_all);
    REQUIRE(t.feed.start(1s));
    auto link = t.feed.link().value();
    REQUIRE(link.subscribe("b", "sub b", ok("b")));
    REQUIRE(link.subscribe("a", "sub a", ok("a")));
    REQUIRE(link.send("order"));
    REQUIRE(link.flush(1s));
    CHECK(t.peer.written() == Texts{"1:login", "1:sub b", "1:sub a", "1:order"});
    CHECK(t.next() == "up 1 first");
    CHECK(t.next() == "ready 1");
    CHECK(t.next() == "message 1 ok b"); // the application sees the answers
    CHECK(t.next() == "message 1 ok a");
    CHECK(link.subscription_counts().acknowledged == 2);
    t.peer.drop();
    CHECK(t.next() == "down 1 more (the connection broke)");
    CHECK(t.next() == "up 2 unknown");
    CHECK(t.next() == "message 2 ok b");
    CHECK(t.next() == "message 2 ok a");
    CHECK(t.next() == "ready 2");
    CHECK(t.peer.count("2:login") == 1);
    CHECK(t.peer.count("2:sub a") == 1);
    CHECK(t.peer.count("2:sub b") == 1);
    REQUIRE(link.unsubscribe("a", "unsub a").value());
    CHECK(t.feed.receive(1ms).error() == Error::timed_out); // time for the writer
    t.peer.drop();
    for (auto event = t.next(); event != "ready 3"; event = t.next())
        REQUIRE(event.substr(0, 4) != "stop");
    CHECK(t.peer.count("2:unsub a") == 1);
    CHECK(t.peer.count("3:sub b") == 1);
    CHECK(t.peer.count("3:sub a") == 0);
}

TEST_CASE(
    "subscriptions: ordinary sends wait for the answers, or until a deadline says who was not")
{
    Trial t{{.reconnect = each_second(), .ack_timeout = 4s}};
    t.peer.on_message([](MockConnection& peer, const MessageView& message) {
        if (peer.number() == 1 || message.text() == "sub b")
            answer_all(peer, message);
    });
    REQUIRE(t.feed.start(1s));
    auto link = t.feed.link().value();
    for (const auto* key : {"a", "b", "c"})
        REQUIRE(link.subscribe(key, std::string{"sub "} + key, ok(key)));
    t.peer.drop();
    std::string event;
    while ((event = t.next()) != "up 2 unknown")
        REQUIRE(event.substr(0, 4) != "stop");
    REQUIRE(link.send("order"));
    CHECK(link.flush(3s).error() == Error::timed_out);
    CHECK(t.peer.count("2:order") == 0);
    CHECK(t.next() == "message 2 ok b");
    const auto ready = t.feed.next_event(1h);
    CHECK(text_of(ready) == "ready 2 (not all subscriptions were answered)");
    CHECK(ready->failure->explanation() == "no answer to \"a\", \"c\"");
    CHECK(link.flush(1s));
    CHECK(t.peer.count("2:order") == 1);
    CHECK(link.subscription_counts().pending == 2);
    t.peer.deliver("ok a"); // late, but wanted
    CHECK(t.next() == "message 2 ok a");
    CHECK(link.subscription_state("a") == SubscriptionState::acknowledged);
}

TEST_CASE("subscriptions: what nobody waits for any more holds nothing up")
{
    Trial t{{.reconnect = each_second(), .ack_timeout = 1h}};
    REQUIRE(t.feed.start(1s));
    auto link = t.feed.link().value();
    REQUIRE(link.subscribe("a", "sub a", ok("a")));
    CHECK(t.feed.receive(1ms).error() == Error::timed_out); // time for the writer
    t.peer.drop();
    while (t.next() != "up 2 unknown")
        ;
    REQUIRE(link.send("order"));
    CHECK(link.flush(3s).error() == Error::timed_out);
    CHECK(link.unsubscribe("a", "unsub a").value());
    CHECK(t.next() == "ready 2");
    CHECK(link.flush(1s));
    CHECK(t.feed.receive(1ms).error() == Error::timed_out);
    CHECK(t.peer.written() == Texts{"1:sub a", "2:sub a", "2:order", "2:unsub a"});
}

TEST_CASE("subscriptions: keeps its place among sends, also where many threads send")
{
    Trial t{{}};
    REQUIRE(t.feed.start(1s));
    auto link = t.feed.link().value();
    for (int i = 0; i < 200; ++i) {
        REQUIRE(link.send(fmt::format("before {}", i)));
        REQUIRE(link.subscribe(fmt::format("key {}", i), fmt::format("sub {}", i)));
        REQUIRE(link.send(fmt::format("after {}", i)));
    }
    REQUIRE(link.flush(1s));
    Texts expected;
    for (int i = 0; i < 200; ++i)
        for (const auto* what : {"before", "sub", "after"})
            expected.push_back(fmt::format("1:{} {}", what, i));
    CHECK(t.peer.written() == expected);
}

TEST_CASE("subscriptions: may be given before there is a connection, and is refused when it makes "
          "no sense")
{
    Trial t{{.outbox = {.bytes = 4096}, .reconnect = each_second()}};
    REQUIRE(t.feed.start(1s));
    auto link = t.feed.link().value();
    CHECK(link.subscribe("large", std::string(5000, 'x')).error() == Error::too_big);
    t.peer.drop();
    CHECK(t.feed.receive(100ms).error() == Error::disconnected);
    REQUIRE(link.subscribe("a", "sub a")); // while it is down
    CHECK(link.subscription_state("a") == SubscriptionState::waiting);
    CHECK(t.feed.receive(3s).error() == Error::timed_out);
    CHECK(t.peer.written() == Texts{"2:sub a"});
    CHECK(link.subscription_state("a") == SubscriptionState::acknowledged);
    CHECK(link.close(1s));
    CHECK(link.subscribe("b", "sub b").error() == Error::link_closed);
    t.feed.stop();
    CHECK(link.unsubscribe("a").error() == Error::stopped);
}

TEST_CASE("flush: waits for subscriptions too, until each was written once")
{
    Trial t{{.reconnect = each_second()}};
    REQUIRE(t.feed.start(1s));
    auto link = t.feed.link().value();
    t.peer.hold_writes();
    REQUIRE(link.subscribe("a", "sub a", ok("a")));
    CHECK(link.flush(1s).error() == Error::timed_out);
    (void)t.feed.spawn("release", [peer = t.peer](Context ctx) mutable -> Task<> {
        co_await ctx.sleep_for(1s);
        peer.release_writes();
    });
    REQUIRE(link.flush(1h)); // and not for the answer
    CHECK(link.subscription_state("a") == SubscriptionState::pending);
    CHECK(t.peer.count("1:sub a") == 1);
    REQUIRE(link.unsubscribe("a", "unsub a"));
    REQUIRE(link.flush(1h));
    CHECK(t.peer.count("1:unsub a") == 1);
    REQUIRE(link.subscribe("b", "sub b"));
    REQUIRE(link.subscribe("b", "sub b anew"));
    REQUIRE(link.flush(1h));
    CHECK(t.peer.count("1:sub b anew") == 1);
}

TEST_CASE("flush: while the link is down there is no hope for a subscription, or it is waited for")
{
    for (const auto queued : {OnDisconnect::discard, OnDisconnect::keep}) {
        CAPTURE(queued == OnDisconnect::keep);
        auto reconnect = each_second();
        reconnect.on_disconnect = queued;
        Trial t{{.reconnect = reconnect}};
        REQUIRE(t.feed.start(1s));
        auto link = t.feed.link().value();
        REQUIRE(link.subscribe("old", "sub old"));
        REQUIRE(link.flush(1s));
        CHECK(t.next() == "up 1 first");
        t.peer.drop();
        CHECK(t.next() == "down 1 more (the connection broke)");
        if (queued == OnDisconnect::keep)
            CHECK(link.flush(0s)); // what was written once is not waited for
        REQUIRE(link.subscribe("new", "sub new"));
        CHECK(link.flush(100ms).error()
              == (queued == OnDisconnect::keep ? Error::timed_out : Error::not_connected));
        if (queued == OnDisconnect::keep)
            CHECK(link.flush(1h));
        CHECK(t.next() == "up 2 unknown");
        REQUIRE(link.flush(1s));
        CHECK(t.peer.count("2:sub new") == 1);
    }
}

TEST_CASE("stop: writes what was stuck, or taken back, just before")
{
    Trial t{{.rate_limit = RateLimit{.messages = 10, .burst_messages = 1}}};
    REQUIRE(t.feed.start(1s));
    auto link = t.feed.link().value();
    REQUIRE(link.subscribe("a", "sub a"));
    REQUIRE(link.subscribe("b", "sub b"));
    REQUIRE(link.subscribe("c", "sub c"));
    SUBCASE("stop") { CHECK(t.feed.stop().clean()); }
    SUBCASE("close") { CHECK(link.close(1s)); }
    CHECK(t.peer.written() == Texts{"1:sub a", "1:sub b", "1:sub c", "1:close"});
}

} // namespace restore_test
