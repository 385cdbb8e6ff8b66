// A start that does not wait, and the event that says when sends are taken again.
#include "support/fixture.hpp"
#include "support/minimal_transport.hpp"
#include "support/readable.hpp"
#include "support/silent_options.hpp"

#include <sidecar/json.hpp>
#include <sidecar/mock_clock.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace background_test {

using namespace sidecar;
using namespace std::chrono_literals;
using Kind = Event::Kind;

/// Takes the next event of this kind; other events and messages are passed over.
std::optional<Event> next(Feed& feed, Kind kind, Duration timeout = 1s)
{
    for (;;) {
        auto event = feed.next_event(timeout);
        if (!event)
            return std::nullopt;
        if (event->kind == kind)
            return *std::move(event);
    }
}

TEST_CASE("start_in_background: returns while it connects, and `up` comes as an event")
{
    Fixture f;
    const int fd = f.feed.native_handle().value();
    f.peer.delay_connect(5s);
    REQUIRE(f.feed.start_in_background());
    CHECK(f.feed.state() == State::starting);
    CHECK(f.feed.start_in_background().error() == Error::already_started);
    CHECK(f.feed.start(1s).error() == Error::already_started);
    CHECK(f.feed.send("too early").error() == Error::not_connected);
    CHECK_FALSE(is_readable(fd));
    CHECK(f.feed.next_event(4s).error() == Error::timed_out);
    REQUIRE(f.feed.wait_started(2s));
    CHECK(is_readable(fd));
    CHECK(f.feed.state() == State::connected);
    const auto up = f.feed.next_event({}).value();
    CHECK(up.kind == Kind::up);
    CHECK(up.connection == 1);
    CHECK(f.feed.send("x"));
    CHECK(f.feed.wait_started({})); // it is over
    CHECK(f.feed.stop().clean());
    CHECK(f.peer.sent() == std::vector<std::string>{"x"});
}

TEST_CASE("start_in_background: a failure comes from next_event() and receive(), until stop()")
{
    Fixture f;
    const int fd = f.feed.native_handle().value();
    f.peer.refuse_connect(boost::asio::error::connection_refused);
    REQUIRE(f.feed.start_in_background());
    for (int i = 0; i < 2; ++i) {
        CHECK(f.feed.next_event(1s).error() == Error::connect_failed);
        CHECK(f.feed.receive(1s).error().cause() == boost::asio::error::connection_refused);
        CHECK(f.feed.poll([](const auto&) {}).error() == Error::connect_failed);
        CHECK(f.feed.wait_started({}).error() == Error::connect_failed);
    }
    CHECK(is_readable(fd));
    CHECK(f.feed.state() == State::disconnected);
    CHECK(f.feed.send("x").error() == Error::not_connected);
    CHECK(f.feed.start_in_background().error() == Error::already_started);
    const auto report = f.feed.stop();
    CHECK(report.clean());
    CHECK(report.first_error == Error::connect_failed);
    f.peer.allow_connect();
    REQUIRE(f.feed.start_in_background());
    CHECK(next(f.feed, Kind::up));
    CHECK(f.feed.stop().clean());
}

TEST_CASE("start_in_background: options are checked before it returns")
{
    Fixture f{{.inbox = {.bytes = 1000, .messages = 1}}};
    CHECK(f.feed.start_in_background().error() == Error::bad_options);
    CHECK(f.feed.state() == State::idle);
    CHECK(f.feed.wait_started(1s).error() == Error::not_started);
}

