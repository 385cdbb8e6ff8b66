// The stages of a stop, one after the other, on virtual time.
#include "support/minimal_transport.hpp"
#include "support/run_until_idle.hpp"
#include "support/silent_options.hpp"
#include "support/task_report.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <stdexcept>

namespace stop_test {

using namespace sidecar;
using namespace std::chrono_literals;

/// No coroutine: it throws before there is one.
struct RudeCloser : MinimalTransport {
    using MinimalTransport::MinimalTransport;
    Task<> close(Context, CloseReason) { throw std::runtime_error{"no goodbye"}; }
};

TEST_CASE("stop: an idle link is closed politely and every stage is ok")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
    REQUIRE(feed.start(1s));
    const auto report = feed.stop();
    CHECK(report.clean());
    CHECK(report.joined);
    CHECK(report.quiesce.verdict == Verdict::ok);
    CHECK(report.drain.verdict == Verdict::skipped);
    CHECK(report.close.verdict == Verdict::ok);
    CHECK(report.cancelled.empty());
    CHECK(report.stuck.empty());
    CHECK_FALSE(report.first_error);
    CHECK(peer.was_closed());
    CHECK(peer.close_code() == 1000);
    CHECK(feed.stop().total == report.total);
}

TEST_CASE("stop: what never started has nothing to stop")
{
    Sidecar<Mock> feed{{}, silent_options()};
    const auto report = feed.stop();
    CHECK(report.clean());
    CHECK(report.total == Duration{});
    CHECK(feed.wait_stopped(1s).error() == Error::not_started);
}

TEST_CASE("stop: what was sent is written before the close")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
    REQUIRE(feed.start(1s));
    peer.hold_writes();
    for (int i = 0; i < 10; ++i)
        REQUIRE(feed.send(std::to_string(i)));
    // On the loop's own clock: a thread's turn would come before or after the drain's end, as it
    // happens.
    REQUIRE(feed.spawn("releaser", [&](Context ctx) -> Task<> {
        co_await ctx.sleep_for(100ms);
        peer.release_writes();
    }));
    const auto report = feed.stop();
    CHECK(report.drain.verdict == Verdict::ok);
    CHECK(report.drain.elapsed <= 100ms);
    CHECK(report.clean());
    CHECK(report.unsent_messages == 0);
    CHECK(peer.sent().size() == 10);
    CHECK(peer.trace().back().find("close 1000") != std::string::npos);
}

TEST_CASE("stop: what cannot be written within the drain's budget is counted")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
    REQUIRE(feed.start(1s));
    peer.hold_writes();
    for (int i = 0; i < 10; ++i)
        REQUIRE(feed.send(std::to_string(i)));
    const auto report = feed.stop();
    CHECK(report.drain.verdict == Verdict::timed_out);
    CHECK(report.unsent_messages == 10);
    CHECK(report.joined);
    CHECK(report.dump.find("link 0 writer") != std::string::npos);
    CHECK(mentions(report.cancelled, "link 0 writer", "the peer to take what is written")
          != (report.close.verdict == Verdict::ok));
}

TEST_CASE("stop: a peer that never answers the close costs the close's budget, and no more")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
    REQUIRE(feed.start(1s));
    peer.delay_close(Duration::max());
    const auto report = feed.stop();
    CHECK(report.close.verdict == Verdict::timed_out);
    CHECK(report.cancel.verdict == Verdict::ok);
    CHECK(report.joined);
    CHECK_FALSE(report.clean());
    CHECK(mentions(report.cancelled, "link 0 close", "answer"));
    CHECK(report.dump.find("link 0 close") != std::string::npos);
    CHECK(report.total == StopBudget{}.drain + StopBudget{}.close); // on the virtual clock
}

TEST_CASE("stop: messages that arrive during the close are counted and discarded")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
    REQUIRE(feed.start(1s));
    peer.deliver("before");
    run_until_idle(feed);
    peer.delay_close(100ms);
    for (int i = 1; i <= 5; ++i)
        peer.deliver_after(std::chrono::milliseconds{10 * i}, "during");
    run_until_idle(feed);
    const auto report = feed.stop();
    CHECK(report.clean());
    CHECK(report.discarded_messages == 5);
    CHECK(report.unread_messages == 1);
    CHECK(feed.receive(1s)->text() == "before");
    CHECK(feed.receive(1s).error() == Error::stopped);
}

TEST_CASE("stop: a coroutine of the application that waits is cancelled and named")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
    REQUIRE(feed.start(1s));
    REQUIRE(feed.spawn("ticker", [](Context ctx) -> Task<> {
        for (;;)
            co_await ctx.sleep_for(3600s);
    }));
    run_until_idle(feed);
    const auto report = feed.stop();
    CHECK(report.clean());
    CHECK(mentions(report.cancelled, "ticker", "a point in time"));
    CHECK_FALSE(report.first_error);
}

TEST_CASE("stop: budgets beyond all time do not overflow")
{
    Sidecar<Mock> feed{{},
                       silent_options({.total = Duration::max(),
                                       .drain = Duration::max(),
                                       .close = Duration::max(),
                                       .cancel = Duration::max()})};
    REQUIRE(feed.start(1s));
    CHECK(feed.stop().clean());
}

TEST_CASE(
    "stop: a close that uses up all it gets leaves time for the cancelling and the thread's end")
{
    for (const auto total : {1000ms, 300ms, 40ms}) {
        MockPeer peer;
        Sidecar<Mock> feed{{.peer = peer}, silent_options({.total = total})};
        REQUIRE(feed.start(1s));
        peer.delay_close(Duration::max());
        const auto report = feed.stop();
        CHECK(report.joined);
        CHECK(report.stuck.empty());
        CHECK(report.cancel.verdict == Verdict::ok);
        CHECK(report.total < total);
        CHECK(report.total >= total / 2);
    }
}

TEST_CASE("stop: a close that is no coroutine and throws fails the close, and nothing else")
{
    Sidecar<RudeCloser> feed{{}, silent_options()};
    REQUIRE(feed.start(1s));
    const auto report = feed.stop();
    CHECK(report.joined);
    CHECK(report.close.verdict == Verdict::failed);
    CHECK(report.first_error->explanation().find("no goodbye") != std::string::npos);
}

} // namespace stop_test
