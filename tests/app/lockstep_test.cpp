// Virtual time: one run is like the other, several feeds and threads share a clock, and time has a
// limit.
#include "support/each_second.hpp"
#include "support/fixture.hpp"
#include "support/silent_options.hpp"

#include <sidecar/json.hpp>
#include <sidecar/mock_clock.hpp>
#include <sidecar/prometheus.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <poll.h>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace lockstep_test {

using namespace std::chrono_literals;
using namespace sidecar;

/// Everything that a feed and its peer can say.
std::string all_of(Feed& feed, const MockPeer& peer, const StopReport& report)
{
    std::string text;
    for (const auto& line : peer.trace())
        text += line + '\n';
    for (const auto& line : peer.written())
        text += line + '\n';
    text += feed.dump() + '\n' + to_json(feed.stats()) + to_json(feed.errors()) + to_json(report);
    text += fmt::format("{}\n{}\n{}\n", feed.stats(), report, feed.errors());
    return text;
}

TEST_CASE("lockstep: a thousand runs have one trace, and all texts are the same")
{
    const auto run = [](int scenario) {
        Fixture f{{.reconnect = Reconnect{.window = 1s}, .ping_interval = 10s, .ping_timeout = 5s}};
        CHECK(f.feed.start(1s));
        switch (scenario) {
        case 0:
            CHECK(f.feed.send("a"));
            CHECK(f.feed.flush(1s));
            break;
        case 1:
            CHECK(f.feed.send("a"));
            f.peer.drop();
            (void)f.feed.receive(1s);
            break;
        case 2:
            f.peer.deliver("b");
            CHECK(f.feed.send("a"));
            f.peer.refuse_connect(boost::asio::error::connection_refused);
            f.peer.drop();
            CHECK(f.feed.sleep_for(7s));
            f.peer.allow_connect();
            while (f.feed.next_event(3s)) {
            }
            break;
        default:
            f.peer.delay_pongs(Duration::max());
            f.peer.deliver_after(3s, "late");
            for (int frame = 0; frame < 200; ++frame) {
                (void)f.feed.poll([](const MessageView&) {});
                (void)f.feed.send("frame", SendOptions{.expires_after = 50ms});
                f.peer.advance(100ms);
            }
            break;
        }
        const auto report = f.feed.stop();
        return all_of(f.feed, f.peer, report);
    };
    for (int scenario = 0; scenario < 4; ++scenario) {
        CAPTURE(scenario);
        std::set<std::string> texts;
        for (int i = 0; i < (scenario < 3 ? 300 : 100); ++i)
            texts.insert(run(scenario));
        CHECK(texts.size() == 1);
    }
}

TEST_CASE("lockstep: without a call of the application the loop does nothing")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    const auto fd = f.feed.native_handle().value();
    pollfd readable{.fd = fd, .events = POLLIN, .revents = 0};
    REQUIRE(f.feed.next_event(1s)); // up
    (void)f.feed.state();
    f.peer.deliver("a");
    std::this_thread::sleep_for(20ms);
    CHECK(::poll(&readable, 1, 0) == 0);
    f.peer.advance({});
    CHECK(::poll(&readable, 1, 0) == 1);
    CHECK(text(f.feed.receive({})) == "a");
    SUBCASE("but after a second of real time it does")
    {
        f.peer.deliver("b");
        CHECK(::poll(&readable, 1, 10'000) == 1);
        CHECK(text(f.feed.receive({})) == "b");
    }
}

TEST_CASE("lockstep: two feeds on one clock act in one order, and time is theirs in common")
{
    const auto run = [] {
        const MockClock clock;
        MockPeer market_peer, order_peer;
        Sidecar<Mock> market{{.peer = market_peer, .clock = clock}, silent_options()};
        Sidecar<Mock> orders{{.peer = order_peer, .clock = clock}, silent_options()};
        order_peer.on_message([](MockConnection& connection, const MessageView& order) {
            connection.deliver_after(30ms, fmt::format("filled {}", order.text()));
        });
        CHECK(market.start(1s));
        CHECK(orders.start(1s));
        std::vector<std::string> log;
        for (int i = 0; i < 10; ++i)
            market_peer.deliver_after(i * 10ms, std::to_string(i));
        for (int frame = 0; frame < 12; ++frame) {
            CHECK(market.poll([&](const MessageView& price) {
                log.push_back(fmt::format("{} price {}", market.now().time_since_epoch() / 1ms,
                                          price.text()));
                (void)orders.send(price.text());
            }));
            CHECK(orders.poll([&](const MessageView& fill) {
                log.push_back(
                    fmt::format("{} {}", orders.now().time_since_epoch() / 1ms, fill.text()));
            }));
            clock.advance(16ms);
            CHECK(market.now() == clock.now());
            CHECK(orders.now() == clock.now());
        }
        CHECK(log.size() == 20);
        CHECK(market.stop().joined);
        CHECK(orders.stop().joined);
        return fmt::format("{}", fmt::join(log, "\n"));
    };
    const auto first = run();
    for (int i = 0; i < 50; ++i)
        REQUIRE(run() == first);
}

TEST_CASE("lockstep: the clock goes on over a restart, and an open() on another clock is refused")
{
    const MockClock clock;
    Fixture other;
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer, .clock = clock}, silent_options()};
    clock.advance(1h);
    CHECK(feed.now() == TimePoint{1h});
    REQUIRE(feed.start(1s));
    CHECK(feed.sleep_for(1h));
    const auto refused = feed.open({.clock = MockClock{}}, 1s);
    CHECK(refused == Error::bad_options);
    CHECK(feed.open({}, 1s));
    CHECK(feed.open({.clock = clock}, 1s));
    CHECK(feed.stop().joined);
    CHECK(feed.sleep_for(30min) == false); // a stop was requested
    REQUIRE(feed.start(1s));
    CHECK(feed.now() >= TimePoint{2h});
    CHECK(peer.trace().back().starts_with("7200.000 "));
}