TEST_CASE("start_in_background: a mute server is a failure after ten seconds, which is no silence")
{
    for (const bool reconnects : {false, true}) {
        Fixture f{{.reconnect = reconnects ? std::optional{Reconnect{}} : std::nullopt}};
        f.peer.delay_connect(Duration::max());
        REQUIRE(f.feed.start_in_background());
        CHECK(f.feed.next_event(9s).error() == Error::timed_out);
        CHECK(f.feed.state() == State::starting);
        const auto failure = f.feed.next_event(2s).error();
        CHECK(failure == Error::connect_failed); // not timed_out, as after a second of silence
        CHECK(failure.cause() == boost::asio::error::timed_out);
        CHECK(f.feed.receive(1s).error() == Error::connect_failed);
        CHECK(f.feed.wait_started({}).error() == Error::timed_out); // as start() returns it
        CHECK(f.feed.stop().clean());
    }
}

TEST_CASE("start_in_background: a given timeout ends the connecting")
{
    Fixture f{{.reconnect = Reconnect{.at_start = true}}};
    f.peer.refuse_connect(boost::asio::error::connection_refused);
    REQUIRE(f.feed.start_in_background(60s));
    CHECK(next(f.feed, Kind::retry));
    CHECK_FALSE(f.feed.wait_started(61s));
    CHECK(f.feed.state() == State::disconnected);
    CHECK(f.feed.stop().clean());
}

TEST_CASE("start_in_background: with Reconnect::at_start it tries for as long as it takes")
{
    Fixture f{{.reconnect = Reconnect{.at_start = true}}};
    f.peer.delay_connect(Duration::max());
    REQUIRE(f.feed.start_in_background());
    for (int i = 0; i < 5; ++i) {
        const auto retry = f.feed.next_event(60s).value();
        CHECK(retry.kind == Kind::retry);
        CHECK(retry.failure == Error::timed_out); // of one attempt
        CHECK(retry.next_attempt);
        CHECK(f.feed.state() == State::starting);
        CHECK(f.feed.wait_started({}).error() == Error::timed_out);
    }
    f.peer.delay_connect({});
    REQUIRE(next(f.feed, Kind::up, 120s));
    CHECK(f.feed.stop().clean());
}

TEST_CASE("start_in_background: a stop during it ends it, whoever waits")
{
    for (const bool only_requests : {true, false}) {
        const MockClock clock;
        MockPeer peer;
        Sidecar<Mock> feed{{.peer = peer, .clock = clock}, silent_options()};
        peer.delay_connect(Duration::max());
        REQUIRE(feed.start_in_background(Duration::max()));
        MockThread waiter{
            clock, [&] { CHECK(feed.wait_started(Duration::max()).error() == Error::stopping); }};
        MockThread receiver{
            clock, [&] { CHECK(feed.receive(Duration::max()).error() == Error::stopped); }};
        clock.advance(1ms); // both wait now
        REQUIRE(peer.connect_count() == 1);
        if (only_requests)
            feed.request_stop();
        else
            CHECK(feed.stop().clean());
        receiver.join();
        waiter.join();
        CHECK(feed.stop().clean());
        CHECK(feed.wait_started(1s).error() == Error::stopped);
        CHECK(feed.next_event(1s)->kind == Kind::stopped);
    }
}

TEST_CASE("start_in_background: the destructor ends it")
{
    Fixture f;
    f.peer.delay_connect(Duration::max());
    REQUIRE(f.feed.start_in_background(Duration::max()));
}

TEST_CASE("wait_started: not before a start, not on the loop's thread, and not for a failed start")
{
    Fixture f;
    CHECK(f.feed.wait_started(1s).error() == Error::not_started);
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.wait_started({}));
    std::optional<Failure> there;
    REQUIRE(f.feed.call("waiter", [&](Context) -> Task<> {
        there = f.feed.wait_started(1s).error();
        co_return;
    }));
    CHECK(there == Error::misuse);
    CHECK(f.feed.stop().clean());
    f.peer.refuse_connect(boost::asio::error::connection_refused);
    CHECK(f.feed.start(1s).error() == Error::connect_failed);
    CHECK(f.feed.wait_started(1s).error() == Error::not_started);
}

