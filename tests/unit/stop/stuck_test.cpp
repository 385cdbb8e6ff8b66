// What does not end: code that holds the loop's thread, and what heeds no cancellation.
#include "support/minimal_transport.hpp"
#include "support/orphans.hpp"
#include "support/run_until_idle.hpp"
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"
#include "support/task_report.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace stuck_test {

using namespace sidecar;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

TEST_CASE(
    "stop: code that holds the loop's thread does not make it late; the thread finishes alone")
{
    MockPeer peer;
    std::latch entered{1}, release{1};
    const auto orphans = orphan_count();
    constexpr auto total = 200ms;
    {
        // On virtual time too the total passes in real time.
        Sidecar<Mock> feed{{.peer = peer}, silent_options({.total = total})};
        REQUIRE(feed.start(1s));
        REQUIRE(feed.spawn("stuck", [&](Context) -> Task<> {
            entered.count_down();
            release.wait();
            co_return;
        }));
        entered.wait();
        const auto began = Clock::now();
        const auto report = feed.stop();
        CHECK(Clock::now() - began < total + promptly);
        CHECK_FALSE(report.joined);
        CHECK_FALSE(report.clean());
        CHECK(report.join.verdict == Verdict::timed_out);
        CHECK(mentions(report.stuck, "stuck", "running"));
        CHECK(orphan_count() == orphans + 1);
        CHECK(feed.receive(1s).error() == Error::stopped);
        CHECK(feed.send("x").error() == Error::stopped);
    }
    release.count_down();
    CHECK(wait_for_orphans(orphans));
}

TEST_CASE("stop: what a thread left alone does later reaches no hook of the application any more")
{
    std::latch entered{1}, release{1};
    const auto orphans = orphan_count();
    auto lines = std::make_unique<std::atomic<int>>(0);
    Options options{.stop = {.total = 10ms}};
    options.log = [counter = lines.get()](LogLevel, std::string_view) { ++*counter; };
    {
        Sidecar<Mock> feed{{}, options};
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
        CHECK(*lines == 0); // stop() keeps a bound, so it calls no hook
    }
    lines.reset(); // a hook called now would be found by the sanitizer
    release.count_down();
    CHECK(wait_for_orphans(orphans));
}

TEST_CASE("stop: a coroutine that pays no heed to its cancellation is reported as stuck, with what "
          "it waits for")
{
    const auto orphans = orphan_count();
    int ends[2] = {};
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    {
        Sidecar<Mock> feed{{}, silent_options()};
        REQUIRE(feed.start(1s));
        REQUIRE(feed.spawn("ignorant", [from = ends[0]](Context ctx) -> Task<> {
            co_await boost::asio::this_coro::reset_cancellation_state(
                boost::asio::disable_cancellation());
            ctx.waiting_for("better times");
            // On a descriptor: the mock's time stands still once nobody waits for it
            boost::asio::posix::stream_descriptor pipe{ctx.executor(), from};
            co_await pipe.async_wait(pipe.wait_read, boost::asio::use_awaitable);
        }));
        run_until_idle(feed);
        const auto report = feed.stop();
        CHECK_FALSE(report.joined);
        CHECK(report.cancel.verdict == Verdict::timed_out);
        CHECK(report.join.verdict == Verdict::timed_out);
        CHECK(mentions(report.stuck, "ignorant", "better times"));
    }
    ::close(ends[1]); // ends the coroutine, which closes the other end
    CHECK(wait_for_orphans(orphans));
}

TEST_CASE("watchdog: the longest time that the loop's thread was held in one go, and by whom")
{
    Sidecar<MinimalTransport> feed{{}, silent_options()}; // on virtual time a handler takes none
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
        Sidecar<Mock> feed{{.peer = peer}, silent_options()};
        REQUIRE(feed.start(1s));
        peer.delay_close(Duration::max());
        peer.ignore_abort();
        const auto report = feed.stop();
        CHECK_FALSE(report.joined);
        CHECK(report.cancel.verdict == Verdict::timed_out);
        CHECK(mentions(report.stuck, "link 0 listener", "messages"));
    }
    peer.release_abort();
    CHECK(wait_for_orphans(orphans));
}

std::latch linger_on{1}, lingered{1}; // static: the thread is left to itself
struct Lingering {
    ~Lingering()
    {
        linger_on.wait();
        lingered.count_down();
    }
};

TEST_CASE("stop: a thread_local whose destructor blocks does not make the join pass the total")
{
    Sidecar<MinimalTransport> feed{{}, silent_options({.total = 200ms})};
    REQUIRE(feed.start(1s));
    REQUIRE(feed.call("a call", [](Context) -> Task<> {
        thread_local const Lingering lingering;
        (void)&lingering;
        co_return;
    }));
    const auto began = Clock::now();
    const auto report = feed.stop();
    CHECK(Clock::now() - began < 200ms + promptly);
    CHECK_FALSE(report.joined);
    CHECK(report.join.verdict == Verdict::timed_out);
    linger_on.count_down();
    lingered.wait();
}

TEST_CASE("stop: a log hook that sleeps makes it no later, and runs on no thread that stops")
{
    std::latch entered{1}, release{1};
    const auto orphans = orphan_count();
    std::mutex mutex;
    std::vector<std::thread::id> threads;
    Options options{.stop = {.total = 200ms}};
    options.log = [&](LogLevel, std::string_view) {
        {
            std::lock_guard lock{mutex};
            threads.push_back(std::this_thread::get_id());
        }
        entered.count_down();
        release.wait();
    };
    {
        Sidecar<Mock> feed{{}, options};
        REQUIRE(feed.start(1s));
        REQUIRE(feed.spawn("fails", [](Context) -> Task<> {
            throw std::runtime_error{"as it should"};
            co_return;
        }));
        entered.wait();
        const auto began = Clock::now();
        const auto report = feed.stop();
        CHECK(Clock::now() - began < 200ms + promptly);
        CHECK_FALSE(report.joined);
        CHECK(report.total >= 200ms);
    }
    {
        std::lock_guard lock{mutex};
        CHECK(threads.size() == 1);
        CHECK(threads.front() != std::this_thread::get_id());
    }
    release.count_down();
    CHECK(wait_for_orphans(orphans));
}

std::latch stay_on{1}, stayed{1}; // static, as above
struct Staying {
    ~Staying()
    {
        stay_on.wait();
        stayed.count_down();
    }
};

TEST_CASE(
    "wait_stopped: keeps its timeout while another thread joins one that a thread_local holds")
{
    Sidecar<MinimalTransport> feed{{}, silent_options({.total = 600ms})};
    REQUIRE(feed.start(1s));
    REQUIRE(feed.call("a call", [](Context) -> Task<> {
        thread_local const Staying staying;
        (void)&staying;
        co_return;
    }));
    std::latch stopping{1};
    std::thread stopper{[&] {
        stopping.count_down();
        CHECK_FALSE(feed.stop().joined);
    }};
    stopping.wait();
    feed.request_stop();
    for (int i = 0; i < 5; ++i) {
        const auto began = Clock::now();
        CHECK(feed.wait_stopped(10ms).error() == Error::timed_out);
        CHECK(Clock::now() - began < 10ms + promptly);
    }
    stopper.join();
    CHECK_FALSE(feed.wait_stopped(0s)->joined); // the same report
    stay_on.count_down();
    stayed.wait();
}

} // namespace stuck_test
