#include "support/sanitized.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <csignal>
#include <latch>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace sidecar;
using namespace std::chrono_literals;
using Feed = sidecar::Sidecar<Mock>;
using Clock = std::chrono::steady_clock;

namespace {

Options quiet(StopBudget stop = {})
{
    return {.stop = stop, .log = [](LogLevel, std::string_view) {}};
}

bool mentions(const std::vector<TaskReport>& tasks, std::string_view name,
              std::string_view waiting_for)
{
    return std::any_of(tasks.begin(), tasks.end(), [&](const TaskReport& task) {
        return task.name == name && task.waiting_for.find(waiting_for) != std::string::npos;
    });
}

/// Runs the loop's thread until nothing is left to do at the present virtual time.
void settle(Feed& feed)
{
    REQUIRE(feed.call([](Context ctx) -> Task<> { co_await ctx.sleep_for(1ms); }));
}

} // namespace

TEST_CASE("stop: an idle link is closed politely and every stage is ok")
{
    MockPeer peer;
    Feed feed{{.peer = peer}, quiet()};
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
    Feed feed{{}, quiet()};
    const auto report = feed.stop();
    CHECK(report.clean());
    CHECK(report.total == Duration{});
    CHECK(feed.wait_stopped(1s).error() == Error::not_started);
}

TEST_CASE("stop: what was sent is written before the close")
{
    MockPeer peer;
    Feed feed{{.peer = peer}, quiet()};
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
    CHECK(report.drain.took <= 100ms);
    CHECK(report.clean());
    CHECK(report.unsent_messages == 0);
    CHECK(peer.sent().size() == 10);
    CHECK(peer.trace().back().find("close 1000") != std::string::npos);
}

TEST_CASE("stop: what cannot be written within the drain's budget is counted")
{
    MockPeer peer;
    Feed feed{{.peer = peer}, quiet()};
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
    Feed feed{{.peer = peer}, quiet()};
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
    Feed feed{{.peer = peer}, quiet()};
    REQUIRE(feed.start(1s));
    peer.deliver("before");
    settle(feed);
    peer.delay_close(100ms);
    for (int i = 1; i <= 5; ++i)
        peer.deliver_after(std::chrono::milliseconds{10 * i}, "during");
    settle(feed);
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
    Feed feed{{.peer = peer}, quiet()};
    REQUIRE(feed.start(1s));
    REQUIRE(feed.spawn("ticker", [](Context ctx) -> Task<> {
        for (;;)
            co_await ctx.sleep_for(3600s);
    }));
    settle(feed);
    const auto report = feed.stop();
    CHECK(report.clean());
    CHECK(mentions(report.cancelled, "ticker", "a point in time"));
    CHECK_FALSE(report.first_error);
}

TEST_CASE(
    "stop: code that holds the loop's thread does not make it late; the thread finishes alone")
{
    MockPeer peer;
    std::latch entered{1}, release{1};
    const auto orphans = orphan_count();
    constexpr auto total = 200ms;
    {
        // Real time must pass here, so the budget is the mock's hard one of a second.
        Feed feed{{.peer = peer}, quiet({.total = total})};
        REQUIRE(feed.start(1s));
        REQUIRE(feed.spawn("stuck", [&](Context) -> Task<> {
            entered.count_down();
            release.wait();
            co_return;
        }));
        entered.wait();
        const auto began = Clock::now();
        const auto report = feed.stop();
        CHECK(Clock::now() - began < 1s + promptly);
        CHECK_FALSE(report.joined);
        CHECK_FALSE(report.clean());
        CHECK(report.join.verdict == Verdict::timed_out);
        CHECK(mentions(report.stuck, "stuck", "running"));
        CHECK(orphan_count() == orphans + 1);
        CHECK(feed.receive(1s).error() == Error::stopped);
        CHECK(feed.send("x").error() == Error::stopping);
    }
    release.count_down();
    for (const auto give_up = Clock::now() + 10s;
         orphan_count() != orphans && Clock::now() < give_up;)
        std::this_thread::yield();
    CHECK(orphan_count() == orphans);
}