TEST_CASE("wait_started: its own timeout says that the start continues, the link's says the end")
{
    Fixture f;
    f.peer.delay_connect(Duration::max());
    REQUIRE(f.feed.start_in_background(1s));
    int waits = 0;
    auto outcome = f.feed.wait_started(300ms);
    for (; !outcome && outcome.error().will_retry(); outcome = f.feed.wait_started(300ms))
        CHECK(++waits < 10);
    CHECK(waits == 3);
    CHECK(outcome == Error::timed_out);
    CHECK_FALSE(f.feed.start(1s).error().will_retry());
}

TEST_CASE("start_in_background: a failure beside a further link that is up is reported once")
{
    Fixture f;
    MockPeer other;
    f.peer.delay_connect(Duration::max());
    REQUIRE(f.feed.start_in_background(5s));
    REQUIRE(f.feed.open({.peer = other}, 1s));
    CHECK(next(f.feed, Kind::up)->link == LinkId{1});
    const auto end = next(f.feed, Kind::retry, 10s);
    REQUIRE(end);
    CHECK(end->link == LinkId{});
    CHECK_FALSE(end->next_attempt);
    CHECK(*end->failure == Error::timed_out);
    CHECK(end->failure->will_retry()); // the other link goes on
    CHECK(f.feed.next_event(10s) == Error::timed_out);
    other.deliver("x");
    CHECK(text(f.feed.receive(1s)) == "x");
    CHECK(f.feed.wait_started({}) == Error::timed_out);
}

TEST_CASE("start_in_background: a login that fails is the failure")
{
    Fixture f{{.on_connected = [](Context, Session&) -> Task<> {
        throw std::runtime_error{"wrong password"};
        co_return;
    }}};
    REQUIRE(f.feed.start_in_background());
    const auto failure = f.feed.next_event(1s).error();
    CHECK(failure == Error::callback_failed);
    CHECK(failure.message().find("wrong password") != std::string::npos);
    CHECK(f.feed.stop().joined);
}

TEST_CASE(
    "start_in_background: a further link opens meanwhile, and the first one's failure is its own")
{
    Fixture f;
    MockPeer second;
    f.peer.delay_connect(20s);
    REQUIRE(f.feed.start_in_background(10s));
    auto link = f.feed.open<Mock>({.peer = second}, 1s);
    REQUIRE(link);
    CHECK(f.feed.state() == State::connected);
    CHECK(next(f.feed, Kind::up)->link == link->id());
    CHECK(f.feed.wait_started(11s).error() == Error::timed_out);
    second.deliver("x");
    const auto failed = f.feed.receive(1s).error();
    CHECK(failed == Error::connect_failed);
    CHECK(failed.link() == LinkId{});
    CHECK(failed.will_retry()); // the second link goes on
    CHECK(text(f.feed.receive(1s)) == "x");
    CHECK(f.feed.stop().clean());
}

// --- writable

/// Takes four messages at most.
struct Narrow : Fixture {
    explicit Narrow(Options options = {}) : Fixture{with_narrow(std::move(options))}
    {
        REQUIRE(feed.start(1s));
        CHECK(next(feed, Kind::up));
        peer.hold_writes();
    }
    void fill()
    {
        Result<void> sent;
        while ((sent = feed.send("x")))
            ;
        CHECK(sent.error() == Error::full);
    }
    static Options with_narrow(Options options)
    {
        options.outbox = {.bytes = 4u << 20, .messages = 4};
        return options;
    }
};