TEST_CASE("lockstep: two threads of the application interleave in one way")
{
    const auto run = [](std::uint64_t interleaving) {
        const MockClock clock{{.interleaving = interleaving}};
        MockPeer peer;
        Sidecar<Mock> feed{{.peer = peer, .clock = clock},
                           silenced({.outbox = {.bytes = 4096, .messages = 2}})};
        peer.on_message([](MockConnection& connection, const MessageView& message) {
            connection.deliver(message.text());
        });
        CHECK(feed.start(1s));
        std::string log;
        {
            MockThread sender{clock, [&] {
                                  for (int i = 0; i < 20; ++i) {
                                      const auto sent = feed.send(std::to_string(i), 1s);
                                      log += sent ? 's' : 'f';
                                      if (i % 3 == 0)
                                          clock.advance(1ms);
                                  }
                              }};
            MockThread receiver{clock, [&] {
                                    for (int i = 0; i < 20; ++i)
                                        log += text(feed.receive(1s)) + ',';
                                }};
            receiver.join();
            sender.join();
        }
        log += fmt::format("{}", feed.stop());
        return log;
    };
    std::set<std::string> orders;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        const auto first = run(seed);
        for (int i = 0; i < 5; ++i)
            REQUIRE(run(seed) == first);
        orders.insert(first);
    }
    CHECK(orders.size() > 5);
}

TEST_CASE("MockThread: passes on an exception, and is refused where turns cannot be taken")
{
    const MockClock clock;
    MockThread throws{clock, [] { throw std::runtime_error{"its own"}; }};
    CHECK_THROWS_WITH(throws.join(), "its own");
    throws.join(); // again: nothing
    const MockClock other;
    MockThread first{clock, [] {}};
    CHECK_THROWS_AS((MockThread{other, [] {}}), Exception);
    first.join();
    MockThread second{other, [&] { MockThread nested{other, [&] { other.advance(1s); }}; }};
    second.join();
    CHECK(other.now() == TimePoint{1s});
    Fixture f;
    REQUIRE(f.feed.start(1s));
    const auto on_loop = f.feed.call("loop", [](Context ctx) -> Task<bool> {
        ctx.mock_clock()->settle();
        try {
            ctx.mock_clock()->advance(1s);
        } catch (const Exception& e) {
            co_return e.failure() == Error::misuse;
        }
        co_return false;
    });
    CHECK(on_loop.value());
}

