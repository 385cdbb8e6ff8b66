// One wait for several feeds, on one thread or on several.
#include "shared_fixture.hpp"

#include <sidecar/wait_any.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <csignal>
#include <ctime>
#include <memory>
#include <optional>
#include <vector>

using namespace sidecar;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

void take_up(Feed& feed) { REQUIRE(feed.next_event(1s).value().kind == Event::Kind::up); }

/// Two on threads of their own, or on one; taken up.
struct Pair {
    explicit Pair(bool is_shared)
    {
        const LoopThread loop;
        const auto options = is_shared ? on(loop) : quiet();
        a.emplace(options);
        b.emplace(options);
        for (auto* each : {&*a, &*b}) {
            REQUIRE(each->feed.start(1s));
            take_up(each->feed);
        }
    }
    [[nodiscard]] Result<std::size_t> wait(Duration timeout, std::size_t first = 0)
    {
        return wait_any({&a->feed, &b->feed}, timeout, first);
    }
    std::optional<Fixture> a, b;
};

} // namespace

TEST_CASE("wait_any: gives the feed that has something, and at once where it is there")
{
    for (const bool is_shared : {false, true}) {
        CAPTURE(is_shared);
        Pair pair{is_shared};
        CHECK(pair.wait(0s).error() == Error::timed_out);
        pair.b->peer.deliver("x");
        CHECK(pair.wait(1s).value() == 1);
        CHECK(pair.wait(0s).value() == 1); // until it is taken
        CHECK(text(pair.b->feed.receive(0s)) == "x");
        CHECK(pair.wait(0s).error() == Error::timed_out);
        pair.a->peer.deliver_after(5s, "x");
        CHECK(pair.wait(10s).value() == 0);
    }
}

TEST_CASE("wait_any: looks from `first` on, so that no busy feed keeps the others waiting")
{
    Pair pair{false};
    pair.a->peer.deliver("a");
    pair.b->peer.deliver("b");
    for (auto* each : {&*pair.a, &*pair.b}) // until both are there
        CHECK(wait_any({&each->feed}, 1s).value() == 0);
    CHECK(pair.wait(1s).value() == 0);
    CHECK(pair.wait(1s, 1).value() == 1);
    CHECK(pair.wait(1s, 2).value() == 0);
    CHECK(text(pair.a->feed.receive(1s)) == "a");
    CHECK(pair.wait(1s, 2).value() == 1);
}

TEST_CASE("wait_any: on virtual time its timeout passes in each of them, and in no real time")
{
    for (const bool is_shared : {false, true}) {
        CAPTURE(is_shared);
        Pair pair{is_shared};
        const auto now = [](Feed& feed) {
            return feed.call("now", [](Context ctx) -> Task<TimePoint> { co_return ctx.now(); })
                .value();
        };
        const auto began = Clock::now();
        CHECK(pair.wait(1h).error() == Error::timed_out);
        CHECK(Clock::now() - began < 10s);
        CHECK(now(pair.a->feed) == TimePoint{1h});
        CHECK(now(pair.b->feed) == TimePoint{1h});
    }
}

TEST_CASE("wait_any: sees up, down, the end, and what was not started")
{
    Fixture a, b;
    CHECK(wait_any({&a.feed}, 1s).value() == 0);
    CHECK(a.feed.receive(1s).error() == Error::not_started);
    REQUIRE(a.feed.start(1s));
    CHECK(wait_any({&a.feed}, 1s).value() == 0);
    take_up(a.feed);
    REQUIRE(b.feed.start(1s));
    take_up(b.feed);
    b.peer.drop();
    CHECK(wait_any({&a.feed, &b.feed}, 1s).value() == 1);
    CHECK(b.feed.receive(1s).error() == Error::disconnected);
    CHECK(a.feed.stop().clean());
    CHECK(wait_any({&a.feed}, 0s).value() == 0);
    CHECK(a.feed.receive(0s).error() == Error::stopped);
}

TEST_CASE("wait_any: null is left out, and where nothing is left it is misuse")
{
    Fixture a;
    REQUIRE(a.feed.start(1s));
    CHECK(wait_any({nullptr, &a.feed, nullptr}, 1s).value() == 1);
    CHECK(wait_any({nullptr, &a.feed, nullptr}, 1s, 77).value() == 1);
    CHECK(wait_any({nullptr}, Duration::max()).error() == Error::misuse);
    CHECK(wait_any(std::span<Feed* const>{}, Duration::max()).error() == Error::misuse);
}