TEST_CASE("writable: comes once after `full`, when there is room again")
{
    Narrow f;
    const int fd = f.feed.native_handle().value();
    f.fill();
    for (int i = 0; i < 10; ++i)
        CHECK(f.feed.send("x").error() == Error::full);
    CHECK(f.feed.next_event(1s).error() == Error::timed_out);
    CHECK_FALSE(is_readable(fd));
    f.peer.release_writes();
    const auto event = f.feed.next_event(1s).value();
    CHECK(event.kind == Kind::writable);
    CHECK(to_string(event) == "writable (link 0, connection 1)");
    CHECK(to_json(event).find(R"("kind":"writable","link":0,"connection":1)") != std::string::npos);
    CHECK(f.feed.send("y"));
    CHECK(f.feed.flush(1s));
    CHECK(f.feed.next_event(1s).error() == Error::timed_out); // none without `full`
    f.peer.hold_writes();
    f.fill();
    f.peer.release_writes();
    CHECK(f.feed.flush(1s));
    CHECK(is_readable(fd));
    f.peer.deliver("a message");
    CHECK(text(f.feed.receive(1s)) == "a message"); // receive() skips the event
    CHECK(f.feed.next_event(1s).error() == Error::timed_out);
    CHECK(f.feed.stop().clean());
}

TEST_CASE("writable: a send that waited in vain asks for it, one that found room does not")
{
    Narrow f;
    f.fill();
    f.peer.release_writes();
    CHECK(next(f.feed, Kind::writable));
    CHECK(f.feed.flush(1s));
    f.peer.hold_writes();
    for (int i = 0; i < 4; ++i)
        REQUIRE(f.feed.send("x"));
    REQUIRE(f.feed.spawn("releaser", [&](Context ctx) -> Task<> {
        co_await ctx.sleep_for(10s);
        f.peer.release_writes();
    }));
    CHECK(f.feed.send("waits for room", 60s));
    CHECK(f.feed.flush(1s));
    CHECK(f.feed.next_event(1s).error() == Error::timed_out);
    f.peer.hold_writes();
    for (int i = 0; i < 4; ++i)
        REQUIRE(f.feed.send("x"));
    CHECK_FALSE(f.feed.send("waits in vain", 5s));
    f.peer.release_writes();
    CHECK(next(f.feed, Kind::writable));
    CHECK(f.feed.stop().clean());
}

TEST_CASE("writable: a large message that was refused fits then")
{
    Narrow f;
    const std::string small(1u << 20, 's'), large(4u << 20, 'l');
    REQUIRE(f.feed.send(small));
    CHECK(f.feed.send(large).error() == Error::full);
    CHECK(f.feed.next_event(1s).error() == Error::timed_out); // half is free, and not enough
    f.peer.release_writes();
    REQUIRE(next(f.feed, Kind::writable));
    CHECK(f.feed.send(large));
    CHECK(f.feed.flush(1s));
    CHECK(f.feed.stop().clean());
}

