// The stop matrix on virtual time: what the link is doing, times how the peer behaves. Time costs
// nothing here, so the stages' durations are exact.
#include "support/run_until_idle.hpp"
#include "support/silent_options.hpp"
#include "support/task_report.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace stop_matrix_test {

using namespace sidecar;
using namespace std::chrono_literals;

enum class Doing { idle, flooded, inbox_full, send_blocked };
/// What the peer does once the stop begins; a slow one needs 50 ms for what a polite one does at
/// once.
enum class Manner { polite, slow, mute, reset, half_open };

constexpr const char* names_of_doing[] = {"idle", "flooded", "inbox full", "send blocked"};
constexpr const char* names_of_manner[] = {"polite", "slow", "mute", "reset", "half-open"};

constexpr StopBudget budget{.total = 1000ms, .drain = 200ms, .close = 500ms, .cancel = 100ms};
constexpr std::size_t inbox_messages = 64;
constexpr std::uint64_t blocked_messages = 10;

/// Runs the loop's thread until nothing is left to do at the present virtual time.
/// a thread's does not.
void later(Feed& feed, Duration delay, std::function<void()> action)
{
    REQUIRE(feed.spawn("the peer", [delay, action = std::move(action)](Context ctx) -> Task<> {
        co_await ctx.sleep_for(delay);
        action();
    }));
}

struct Cell {
    Doing doing;
    Manner manner;
};

void prepare(Feed& feed, MockPeer& peer, Cell cell)
{
    if (cell.doing == Doing::flooded)
        for (std::size_t i = 0; i < inbox_messages / 2; ++i)
            peer.deliver("x");
    if (cell.doing == Doing::inbox_full)
        for (std::size_t i = 0; i < inbox_messages * 2; ++i)
            peer.deliver("x");
    if (cell.doing == Doing::send_blocked) {
        peer.hold_writes();
        for (std::uint64_t i = 0; i < blocked_messages; ++i)
            REQUIRE(feed.send("x"));
    }
    run_until_idle(feed);
    switch (cell.manner) {
    case Manner::polite: peer.release_writes(); break;
    case Manner::slow:
        peer.delay_close(50ms);
        later(feed, 50ms, [peer]() mutable { peer.release_writes(); });
        break;
    case Manner::mute: peer.delay_close(Duration::max()); break;
    case Manner::reset: peer.drop(); break; // which ends held writes too
    case Manner::half_open: peer.fail_read(boost::asio::error::eof); break;
    }
    if (cell.doing == Doing::flooded)
        for (int i = 1; i <= 20; ++i)
            peer.deliver_after(std::chrono::milliseconds{10 * i - 5}, "during");
}

StopReport run(Cell cell)
{
    MockPeer peer;
    Sidecar<Mock> feed{
        {.peer = peer, .max_message_bytes = 1024},
        silenced({.inbox = {.bytes = 1u << 20, .messages = inbox_messages}, .stop = budget})};
    REQUIRE(feed.start(1s));
    prepare(feed, peer, cell);
    const auto report = feed.stop();
    CHECK(report.joined);
    CHECK(report.stuck.empty());
    CHECK(report.quiesce.verdict == Verdict::ok);
    CHECK(report.total <= budget.total);
    CHECK(report.quiesce.elapsed + report.drain.elapsed + report.close.elapsed
              + report.cancel.elapsed + report.join.elapsed
          == report.total);
    CHECK(report.unsent_messages + peer.sent().size()
          == (cell.doing == Doing::send_blocked ? blocked_messages : 0));
    const bool any_late =
        report.drain.verdict == Verdict::timed_out || report.close.verdict == Verdict::timed_out;
    CHECK(any_late == !report.dump.empty());
    const auto stats = feed.stats();
    std::uint64_t received = 0;
    while (feed.receive(0s))
        ++received;
    CHECK(received == report.unread_messages);
    CHECK(stats.messages_received == report.unread_messages);
    return report;
}

void check(Cell cell)
{
    const std::string doing = names_of_doing[static_cast<int>(cell.doing)];
    const std::string manner = names_of_manner[static_cast<int>(cell.manner)];
    CAPTURE(doing);
    CAPTURE(manner);
    const auto report = run(cell);
    CAPTURE(to_string(report));
    const bool blocked = cell.doing == Doing::send_blocked;
    // Where the link is broken before the stop can close it, there is nothing to close.
    switch (cell.manner) {
    case Manner::polite:
        CHECK(report.clean());
        CHECK(report.total == 0ms);
        // Blocked: it may be written in time for the stop
        CHECK((report.drain.verdict == Verdict::skipped || blocked));
        CHECK(report.close.verdict == Verdict::ok);
        CHECK(report.cancelled.empty());
        break;
    case Manner::slow:
        CHECK(report.clean());
        CHECK(report.drain.verdict == (blocked ? Verdict::ok : Verdict::skipped));
        CHECK(report.drain.elapsed == (blocked ? 50ms : 0ms));
        CHECK(report.close.elapsed == 50ms);
        CHECK(report.discarded_messages
              == (cell.doing == Doing::flooded      ? 5
                  : cell.doing == Doing::inbox_full ? inbox_messages
                                                    : 0));
        break;
    case Manner::mute:
        CHECK(report.drain.elapsed == (blocked ? budget.drain : 0ms));
        CHECK(report.close.verdict == Verdict::timed_out);
        CHECK(report.drain.elapsed + report.close.elapsed == budget.drain + budget.close);
        CHECK(report.cancel.verdict == Verdict::ok);
        CHECK(report.total == budget.drain + budget.close);
        CHECK(names_task(report.cancelled, "link 0 close"));
        CHECK(report.unsent_messages == (blocked ? blocked_messages : 0));
        break;
    case Manner::reset:
    case Manner::half_open:
        // Behind a full inbox the end of the stream is seen only once the stop reads on; the close
        // then ends with it.
        CHECK(report.total == 0ms);
        CHECK(report.unsent_messages == (blocked ? blocked_messages : 0));
        CHECK(report.close.verdict != Verdict::timed_out);
        break;
    }
}

