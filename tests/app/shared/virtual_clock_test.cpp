// Virtual time that several mocks share.
#include "shared_fixture.hpp"

#include <sidecar/wait_any.hpp>

#include <doctest/doctest.h>

#include <vector>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

TimePoint now_of(Feed& feed)
{
    return feed.call("now", [](Context ctx) -> Task<TimePoint> { co_return ctx.now(); }).value();
}

} // namespace

TEST_CASE("shared virtual time: one clock, which the waits of all move")
{
    const LoopThread loop;
    Fixture a{on(loop)}, b{on(loop)};
    REQUIRE(a.feed.start(1s));
    REQUIRE(b.feed.start(1s));
    CHECK(now_of(a.feed) == TimePoint{});
    CHECK(a.feed.receive(60s).error() == Error::timed_out);
    CHECK(now_of(a.feed) == TimePoint{60s});
    CHECK(now_of(b.feed) == TimePoint{60s});
    CHECK(b.feed.receive(30s).error() == Error::timed_out);
    CHECK(now_of(a.feed) == TimePoint{90s});
    CHECK(a.feed.stop().total == 0s);
    CHECK(b.feed.receive(30s).error() == Error::timed_out);
    Fixture later{on(loop)}; // the clock is the thread's
    REQUIRE(later.feed.start(1s));
    CHECK(now_of(later.feed) == TimePoint{120s});
}

TEST_CASE("shared virtual time: what happens in several happens in the order of its time")
{
    const LoopThread loop;
    Fixture a{on(loop)}, b{on(loop)};
    REQUIRE(a.feed.start(1s));
    REQUIRE(b.feed.start(1s));
    // Each at 10, 20, 30 ... of its own; the other's come between.
    for (int i = 1; i <= 10; ++i) {
        a.peer.deliver_after(std::chrono::milliseconds{20 * i}, "a");
        b.peer.deliver_after(std::chrono::milliseconds{20 * i + 10}, "b");
    }
    std::string order;
    for (int i = 0; i < 20; ++i) {
        const auto which = wait_any({&a.feed, &b.feed}, 1h);
        REQUIRE(which);
        auto event = (*which == 0 ? a : b).feed.next_event(0s);
        REQUIRE(event);
        if (event->kind == Event::Kind::up)
            --i;
        else
            order += event->message.text();
    }
    std::string traces;
    for (const auto& peer : {a.peer, b.peer})
        for (const auto& line : peer.trace())
            traces += line + "; ";
    CAPTURE(traces);
    CHECK(order == "abababababababababab");
    CHECK(now_of(a.feed) == TimePoint{210ms});
}

TEST_CASE("shared virtual time: it does not pass while one of them has something to do")
{
    const LoopThread loop;
    Sidecar<Mock> idle{{}, on(loop)};
    Fixture busy{on(loop)};
    REQUIRE(idle.start(1s));
    REQUIRE(busy.feed.start(1s));
    // Turns without number at the present moment, while another sidecar's wait would pass time.
    REQUIRE(busy.feed.spawn("turns", [](Context ctx) -> Task<> {
        const auto began = ctx.now();
        for (int i = 0; i < 1000; ++i) {
            LoopEvent event;
            event.set();
            co_await event.wait();
            if (ctx.now() != began)
                throw std::runtime_error{"time has passed"};
        }
    }));
    CHECK(idle.receive(60s).error() == Error::timed_out);
    CHECK(busy.feed.stop().first_error == std::nullopt);
}

TEST_CASE("shared virtual time: a stop takes its stages' time, and takes it from nobody's wait")
{
    constexpr StopBudget budget{.total = 1000ms, .drain = 200ms, .close = 500ms, .cancel = 100ms};
    const LoopThread loop;
    Fixture mute{on(loop, budget)}, other{on(loop, budget)};
    REQUIRE(mute.feed.start(1s));
    REQUIRE(other.feed.start(1s));
    mute.peer.hold_writes();
    mute.peer.delay_close(Duration::max());
    REQUIRE(mute.feed.send("never written"));
    const auto report = mute.feed.stop();
    CAPTURE(to_string(report));
    CHECK(report.joined);
    CHECK(report.drain.took == budget.drain);
    CHECK(report.close.took == budget.close);
    CHECK(report.total == budget.drain + budget.close);
    CHECK(report.unsent_messages == 1);
    CHECK(now_of(other.feed) == TimePoint{700ms});
    CHECK(other.feed.stop().total == 0ms);
}
