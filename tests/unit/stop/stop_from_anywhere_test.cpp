// Who may ask for a stop: several threads, the loop's own, hooks, signal handlers, destructors, forked children.
#include "support/minimal_transport.hpp"
#include "support/orphans.hpp"
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <latch>
#include <memory>
#include <poll.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace stop_from_anywhere_test {

using namespace sidecar;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// A coroutine that holds the loop's thread until it is released.
struct Holder {
    std::latch entered{1}, release{1};
    template <class T>
    void hold(Sidecar<T>& feed)
    {
        REQUIRE(feed.spawn("holder", [this](Context) -> Task<> {
            entered.count_down();
            release.wait();
            co_return;
        }));
        entered.wait();
    }
};

TEST_CASE("stop: several threads get the same report")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
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
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
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
    Sidecar<Mock> feed{{}, {.log = [&](LogLevel, std::string_view) {
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
    Sidecar<Mock> feed{{.peer = peer}, silenced({.outbox = {.bytes = 4096, .messages = 1}})};
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
        CHECK(feed.call("a call",
                        [](Context ctx) -> Task<> { co_await ctx.sleep_for(Duration::max()); })
                  .error()
              == Error::stopping);
    });
    running.wait();
    feed.request_stop();
    for (auto& thread : threads)
        thread.join();
    CHECK(feed.wait_stopped(10s)->joined);
}

TEST_CASE("request_stop: wakes every blocked call while somebody's code holds the loop's thread")
{
    Sidecar<MinimalTransport> feed{{}, silent_options({.total = 300ms})};
    REQUIRE(feed.start(1s));
    Holder holder;
    holder.hold(feed);
    std::latch running{5};
    std::vector<std::thread> threads;
    const auto expect = [&](auto blocked) {
        threads.emplace_back([&, blocked] {
            running.count_down();
            blocked();
        });
    };
    REQUIRE(feed.send("never written"));
    expect([&] { CHECK(feed.receive(Duration::max()).error() == Error::stopped); });
    expect([&] { CHECK(feed.flush(Duration::max()).error() == Error::stopping); });
    expect([&] {
        CHECK(feed.call("a call", [](Context) -> Task<> { co_return; }).error() == Error::stopping);
    });
    expect([&] { CHECK(feed.open({}, Duration::max()).error() == Error::stopping); });
    expect([&] {
        const auto report = feed.wait_stopped(Duration::max());
        CHECK_FALSE(report->joined);
        CHECK(report->stuck.size() >= 1);
    });
    running.wait();
    const int fd = feed.native_handle().value();
    const auto requested = Clock::now();
    feed.request_stop();
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    CHECK(::poll(&entry, 1, 10'000) == 1);
    for (auto& thread : threads)
        thread.join();
    CHECK(Clock::now() - requested < 300ms + promptly);
    const auto orphans = orphan_count();
    holder.release.count_down();
    CHECK(wait_for_orphans(orphans - 1));
}

std::atomic<Feed*> signalled{nullptr};

TEST_CASE("request_stop: may be called in a signal handler")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
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
                        Sidecar<Mock> feed{{.peer = peer}, silent_options()};
                        feed.start(1s).value();
                        throw std::runtime_error{"passing"};
                    }()),
                    std::runtime_error);
    CHECK(peer.was_closed());

    const auto orphans = orphan_count();
    auto feed = std::make_unique<Sidecar<Mock>>(Mock::Options{.peer = peer}, silent_options());
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
    CHECK(wait_for_orphans(orphans));
}

TEST_CASE("fork: in the child every call says so, and the destructor touches nothing")
{
    MockPeer peer;
    auto feed = std::make_unique<Sidecar<Mock>>(Mock::Options{.peer = peer}, silent_options());
    REQUIRE(feed->start(1s));
    MockPeer second;
    auto link = feed->open({.peer = second}, 1s).value();
    const auto child = ::fork();
    if (child == 0) {
        const bool refused =
            feed->receive(1s).error() == Error::forked && feed->send("x").error() == Error::forked
            && feed->start(1s).error() == Error::forked && link.send("x").error() == Error::forked
            && link.flush(1s).error() == Error::forked && !link.is_up() && !feed->stop().joined
            && feed->subscribe("a", "x").error() == Error::forked
            && feed->unsubscribe("a").error() == Error::forked
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

TEST_CASE("stop: is of one run, also where another thread starts the next one meanwhile")
{
    Sidecar<MinimalTransport> feed{{}, silent_options({.total = 300ms})};
    std::atomic<bool> is_over{false};
    std::thread starter{[&] {
        while (!is_over)
            if (!feed.start(10s))
                std::this_thread::yield();
    }};
    for (int i = 0; i < 100; ++i) {
        while (feed.state() != State::connected)
            std::this_thread::yield();
        const auto began = Clock::now();
        const auto report = feed.stop();
        CHECK(Clock::now() - began < 300ms + promptly);
        CHECK(report.joined);
    }
    is_over = true;
    starter.join();
}

TEST_CASE("start: one that fails stops its own run, and not the one that another thread started")
{
    for (int i = 0; i < 50; ++i) {
        std::atomic<int> connections{0};
        auto options = silent_options();
        options.on_connected = [&](Context ctx, Session&) -> Task<> {
            if (connections++ == 0)
                co_await ctx.sleep_for(1h);
        };
        Sidecar<MinimalTransport> feed{{}, options};
        std::thread first{[&] { CHECK(feed.start(10s).error() == Error::stopping); }};
        while (connections == 0)
            std::this_thread::yield();
        CHECK(feed.stop().joined);
        CHECK(feed.start(10s)); // before or after the first has seen its end
        first.join();
        CHECK(feed.state() == State::connected);
        CHECK(feed.send("x"));
    }
}

/// Calls back in the midst of start(), when there is no run yet.
struct Checked : MinimalTransport {
    struct Options {
        std::function<void()> on_check{};
    };
    explicit Checked(const Options&) : MinimalTransport{MinimalTransport::Options{}} {}
    static Result<void> check(const Options& options)
    {
        options.on_check();
        return {};
    }
};

TEST_CASE("request_stop: is not lost when it comes during start(), before there is a thread")
{
    Feed* self = nullptr;
    int checks = 0;
    Sidecar<Checked> feed{{.on_check =
                               [&] {
                                   if (checks++ % 2 == 0)
                                       self->request_stop();
                               }},
                          silent_options()};
    self = &feed;
    for (int i = 0; i < 3; ++i) {
        CHECK(feed.start(10s).error() == Error::stopping);
        CHECK(feed.state() == (i == 0 ? State::idle : State::stopped));
        CHECK(feed.stop().joined);
        REQUIRE(feed.start(10s)); // of a run that is over nothing is left
        CHECK(feed.stop().joined);
    }
}

TEST_CASE("request_stop: a later one of the same run raises no descriptor any more")
{
    Sidecar<MinimalTransport> feed{{}, silent_options()};
    REQUIRE(feed.start(1s));
    const int fd = feed.native_handle().value();
    CHECK(feed.stop().joined);
    feed.request_stop();
    CHECK(feed.start(1s).error() == Error::stopping);
    CHECK(feed.stop().joined);
    REQUIRE(feed.start(1s));
    CHECK(feed.next_event(1s)->kind == Event::Kind::up);
    ::pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    CHECK(::poll(&entry, 1, 0) == 0);
}

} // namespace stop_from_anywhere_test