TEST_CASE("stop: what a thread left alone does later reaches no hook of the application any more")
{
    std::latch entered{1}, release{1};
    const auto orphans = orphan_count();
    auto lines = std::make_unique<std::atomic<int>>(0);
    Options options{.stop = {.total = 10ms}};
    options.log = [counter = lines.get()](LogLevel, std::string_view) { ++*counter; };
    {
        Feed feed{{}, options};
        REQUIRE(feed.start(1s));
        REQUIRE(feed.spawn("stuck", [&](Context ctx) -> Task<> {
            entered.count_down();
            release.wait();
            ctx.log(LogLevel::error, "too late");
            throw std::runtime_error{"too late as well"};
            co_return;
        }));
        entered.wait();
        const auto dump = feed.dump();
        CHECK(dump.find("\"stuck\": running: it holds the loop's thread") != std::string::npos);
        CHECK_FALSE(feed.stop().joined);
        CHECK(*lines == 1); // that the thread was left alone
    }
    lines.reset(); // a hook called now would be found by the sanitizer
    release.count_down();
    for (const auto give_up = Clock::now() + 10s;
         orphan_count() != orphans && Clock::now() < give_up;)
        std::this_thread::yield();
    CHECK(orphan_count() == orphans);
}

TEST_CASE("stop: a coroutine that pays no heed to its cancellation is reported as stuck, with what "
          "it waits for")
{
    const auto orphans = orphan_count();
    auto ignorant_is_over = std::make_shared<std::atomic<bool>>(false);
    {
        Feed feed{{}, quiet()};
        REQUIRE(feed.start(1s));
        REQUIRE(feed.spawn("ignorant", [ignorant_is_over](Context ctx) -> Task<> {
            co_await boost::asio::this_coro::reset_cancellation_state(
                boost::asio::disable_cancellation());
            ctx.waiting_for("better times");
            // On real time: the mock's stands still once nobody waits for it
            boost::asio::steady_timer timer{ctx.executor()};
            while (!*ignorant_is_over) {
                timer.expires_after(1ms);
                co_await timer.async_wait(boost::asio::use_awaitable);
            }
        }));
        settle(feed);
        const auto report = feed.stop();
        CHECK_FALSE(report.joined);
        CHECK(report.cancel.verdict == Verdict::timed_out);
        CHECK(report.join.verdict == Verdict::timed_out);
        CHECK(mentions(report.stuck, "ignorant", "better times"));
    }
    *ignorant_is_over = true;
    for (const auto give_up = Clock::now() + 10s;
         orphan_count() != orphans && Clock::now() < give_up;)
        std::this_thread::yield();
    CHECK(orphan_count() == orphans);
}

TEST_CASE("watchdog: the longest time that the loop's thread was held in one go, and by whom")
{
    Feed feed{{}, quiet()};
    REQUIRE(feed.start(1s));
    REQUIRE(feed.spawn("busy", [](Context) -> Task<> {
        for (const auto until = Clock::now() + 20ms; Clock::now() < until;) {
        }
        co_return;
    }));
    CHECK(feed.stop().clean());
    CHECK(feed.stats().longest_busy >= 20ms);
    CHECK(feed.stats().longest_busy_task == "busy");
}

TEST_CASE("stop: a transport that heeds neither abort nor cancellation is reported as stuck")
{
    MockPeer peer;
    const auto orphans = orphan_count();
    {
        Feed feed{{.peer = peer}, quiet()};
        REQUIRE(feed.start(1s));
        peer.delay_close(Duration::max());
        peer.ignore_abort();
        const auto report = feed.stop();
        CHECK_FALSE(report.joined);
        CHECK(report.cancel.verdict == Verdict::timed_out);
        CHECK(mentions(report.stuck, "link 0 listener", "messages"));
    }
    peer.release_abort();
    for (const auto give_up = Clock::now() + 10s;
         orphan_count() != orphans && Clock::now() < give_up;)
        std::this_thread::yield();
    CHECK(orphan_count() == orphans);
}

TEST_CASE("stop: several threads get the same report")
{
    MockPeer peer;
    Feed feed{{.peer = peer}, quiet()};
    REQUIRE(feed.start(1s));
    std::vector<StopReport> reports(4);
    std::vector<std::thread> threads;
    for (auto& report : reports)
        threads.emplace_back([&] { report = feed.stop(); });
    for (auto& thread : threads)
        thread.join();
    for (const auto& report : reports) {
        CHECK(report.clean());
        CHECK(report.total == reports[0].total);
    }
}

TEST_CASE("stop: on the loop's own thread it only requests")
{
    MockPeer peer;
    Feed feed{{.peer = peer}, quiet()};
    REQUIRE(feed.start(1s));
    std::atomic<Verdict> verdict{Verdict::ok};
    REQUIRE(feed.spawn("suicide", [&](Context) -> Task<> {
        verdict = feed.stop().join.verdict;
        co_return;
    }));
    CHECK(feed.wait_stopped(10s)->clean());
    CHECK(verdict == Verdict::not_waited);
}