TEST_CASE(
    "writable: comes only when a large message finds room, beside small ones and a rate limit")
{
    for (const int small_count : {0, 28, 30}) {
        CAPTURE(small_count);
        Fixture f{
            {.outbox = {.bytes = 2u << 20}, .rate_limit = RateLimit{.messages = 1, .per = 100s}},
            2u << 20};
        REQUIRE(f.feed.start(1s));
        for (int i = 0; i < small_count; ++i)
            REQUIRE(f.feed.send(std::string(30'000, 's')));
        const std::string large(100'000, 'l');
        while (f.feed.send(large)) {
        }
        CHECK_FALSE(next(f.feed, Kind::writable, 1s));
        CHECK(f.feed.stats().outbox_bytes > 1u << 20);
        REQUIRE(next(f.feed, Kind::writable, 24h));
        CHECK(f.feed.stats().outbox_bytes <= 1u << 20);
        CHECK(f.feed.send(large));
    }
}

TEST_CASE("writable: of the priority queue too")
{
    Narrow f;
    const SendOptions urgent{.priority = Priority::high};
    while (f.feed.send("x", urgent))
        ;
    CHECK(f.feed.send("x", urgent).error() == Error::full);
    CHECK(f.feed.next_event(1s).error() == Error::timed_out);
    f.peer.release_writes();
    REQUIRE(next(f.feed, Kind::writable));
    CHECK(f.feed.send("x", urgent));
    CHECK(f.feed.flush(1s));
    CHECK(f.feed.stop().clean());
}

TEST_CASE("writable: messages that expire make room as well")
{
    Narrow f{{.rate_limit = RateLimit{.messages = 1, .per = 1h}}};
    f.peer.release_writes();
    REQUIRE(f.feed.send("the only one in this hour"));
    CHECK(f.feed.flush(1s));
    while (f.feed.send("x", SendOptions{.expires_after = 10s}))
        ;
    CHECK(f.feed.next_event(1s).error() == Error::timed_out);
    CHECK(next(f.feed, Kind::writable, 2h));
    CHECK(f.feed.stop().joined);
}

TEST_CASE("writable: after an outage it comes on the next connection, behind `up`")
{
    for (const auto queued : {OnDisconnect::discard, OnDisconnect::keep}) {
        Narrow f{{.reconnect = Reconnect{.on_disconnect = queued}}};
        f.fill();
        f.peer.drop();
        REQUIRE(next(f.feed, Kind::down));
        f.peer.release_writes();
        CHECK(f.feed.next_event(60s)->kind == Kind::up);
        const auto event = f.feed.next_event(60s).value();
        CHECK(event.kind == Kind::writable);
        CHECK(event.connection == 2);
        CHECK(f.feed.send("x"));
        CHECK(f.feed.stop().clean());
    }
}

TEST_CASE("writable: not during a stop")
{
    Narrow f;
    f.fill();
    f.feed.request_stop();
    f.peer.release_writes();
    CHECK(f.feed.stop().clean());
    CHECK(f.feed.next_event(1s)->kind == Kind::stopped);
}

TEST_CASE("writable: unread, it stays the only one, and many later events do not displace it")
{
    Narrow f{{.reconnect = Reconnect{}}};
    for (int i = 0; i < 100; ++i) {
        f.fill();
        f.peer.release_writes();
        CHECK(f.feed.flush(1s));
        f.peer.hold_writes();
    }
    f.peer.refuse_connect(boost::asio::error::connection_refused);
    f.peer.drop();
    REQUIRE(f.feed.call("half a day", [](Context ctx) -> Task<> { co_await ctx.sleep_for(11h); }));
    f.peer.allow_connect();
    f.peer.release_writes();
    REQUIRE(f.feed.call("half a day", [](Context ctx) -> Task<> { co_await ctx.sleep_for(11h); }));
    int writable = 0, all = 0;
    for (; const auto event = f.feed.next_event({}); ++all)
        writable += event->kind == Kind::writable;
    CHECK(writable == 1);
    CHECK(all < 100);
    f.peer.hold_writes();
    f.fill();
    f.peer.release_writes();
    CHECK(next(f.feed, Kind::writable)); // the next one after it was read
    CHECK(f.feed.stop().clean());
}

TEST_CASE("writable: names its link")
{
    Narrow f;
    MockPeer second;
    auto link = f.feed.open<Mock>({.peer = second}, 1s).value();
    CHECK(next(f.feed, Kind::up));
    second.hold_writes();
    while (link.send("x"))
        ;
    second.release_writes();
    CHECK(next(f.feed, Kind::writable)->link == link.id());
    CHECK(f.feed.stop().clean());
}

TEST_CASE("writable: a sender on real time that waits for it alone sends everything")
{
    Sidecar<MinimalTransport> feed{{}, silenced({.outbox = {.bytes = 4096, .messages = 3}})};
    REQUIRE(feed.start(1s));
    std::uint64_t fulls = 0;
    for (int sent = 0; sent < 20'000;) {
        const auto result = feed.send("x");
        if (result) {
            ++sent;
            continue;
        }
        REQUIRE(result.error() == Error::full);
        ++fulls;
        REQUIRE(next(feed, Kind::writable, 30s));
    }
    MESSAGE(fulls, " times full");
    CHECK(feed.flush(30s));
    CHECK(feed.stop().clean());
    CHECK(feed.stats().messages_sent == 20'000);
}

} // namespace background_test