TEST_CASE("lockstep: a wait beyond the limit says who waits for what, and the stop still works")
{
    const MockClock clock{{.virtual_time = 1h}};
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer, .clock = clock},
                       silenced({.reconnect = each_second(), .ping_interval = 1s})};
    REQUIRE(feed.start(1s));
    REQUIRE(feed.spawn("idle", [](Context ctx) -> Task<> {
        ctx.waiting_for("better times");
        LoopEvent never;
        for (;;)
            co_await ctx.wait(never, TimePoint::max());
    }));
    const auto nothing = feed.receive(Duration::max());
    REQUIRE(nothing == Error::time_limit);
    CHECK_FALSE(nothing.error().will_retry());
    for (const auto* text : {"cannot receive (mock)", "limit of 1 h", "better times", "link 0"})
        CHECK(nothing.error().message().find(text) != std::string::npos);
    CHECK(feed.now() <= TimePoint{1h});
    CHECK(feed.poll([](const MessageView&) {}) == Error::time_limit);
    CHECK(feed.receive(1min) == Error::time_limit);
    CHECK(feed.receive({}) == Error::timed_out); // which needs no time
    CHECK_FALSE(feed.sleep_for(1h));
    peer.hold_writes();
    CHECK(feed.send("x"));
    CHECK(feed.flush(1h) == Error::time_limit);
    CHECK(feed.open({}, 1h)); // needs no time
    CHECK_THROWS_AS(clock.advance(1h), Exception);
    CHECK_THROWS_AS(peer.advance(1h), Exception);
    peer.delay_close(Duration::max());
    CHECK(feed.stop().joined);
}

TEST_CASE("lockstep: a wait too long for the limit spoils no shorter one")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.receive(48h) == Error::time_limit);
    CHECK(f.feed.receive(1s) == Error::timed_out);
    CHECK(f.feed.poll([](const MessageView&) {}).value() == 0);
    f.peer.deliver_after(1h, "later");
    CHECK(text(f.feed.receive(2h)) == "later");
}

TEST_CASE("lockstep: where nothing can happen a wait for ever ends")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    const auto nothing = f.feed.receive(Duration::max()); // in three seconds, or ten
    REQUIRE(nothing == Error::time_limit);
    CHECK(nothing.error().message().find("nothing can happen") != std::string::npos);
}

TEST_CASE("lockstep: a loop that lets no time pass ends the waits, and may be stopped")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    f.peer.limit_reads(0); // a read returns at once, without a message
    f.peer.deliver("x");
    const auto nothing = f.feed.receive(1s);
    REQUIRE(nothing == Error::time_limit);
    CHECK(nothing.error().message().find("no time passes") != std::string::npos);
    CHECK(f.feed.stop().joined);
}

TEST_CASE("lockstep: a loop that is never quiet holds nobody up")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    REQUIRE(f.feed.spawn("busy", [](Context ctx) -> Task<> {
        for (;;)
            co_await ctx.sleep_until(ctx.now());
    }));
    f.peer.deliver("a");
    CHECK(text(f.feed.receive({})) == "a");
    CHECK(f.feed.poll([](const MessageView&) {}).value() == 0);
    CHECK(f.feed.stop().joined);
}

TEST_CASE("lockstep: a thread that takes no turns, and a signal, are seen")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    std::thread other{[&] {
        std::this_thread::sleep_for(5ms);
        f.peer.deliver("a");
    }};
    CHECK(text(f.feed.receive(Duration::max())) == "a");
    other.join();
    std::thread stopper{[&] { f.feed.request_stop(); }};
    CHECK(f.feed.receive(Duration::max()) == Error::stopped);
    stopper.join();
}

TEST_CASE("lockstep: a feed whose loop is held leaves the clock to the others")
{
    const MockClock clock;
    MockPeer peer, held_peer;
    Sidecar<Mock> feed{{.peer = peer, .clock = clock}, silent_options()};
    std::atomic<bool> release{false};
    {
        Sidecar<Mock> held{{.peer = held_peer, .clock = clock},
                           silenced({.stop = {.total = 100ms}})};
        REQUIRE(feed.start(1s));
        REQUIRE(held.start(1s));
        REQUIRE(held.spawn("holds", [&](Context) -> Task<> {
            while (!release)
                std::this_thread::yield();
            co_return;
        }));
        CHECK_FALSE(held.stop().joined);
    }
    peer.deliver_after(1s, "later");
    CHECK(text(feed.receive(2s)) == "later");
    release = true;
    CHECK(feed.stop().joined);
    while (orphan_count() != 0)
        std::this_thread::yield();
}

} // namespace lockstep_test