TEST_CASE(
    "stop: from the log hook, on the loop's own thread, it only requests; waiting there is misuse")
{
    std::atomic<Feed*> target{nullptr};
    std::atomic<Verdict> verdict{Verdict::ok};
    std::atomic<bool> is_misuse{false};
    Feed feed{{}, {.log = [&](LogLevel, std::string_view) {
                  if (auto* it = target.load()) {
                      verdict = it->stop().join.verdict;
                      is_misuse = it->wait_stopped(1s).error() == Error::misuse
                                  && it->receive(1s).error() == Error::misuse
                                  && it->start(1s).error() == Error::misuse
                                  && it->flush(1s).error() == Error::misuse;
                  }
              }}};
    REQUIRE(feed.start(1s));
    target = &feed;
    REQUIRE(feed.spawn("talker", [](Context ctx) -> Task<> {
        ctx.log(LogLevel::warning, "stop me");
        co_return;
    }));
    CHECK(feed.wait_stopped(10s)->clean());
    target = nullptr;
    CHECK(verdict == Verdict::not_waited);
    CHECK(is_misuse);
}

TEST_CASE("stop: every blocked call wakes")
{
    MockPeer peer;
    Feed feed{{.peer = peer},
              {.outbox = {.bytes = 4096, .messages = 1}, .log = [](LogLevel, std::string_view) {}}};
    REQUIRE(feed.start(1s));
    peer.hold_writes();
    REQUIRE(feed.send("x"));
    std::latch running{4};
    std::vector<std::thread> threads;
    const auto expect = [&](auto blocked) {
        threads.emplace_back([&, blocked] {
            running.count_down();
            blocked();
        });
    };
    expect([&] { CHECK(feed.receive(Duration::max()).error() == Error::stopped); });
    expect([&] { CHECK(feed.send("y", Duration::max()).error() == Error::stopping); });
    expect([&] { CHECK(feed.flush(Duration::max()).error() == Error::stopping); });
    expect([&] {
        CHECK(feed.call([](Context ctx) -> Task<> { co_await ctx.sleep_for(Duration::max()); })
                  .error()
              == Error::stopping);
    });
    running.wait();
    feed.request_stop();
    for (auto& thread : threads)
        thread.join();
    CHECK(feed.wait_stopped(10s)->joined);
}

namespace {
std::atomic<Feed*> signalled{nullptr};
}

TEST_CASE("request_stop: may be called in a signal handler")
{
    MockPeer peer;
    Feed feed{{.peer = peer}, quiet()};
    REQUIRE(feed.start(1s));
    signalled = &feed;
    const auto old = std::signal(SIGUSR1, [](int) { signalled.load()->request_stop(); });
    std::raise(SIGUSR1);
    std::signal(SIGUSR1, old);
    CHECK(feed.receive(Duration::max()).error() == Error::stopped);
    CHECK(feed.wait_stopped(10s)->clean());
}

TEST_CASE(
    "destructor: stops, also while an exception passes, and not at all on the loop's own thread")
{
    MockPeer peer;
    CHECK_THROWS_AS(([&] {
                        Feed feed{{.peer = peer}, quiet()};
                        feed.start(1s).value();
                        throw std::runtime_error{"passing"};
                    }()),
                    std::runtime_error);
    CHECK(peer.was_closed());

    const auto orphans = orphan_count();
    auto feed = std::make_unique<Feed>(Mock::Options{.peer = peer}, quiet());
    REQUIRE(feed->start(1s));
    std::latch unused{1}, gone{1};
    auto* raw = feed.release();
    REQUIRE(raw->spawn("last user", [&, raw](Context) -> Task<> {
        unused.wait(); // spawn() itself must be over
        delete raw;
        gone.count_down();
        co_return;
    }));
    unused.count_down();
    gone.wait();
    for (const auto give_up = Clock::now() + 10s;
         orphan_count() != orphans && Clock::now() < give_up;)
        std::this_thread::yield();
    CHECK(orphan_count() == orphans);
}

TEST_CASE("fork: in the child every call says so, and the destructor touches nothing")
{
    MockPeer peer;
    auto feed = std::make_unique<Feed>(Mock::Options{.peer = peer}, quiet());
    REQUIRE(feed->start(1s));
    MockPeer second;
    auto link = feed->open({.peer = second}, 1s).value();
    const auto child = ::fork();
    if (child == 0) {
        const bool refused =
            feed->receive(1s).error() == Error::forked && feed->send("x").error() == Error::forked
            && feed->start(1s).error() == Error::forked && link.send("x").error() == Error::forked
            && link.flush(1s).error() == Error::forked && !link.is_up() && !feed->stop().joined
            && feed->poll([](const MessageView&) {}).error() == Error::forked;
        feed->request_stop();
        feed.reset();
        ::_exit(refused ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    peer.deliver("the parent goes on");
    CHECK(feed->receive(1s)->text() == "the parent goes on");
    CHECK(feed->stop().clean());
}