TEST_CASE("wait_any: on the loop's thread of one of them it is misuse")
{
    Pair pair{false};
    CHECK(pair.b->feed
              .call("waits",
                    [&](Context) -> Task<bool> {
                        co_return pair.wait(Duration::max()).error() == Error::misuse;
                    })
              .value());
}

TEST_CASE("wait_any: on real time it sleeps until its timeout, or until a stop from elsewhere")
{
    const LoopThread loop;
    Sidecar<LeastTransport> a{{}, on(loop)}, b{{}, quiet()};
    for (auto* feed : {&a, &b}) {
        REQUIRE(feed->start(1s));
        take_up(*feed);
    }
    const auto began = Clock::now();
    CHECK(wait_any({&a, &b}, 30ms).error() == Error::timed_out);
    CHECK(Clock::now() - began >= 30ms);
    ::timespec cpu_before{}, cpu_after{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu_before);
    std::thread stopper{[&] {
        std::this_thread::sleep_for(200ms); // so long nothing is to be done
        b.request_stop();
    }};
    CHECK(wait_any({&a, &b}, Duration::max()).value() == 1);
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu_after);
    stopper.join();
    CHECK(std::chrono::nanoseconds{cpu_after.tv_nsec - cpu_before.tv_nsec}
              + std::chrono::seconds{cpu_after.tv_sec - cpu_before.tv_sec}
          < 100ms); // it slept
    CHECK(b.stop().joined);
}

namespace {
Feed* to_stop = nullptr;
}

TEST_CASE("wait_any: a stop from a signal handler wakes it, on either clock")
{
    const auto old = std::signal(SIGUSR1, [](int) { to_stop->request_stop(); });
    Fixture on_virtual;
    Sidecar<LeastTransport> on_real{{}, quiet()}, other{{}, quiet()};
    REQUIRE(other.start(1s));
    take_up(other);
    for (auto* feed : std::initializer_list<Feed*>{&on_virtual.feed, &on_real}) {
        REQUIRE(feed->start(1s));
        take_up(*feed);
        to_stop = feed;
        std::thread raiser{[] { std::raise(SIGUSR1); }};
        if (feed == &on_real)
            CHECK(wait_any({&other, feed}, Duration::max()).value() == 1);
        else // alone: with a timeout its time would pass
            CHECK(wait_any({feed}, Duration::max()).value() == 0);
        raiser.join();
        CHECK(feed->stop().joined);
    }
    std::signal(SIGUSR1, old);
}

TEST_CASE("wait_any: several threads wait for overlapping feeds, and nothing is lost or slept over")
{
    constexpr int feeds = 4, rounds = 200;
    std::vector<std::unique_ptr<Sidecar<LeastTransport>>> all;
    const LoopThread loop;
    std::vector<Feed*> pointers;
    for (int i = 0; i < feeds; ++i) {
        all.push_back(std::make_unique<Sidecar<LeastTransport>>(LeastTransport::Options{},
                                                                i % 2 == 0 ? on(loop) : quiet()));
        REQUIRE(all.back()->start(1s));
        take_up(*all.back());
        pointers.push_back(all.back().get());
    }
    // Each round a link comes up in one of them: an event that one waiter takes.
    std::atomic<int> taken{0};
    std::vector<std::thread> waiters;
    for (int w = 0; w < 3; ++w)
        waiters.emplace_back([&] {
            for (std::size_t first = 0; taken < rounds;) {
                const auto which = wait_any(pointers, 10s, first);
                if (!which)
                    return;
                first = *which + 1;
                if (auto event = pointers[*which]->next_event(0s);
                    event && event->kind == Event::Kind::up)
                    ++taken;
                else if (event && event->kind == Event::Kind::stopped)
                    return;
            }
        });
    const auto began = Clock::now();
    for (int i = 0; i < rounds; ++i) {
        CHECK(pointers[static_cast<std::size_t>(i % feeds)]->open<LeastTransport>({}, 10s));
        while (taken <= i && Clock::now() - began < 60s)
            std::this_thread::yield();
    }
    CHECK(taken == rounds);
    for (auto* feed : pointers)
        feed->request_stop();
    for (auto& waiter : waiters)
        waiter.join();
    for (auto* feed : pointers)
        CHECK(feed->stop().joined);
}
