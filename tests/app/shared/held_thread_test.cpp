// A shared thread that somebody's code holds, or that a stop had to leave something on.
#include "shared_fixture.hpp"
#include "support/orphans.hpp"
#include "support/sanitized.hpp"
#include "support/task_report.hpp"

#include <boost/asio/this_coro.hpp>
#include <doctest/doctest.h>

#include <latch>
#include <memory>
#include <optional>

using namespace sidecar;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

using A = Named<'a'>;
using B = Named<'b'>;

/// Code of a sidecar's that holds the thread until it is let go.
class Holder {
public:
    void hold(Feed& feed)
    {
        REQUIRE(feed.spawn("stuck", [this](Context) -> Task<> {
            entered_.count_down();
            release_.wait();
            co_return;
        }));
        entered_.wait();
    }
    void let_go() { release_.count_down(); }

private:
    std::latch entered_{1}, release_{1};
};

/// Of a machine that does much else. It is less than a stop's total by default.
constexpr auto lateness = 1s;

constexpr StopBudget short_budget{.total = 200ms, .drain = 50ms, .close = 50ms, .cancel = 50ms};

} // namespace

TEST_CASE("held thread: every sidecar's stop ends within its total, and says whose task holds it")
{
    const auto orphans = orphan_count();
    Holder holder;
    const LoopThread loop;
    {
        Sidecar<A> a{{}, on(loop, short_budget)};
        Sidecar<B> b{{}, on(loop, short_budget)};
        REQUIRE(a.start(1s));
        REQUIRE(b.start(1s));
        holder.hold(a);
        const auto dump = b.dump();
        CAPTURE(dump);
        CHECK(dump.find("\"stuck (of feed-a)\": running: it holds the loop's thread")
              != std::string::npos);
        const auto began = Clock::now();
        const auto report = b.stop();
        CAPTURE(to_string(report));
        CHECK(Clock::now() - began < short_budget.total + lateness);
        CHECK_FALSE(report.joined);
        CHECK_FALSE(report.clean());
        CHECK(report.join.verdict == Verdict::timed_out);
        CHECK(mentions(report.stuck, "stuck (of feed-a)", "holds the loop's thread"));
        CHECK(report.dump.find("feed-a") != std::string::npos);
        CHECK(orphan_count() == orphans + 1);
        CHECK(b.receive(1s).error() == Error::stopped);

        const auto own = a.stop();
        CHECK_FALSE(own.joined);
        CHECK(mentions(own.stuck, "stuck", "holds the loop's thread"));
        CHECK(orphan_count() == orphans + 1); // one thread
    }
    holder.let_go();
    CHECK(wait_for_orphans(orphans));
}

TEST_CASE("held thread: it takes no further sidecar; the next start gets a new one")
{
    const auto orphans = orphan_count();
    Holder holder;
    const LoopThread loop;
    Sidecar<A> a{{}, on(loop, short_budget)};
    Sidecar<B> b{{}, on(loop, short_budget)};
    REQUIRE(a.start(1s));
    REQUIRE(b.start(1s));
    const auto held = thread_of(a);
    holder.hold(a);
    CHECK_FALSE(b.stop().joined);
    REQUIRE(b.start(1s));
    CHECK(thread_of(b) != held);
    CHECK(loop.sidecars() == 1);
    CHECK(b.stop().clean());
    // Once it is let go, the sidecar that nobody stopped goes on there, to its own stop.
    holder.let_go();
    CHECK(thread_of(a) == held);
    CHECK(orphan_count() == orphans + 1);
    CHECK(a.stop().clean());
    CHECK(wait_for_orphans(orphans));
    REQUIRE(a.start(1s));
    CHECK(a.stop().clean());
}

TEST_CASE("held thread: a start there runs into its timeout, names the holder, and leaves nothing")
{
    Holder holder;
    const LoopThread loop;
    Sidecar<A> a{{}, on(loop)};
    Sidecar<B> b{{}, on(loop)};
    REQUIRE(a.start(1s));
    holder.hold(a);
    const auto began = Clock::now();
    const auto refused = b.start(50ms);
    CHECK(Clock::now() - began < 50ms + lateness); // not for the stop's total
    CHECK(refused.error() == Error::timed_out);
    CHECK(refused.error().message().find("stuck (of feed-a)") != std::string::npos);
    const auto report = b.stop();
    CHECK(report.joined);
    CHECK(report.is_thread_shared);
    CHECK(b.state() == State::idle);
    const auto held = loop.sidecars();
    CHECK(held == 2); // the place is given back when the thread comes to it
    holder.let_go();
    REQUIRE(b.start(1s));
    CHECK(thread_of(a) == thread_of(b));
    CHECK(loop.sidecars() == 2);
    CHECK(b.stop().clean());
    CHECK(a.stop().clean());
}

TEST_CASE("held thread: a task that heeds no cancellation stays behind alone; the others go on")
{
    const auto orphans = orphan_count();
    const LoopThread loop;
    Sidecar<A> a{{}, on(loop, short_budget)};
    Sidecar<B> b{{}, on(loop, short_budget)};
    REQUIRE(a.start(1s));
    REQUIRE(b.start(1s));
    const auto old_thread = thread_of(b);
    auto release = std::make_shared<std::atomic<bool>>(false);
    REQUIRE(a.spawn("deaf", [release](Context ctx) -> Task<> {
        co_await boost::asio::this_coro::reset_cancellation_state(
            boost::asio::disable_cancellation{});
        while (!*release)
            co_await ctx.sleep_for(1ms);
    }));
    const auto report = a.stop();
    CHECK_FALSE(report.joined);
    CHECK(report.cancel.verdict == Verdict::timed_out);
    CHECK(names_task(report.stuck, "deaf"));
    CHECK(thread_of(b) == old_thread);
    CHECK(loop.sidecars() == 2);
    Sidecar<A> next{{}, on(loop)};
    REQUIRE(next.start(1s));
    CHECK(thread_of(next) != old_thread);
    CHECK(b.stop().clean());
    CHECK(orphan_count() == orphans + 1);
    *release = true;
    CHECK(wait_for_orphans(orphans));
    CHECK(next.stop().clean());
}

TEST_CASE("held thread: what is left behind reaches no hook of its own sidecar, but others' hooks")
{
    const auto orphans = orphan_count();
    const LoopThread loop;
    auto lines = std::make_shared<std::atomic<int>>(0);
    auto logs = on(loop, short_budget);
    logs.log = [lines](LogLevel, std::string_view) { ++*lines; };
    Sidecar<A> a{{}, logs};
    Sidecar<B> b{{}, logs};
    REQUIRE(a.start(1s));
    REQUIRE(b.start(1s));
    std::latch entered{1}, release{1};
    REQUIRE(a.spawn("stuck", [&](Context ctx) -> Task<> {
        entered.count_down();
        release.wait();
        ctx.log(LogLevel::error, "too late");
        co_return;
    }));
    entered.wait();
    CHECK_FALSE(a.stop().joined);
    CHECK(*lines == 1); // that it was left
    release.count_down();
    REQUIRE(b.call("logs", [](Context ctx) -> Task<> {
        ctx.log(LogLevel::error, "a line");
        co_return;
    }));
    CHECK(*lines == 2);
    CHECK(b.stop().joined);
    CHECK(wait_for_orphans(orphans));
}