TEST_CASE("stop matrix: on virtual time every stage takes exactly what its peer makes it take")
{
    for (const auto doing : {Doing::idle, Doing::flooded, Doing::inbox_full, Doing::send_blocked})
        for (const auto manner :
             {Manner::polite, Manner::slow, Manner::mute, Manner::reset, Manner::half_open})
            check({doing, manner});
}

TEST_CASE("stop matrix: the same cell gives the same stages each time")
{
    // A reset may come before the stop or in it
    for (const auto manner : {Manner::polite, Manner::slow, Manner::mute}) {
        const auto first = run({Doing::flooded, manner});
        const auto again = run({Doing::flooded, manner});
        CAPTURE(to_string(first));
        CAPTURE(to_string(again));
        for (auto stage : {&StopReport::quiesce, &StopReport::drain, &StopReport::close,
                           &StopReport::cancel, &StopReport::join}) {
            CHECK((first.*stage).verdict == (again.*stage).verdict);
            CHECK((first.*stage).elapsed == (again.*stage).elapsed);
        }
    }
}

TEST_CASE("stop matrix: while it connects, the stop needs no time at all")
{
    MockPeer peer;
    peer.delay_connect(Duration::max());
    Sidecar<Mock> feed{{.peer = peer}, silent_options(budget)};
    std::thread stopper{[&] {
        while (peer.connect_count() == 0)
            std::this_thread::yield();
        feed.request_stop();
    }};
    CHECK(feed.start(Duration::max()).error() == Error::stopping);
    stopper.join();
    const auto report = feed.stop();
    CHECK(report.total == 0ms);
    CHECK(report.clean());
    CHECK(names_task(report.cancelled, "link 0 listener"));
}

TEST_CASE(
    "stop matrix: of several links each has its own end, and one that is mute holds up no other")
{
    MockPeer polite, mute, broken, connecting;
    Sidecar<Mock> feed{{.peer = polite}, silent_options(budget)};
    REQUIRE(feed.start(1s));
    REQUIRE(feed.open({.peer = mute}, 1s));
    auto third = feed.open({.peer = broken}, 1s);
    REQUIRE(third);
    connecting.delay_connect(Duration::max());
    std::thread opener{[&] {
        CHECK(feed.open({.peer = connecting}, Duration::max()).error() == Error::stopping);
    }};
    while (connecting.connect_count() == 0)
        std::this_thread::yield();
    mute.delay_close(Duration::max());
    broken.hold_writes();
    REQUIRE(third->send("never written"));
    broken.drop();
    const auto report = feed.stop();
    opener.join();
    CHECK(polite.was_closed());
    CHECK_FALSE(mute.was_closed());
    CHECK(report.total == budget.drain + budget.close);
    CHECK(report.close.verdict == Verdict::timed_out);
    CHECK(report.unsent_messages == 1);
    CHECK(names_task(report.cancelled, "link 1 close"));
    CHECK_FALSE(names_task(report.cancelled, "link 0 listener"));
}

TEST_CASE("stop: of many links that close well none had to be cancelled")
{
    std::vector<MockPeer> peers(300);
    Sidecar<Mock> feed{{.peer = peers[0]}, {.stop = budget}};
    REQUIRE(feed.start(1s));
    for (std::size_t i = 1; i < peers.size(); ++i)
        REQUIRE(feed.open({.peer = peers[i]}, 1s));
    const auto report = feed.stop();
    CHECK(report.clean());
    CHECK(report.close.verdict == Verdict::ok);
    CHECK(report.cancelled.empty());
    CHECK(std::all_of(peers.begin(), peers.end(),
                      [](const MockPeer& peer) { return peer.was_closed(); }));
}

TEST_CASE("stop: of many mute links the report names each task, its dump as many as a person reads")
{
    std::vector<MockPeer> peers(100);
    Sidecar<Mock> feed{{.peer = peers[0]}, silent_options(budget)};
    REQUIRE(feed.start(1s));
    for (std::size_t i = 0; i < peers.size(); ++i) {
        peers[i].delay_close(Duration::max());
        if (i != 0)
            REQUIRE(feed.open({.peer = peers[i]}, 1s));
    }
    const auto report = feed.stop();
    CHECK(report.joined);
    CHECK(report.close.verdict == Verdict::timed_out);
    CHECK(names_task(report.cancelled, "link 99 close"));
    CHECK(report.dump.find("link 63 ") != std::string::npos);
    CHECK(report.dump.find("link 64 ") == std::string::npos);
    CHECK(report.dump.find("and 36 more links") != std::string::npos);
}

TEST_CASE("stop: a budget of nothing still stops, and says what it cut off")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer},
                       silent_options({.total = 1ns, .drain = 0ns, .close = 0ns, .cancel = 0ns})};
    REQUIRE(feed.start(1s));
    peer.hold_writes();
    peer.delay_close(Duration::max());
    REQUIRE(feed.send("x"));
    const auto report = feed.stop();
    CHECK(report.unsent_messages == 1);
    CHECK_FALSE(report.clean());
    if (!report.joined)
        return; // which is chance, as is how far it got then
    CHECK(report.drain.verdict == Verdict::timed_out);
    CHECK(report.close.verdict == Verdict::timed_out);
}

} // namespace stop_matrix_test
