// The feed's clock, sleeping on it, and a start with new options.
#include "support/descriptors.hpp"
#include "support/fixture.hpp"
#include "support/minimal_transport.hpp"
#include "support/silent_options.hpp"

#include <sidecar/signals.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <stdexcept>
#include <thread>

using namespace sidecar;
using namespace std::chrono_literals;

namespace sleep_test {

using RealClock = std::chrono::steady_clock;

TEST_CASE("sleep_for: a minute on virtual time passes at once, and messages arrive meanwhile")
{
    Fixture f;
    CHECK(f.feed.now() == TimePoint{});
    CHECK(f.feed.sleep_for(1h)); // there is no virtual time before the start
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.now() == TimePoint{});
    f.peer.deliver_after(10s, "on the way");
    const auto began = RealClock::now();
    CHECK(f.feed.sleep_for(60s));
    CHECK(f.feed.now() == TimePoint{60s});
    const auto message = f.feed.receive(0s).value();
    CHECK(message.arrival() == TimePoint{10s});
    CHECK(f.feed.now() - message.arrival() == 50s);
    CHECK(f.feed.sleep_for(0s));
    CHECK(f.feed.sleep_for(-1s));
    CHECK(f.feed.now() == TimePoint{60s});
    CHECK(RealClock::now() - began < 30s);
    REQUIRE(f.feed.stop().clean());
    CHECK(f.feed.now() >= TimePoint{60s});
    CHECK_FALSE(f.feed.sleep_for(1h)); // the stop came before
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.now() == TimePoint{}); // each start begins at zero
    CHECK(f.feed.sleep_for(1s));
}

TEST_CASE("sleep_for: a stop of another thread ends it, on virtual and on real time")
{
    Sidecar<Mock> mock{{}, silent_options()};
    Sidecar<MinimalTransport> real{{}, silent_options()};
    for (Feed* feed : {static_cast<Feed*>(&mock), static_cast<Feed*>(&real)}) {
        REQUIRE(feed->start(5s));
        std::atomic<bool> begins{false};
        std::thread stopper{[&] {
            while (!begins)
                std::this_thread::yield();
            feed->request_stop();
        }};
        begins = true;
        CHECK_FALSE(feed->sleep_for(Duration::max()));
        stopper.join();
        CHECK_FALSE(feed->sleep_for(1h)); // while it stops, and after
        CHECK(feed->stop().joined);
        CHECK_FALSE(feed->sleep_for(1h));
    }
}

TEST_CASE("sleep_for: a signal ends it, and real time is the steady clock's")
{
    Sidecar<MinimalTransport> feed{{}, silent_options()};
    const auto before = RealClock::now();
    CHECK(feed.now() >= before);
    const auto guard = stop_on_signals(feed, {SIGUSR1});
    REQUIRE(feed.start(5s));
    CHECK(feed.sleep_for(10ms));
    CHECK(feed.now() >= before + 10ms);
    const auto now = feed.now();
    CHECK(now <= RealClock::now());
    std::thread raiser{[] { ::kill(::getpid(), SIGUSR1); }};
    CHECK_FALSE(feed.sleep_for(1h));
    raiser.join();
}

TEST_CASE("sleep_for: without a run it sleeps between two attempts to start")
{
    MockPeer peer;
    peer.refuse_connect(boost::asio::error::connection_refused);
    Sidecar<Mock> mock{{.peer = peer}, silent_options()};
    CHECK(mock.start(1s).has_error());
    CHECK(mock.sleep_for(1h)); // a failed start is no stop
    peer.allow_connect();
    CHECK(mock.start(1s));

    Sidecar<MinimalTransport> real{{}, silent_options()};
    const auto began = RealClock::now();
    CHECK(real.sleep_for(5ms));
    CHECK(RealClock::now() - began >= 5ms);
    std::thread stopper{[&] {
        std::this_thread::sleep_for(10ms); // a stop before the sleep is the next start's
        real.request_stop();
    }};
    (void)real.sleep_for(50ms);
    stopper.join();
}

TEST_CASE("sleep_for: on the loop's own thread it does not sleep")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed
              .call("sleeper",
                    [&](Context ctx) -> Task<bool> {
                        CHECK(f.feed.now() == ctx.now());
                        co_return f.feed.sleep_for(1h);
                    })
              .value()
          == false);
    CHECK(f.feed.now() == TimePoint{});
}

TEST_CASE(
    "sleep_for: a stop() that comes at the same time is not lost, on virtual and on real time")
{
    for (const bool is_virtual : {true, false}) {
        Sidecar<Mock> mock{{}, silent_options()};
        Sidecar<MinimalTransport> real{{}, silent_options()};
        Feed& feed = is_virtual ? static_cast<Feed&>(mock) : real;
        for (int round = 0; round < 50; ++round) {
            REQUIRE(feed.start(5s));
            bool has_slept = true;
            std::thread sleeper{[&] { has_slept = feed.sleep_for(Duration::max()); }};
            feed.stop();
            sleeper.join(); // or the test does not end
            CHECK_FALSE(has_slept);
        }
    }
}

TEST_CASE("sleep_for: a stop that was requested during a failed start ends it, also after stop()")
{
    MockPeer peer;
    peer.delay_connect(Duration::max());
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
    std::thread stopper{[&] {
        while (feed.state() != State::starting)
            std::this_thread::yield();
        feed.request_stop();
    }};
    CHECK(feed.start(Duration::max()) == Error::stopping);
    stopper.join();
    CHECK_FALSE(feed.sleep_for(1h));
    feed.stop();
    CHECK_FALSE(feed.sleep_for(1h));
    peer.delay_connect(0s);
    REQUIRE(feed.start(1s));
    CHECK(feed.sleep_for(1h));
}

/// Never connects.
struct Refusing : MinimalTransport {
    using MinimalTransport::MinimalTransport;
    Task<> connect(Context)
    {
        throw std::runtime_error{"refused"};
        co_return;
    }
};

TEST_CASE("sleep_for: a thread that sleeps keeps no ended run alive")
{
    Sidecar<Refusing> feed{{}, silent_options()};
    CHECK_FALSE(feed.start(5s));
    std::atomic<bool> begins{false};
    std::thread sleeper{[&] {
        begins = true;
        CHECK_FALSE(feed.sleep_for(Duration::max()));
    }};
    while (!begins)
        std::this_thread::yield();
    const auto before = open_descriptors().size();
    for (int i = 0; i < 20; ++i)
        CHECK_FALSE(feed.start(5s));
    CHECK(open_descriptors().size() < before + 10);
    feed.request_stop();
    sleeper.join();
}

TEST_CASE("start: new options are for this run and the later ones")
{
    MockPeer first, second, third;
    Sidecar<Mock> feed{{.peer = first}, silent_options()};
    REQUIRE(feed.start(1s));
    CHECK(feed.start({.peer = second}, 1s).error() == Error::already_started);
    feed.stop();
    REQUIRE(feed.start(1s)); // what was refused is not kept
    CHECK(first.connect_count() == 2);
    feed.stop();
    REQUIRE(feed.start({.peer = second}, 1s));
    feed.stop();
    REQUIRE(feed.start(1s));
    CHECK(first.connect_count() == 2);
    CHECK(second.connect_count() == 2);
    feed.stop();
    CHECK(feed.start({.peer = third, .max_message_bytes = std::size_t{1} << 40}, 1s).error()
          == Error::bad_options);
    CHECK(feed.send("x").error() == Error::stopped);
    third.refuse_connect(boost::asio::error::connection_refused);
    CHECK(feed.start({.peer = third}, 1s).has_error());
    third.allow_connect();
    REQUIRE(feed.start(1s)); // those of an attempt are kept
    CHECK(third.connect_count() == 2);
    CHECK(second.connect_count() == 2);
}

TEST_CASE("start: new options replace the function that makes them, or bring another")
{
    MockPeer first, second, third;
    Sidecar<Mock> feed{
        {.peer = first}, silent_options(), [&](Context, const Attempt&) -> Task<Mock::Options> {
            co_return Mock::Options{.peer = first};
        }};
    REQUIRE(feed.start(1s));
    feed.stop();
    REQUIRE(feed.start({.peer = second}, 1s));
    CHECK(second.connect_count() == 1);
    feed.stop();
    REQUIRE(feed.start({.peer = second}, 1s, [&](Context, const Attempt&) -> Task<Mock::Options> {
        co_return Mock::Options{.peer = third};
    }));
    CHECK(first.connect_count() == 1);
    CHECK(second.connect_count() == 1);
    CHECK(third.connect_count() == 1);
}

TEST_CASE("start: other threads may ask while the options change")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
    std::atomic<bool> is_over{false};
    std::thread asker{[&] {
        while (!is_over) {
            CHECK_FALSE(feed.receive(0s));
            CHECK_FALSE(feed.native_handle().has_error());
            (void)feed.now();
        }
    }};
    for (int i = 0; i < 20; ++i) {
        REQUIRE(feed.start({.peer = peer}, 1s));
        feed.stop();
    }
    is_over = true;
    asker.join();
}

} // namespace sleep_test
