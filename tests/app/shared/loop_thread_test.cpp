// Several sidecars on one thread: what they share, and what each has for itself.
#include "shared_fixture.hpp"
#include "support/orphans.hpp"
#include "support/task_report.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <optional>
#include <sys/wait.h>
#include <unistd.h>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

/// Spawns a coroutine that sleeps until it is cancelled.
void spawn_sleeper(Feed& feed, const char* name)
{
    REQUIRE(feed.spawn(name, [](Context ctx) -> Task<> { co_await ctx.sleep_for(1h); }));
}

} // namespace

TEST_CASE("loop thread: sidecars that share it run on one thread, and without it on two")
{
    const LoopThread loop;
    CHECK(loop.sidecars() == 0);
    Fixture a{on(loop)}, b{on(loop)}, c;
    for (auto* each : {&a, &b, &c})
        REQUIRE(each->feed.start(1s));
    CHECK(loop.sidecars() == 2);
    CHECK(thread_of(a.feed) == thread_of(b.feed));
    CHECK(thread_of(a.feed) != thread_of(c.feed));
    CHECK_FALSE(loop.is_current());
    CHECK(a.feed.call("is it", [loop](Context) -> Task<bool> { co_return loop.is_current(); })
              .value());
    CHECK_FALSE(c.feed.call("is it", [loop](Context) -> Task<bool> { co_return loop.is_current(); })
                    .value());
}

TEST_CASE("loop thread: each sidecar stops on its own, with its own report; the others go on")
{
    const LoopThread loop;
    Fixture a{on(loop)}, b{on(loop)};
    REQUIRE(a.feed.start(1s));
    REQUIRE(b.feed.start(1s));
    spawn_sleeper(a.feed, "a's sleeper");
    spawn_sleeper(b.feed, "b's sleeper");
    REQUIRE(b.feed.send("before"));
    const auto report = a.feed.stop();
    CAPTURE(to_string(report));
    CHECK(report.clean());
    CHECK(report.joined);
    CHECK(report.is_thread_shared);
    CHECK(report.join.verdict == Verdict::ok);
    CHECK(names_task(report.cancelled, "a's sleeper"));
    CHECK_FALSE(names_task(report.cancelled, "b's sleeper"));
    CHECK(a.feed.state() == State::stopped);
    CHECK(a.feed.send("late").error() == Error::stopped);
    CHECK(loop.sidecars() == 1);

    b.peer.deliver("still here");
    CHECK(text(b.feed.receive(1s)) == "still here");
    CHECK(b.feed.dump().find("b's sleeper") != std::string::npos);
    const auto other = b.feed.stop();
    CHECK(other.clean());
    CHECK(names_task(other.cancelled, "b's sleeper"));
    CHECK_FALSE(names_task(other.cancelled, "a's sleeper"));
    CHECK(b.peer.sent().size() == 1);
}

TEST_CASE("loop thread: a job that starts again and again, and other sidecars, reuse the thread")
{
    const LoopThread loop;
    std::optional<std::thread::id> thread;
    Fixture again{on(loop)};
    for (int i = 0; i < 20; ++i) {
        REQUIRE(again.feed.start(1s));
        Fixture once{on(loop)};
        REQUIRE(once.feed.start(1s));
        for (auto* feed : {&again.feed, &once.feed}) {
            const auto id = thread_of(*feed);
            CHECK(thread.value_or(id) == id);
            thread = id;
        }
        CHECK(again.feed.stop().clean());
    }
    CHECK(loop.sidecars() == 0);
}

TEST_CASE("loop thread: it ends with the last handle, a sidecar's among them, and not before")
{
    const auto before = threads_of_process();
    {
        std::optional<Fixture> a;
        {
            const LoopThread loop;
            CHECK(threads_of_process() == before);
            a.emplace(on(loop));
            REQUIRE(a->feed.start(1s));
        }
        CHECK(threads_of_process() == before + 1);
        CHECK(a->feed.stop().clean());
        CHECK(threads_of_process() == before + 1);
        REQUIRE(a->feed.start(1s));
        CHECK(a->feed.stop().clean());
    }
    CHECK(threads_of_process() == before);
}

TEST_CASE("loop thread: handles are compared by what they stand for, and a copy is the same")
{
    LoopThread a, b;
    CHECK_FALSE(a == b);
    const LoopThread copy = a;
    const LoopThread moved = std::move(a);
    CHECK(copy == moved);
    CHECK(a.sidecars() == 0); // what was moved from is a handle still
    b = copy;
    CHECK(b == copy);
}

TEST_CASE("loop thread: real and virtual time do not mix on it")
{
    const LoopThread loop;
    Fixture on_virtual{on(loop)};
    Sidecar<LeastTransport> on_real{{}, on(loop)};
    REQUIRE(on_virtual.feed.start(1s));
    const auto refused = on_real.start(1s);
    CHECK(refused.error() == Error::bad_options);
    CHECK(refused.error().message().find("clock") != std::string::npos);
    CHECK(on_real.state() == State::idle);
    CHECK(on_virtual.feed.stop().clean());
    CHECK(on_real.start(1s).error() == Error::bad_options); // the first start has decided
    REQUIRE(on_virtual.feed.start(1s));
    CHECK(loop.sidecars() == 1);
}

TEST_CASE(
    "loop thread: waiting calls from the thread are misuse, whichever of its sidecars is meant")
{
    const LoopThread loop;
    Fixture a{on(loop)}, b{on(loop)}, never_started{on(loop)};
    REQUIRE(a.feed.start(1s));
    REQUIRE(b.feed.start(1s));
    a.peer.deliver("waits there");
    const auto done = b.feed.call("misuse", [&](Context) -> Task<int> {
        int refused = 0;
        refused += a.feed.receive(Duration::max()).error() == Error::misuse;
        refused += a.feed.flush(Duration::max()).error() == Error::misuse;
        refused += a.feed.wait_stopped(Duration::max()).error() == Error::misuse;
        refused += never_started.feed.start(Duration::max()).error() == Error::misuse;
        refused += a.feed.start(Duration::max()).error() == Error::misuse;
        auto call = a.feed.call("nested", [](Context) -> Task<> { co_return; });
        refused += call.error() == Error::misuse;
        co_return refused;
    });
    CHECK(done.value() == 6);
    CHECK(text(a.feed.receive(1s)) == "waits there");
    REQUIRE(b.feed.spawn("stops the other", [&](Context) -> Task<> {
        const auto report = a.feed.stop(); // requests it, and says so
        if (report.join.verdict != Verdict::not_waited)
            throw std::runtime_error{"it waited"};
        co_return;
    }));
    CHECK(a.feed.wait_stopped(10s).value().clean());
    CHECK(b.feed.stop().first_error == std::nullopt);
}

TEST_CASE("loop thread: a sidecar that is destroyed on it ends there, and the others go on")
{
    const auto orphans = orphan_count();
    const LoopThread loop;
    Fixture a{on(loop)};
    REQUIRE(a.feed.start(1s));
    MockPeer peer;
    auto doomed = std::make_shared<std::optional<Sidecar<Mock>>>(
        std::in_place, Mock::Options{.peer = peer}, on(loop));
    REQUIRE((*doomed)->start(1s));
    spawn_sleeper(**doomed, "sleeper");
    REQUIRE(a.feed.call("destroy", [doomed](Context) -> Task<> {
        doomed->reset();
        co_return;
    }));
    while (loop.sidecars() != 1)
        std::this_thread::yield();
    CHECK(peer.was_closed());
    a.peer.deliver("goes on");
    CHECK(text(a.feed.receive(1s)) == "goes on");
    const auto id = thread_of(a.feed);
    Fixture later{on(loop)};
    REQUIRE(later.feed.start(1s));
    CHECK(thread_of(later.feed) == id); // it was not left alone
    CHECK(orphan_count() == orphans);
}

TEST_CASE("loop thread: the last handle may go on the thread itself, which then finishes alone")
{
    const auto orphans = orphan_count();
    auto doomed =
        std::make_unique<Sidecar<LeastTransport>>(LeastTransport::Options{}, on(LoopThread{}));
    REQUIRE(doomed->start(1s));
    auto& feed = *doomed;
    struct Latches {
        std::latch spawned{1}, gone{1};
    };
    const auto latches = std::make_shared<Latches>();
    REQUIRE(feed.spawn(
        "destroy",
        [latches, d = std::make_shared<decltype(doomed)>(std::move(doomed))](Context) -> Task<> {
            latches->spawned.wait(); // no call is under way when it goes
            d->reset();
            latches->gone.count_down();
            co_return;
        }));
    latches->spawned.count_down();
    latches->gone.wait();
    CHECK(wait_for_orphans(orphans));
}

TEST_CASE(
    "loop thread: what a stopped sidecar left in the loop behind the library's back never runs")
{
    const LoopThread loop;
    Sidecar<LeastTransport> a{{}, on(loop)}, b{{}, on(loop)};
    REQUIRE(a.start(1s));
    REQUIRE(b.start(1s));
    auto ran = std::make_shared<std::atomic<bool>>(false);
    REQUIRE(a.call("behind the back", [ran](Context ctx) -> Task<> {
        auto timer = std::make_shared<boost::asio::steady_timer>(ctx.executor(), 50ms);
        timer->async_wait([timer, ran](error_code) { *ran = true; });
        co_return;
    }));
    CHECK(ran.use_count() > 1);
    CHECK(a.stop().clean());
    const std::weak_ptr<std::atomic<bool>> left = ran;
    CHECK_FALSE(*ran);
    ran.reset();
    while (!left.expired()) // when its time comes it is freed, and not run
        std::this_thread::yield();
    CHECK(b.stop().clean());
}

TEST_CASE("loop thread: what handlers throw, and how long they take, is told of their own sidecar")
{
    const LoopThread loop;
    Sidecar<LeastTransport> a{{}, on(loop)}, b{{}, on(loop)};
    REQUIRE(a.start(1s));
    REQUIRE(b.start(1s));
    REQUIRE(a.spawn("throws", [](Context ctx) -> Task<> {
        boost::asio::post(ctx.executor(), [] { throw std::runtime_error{"from a handler"}; });
        co_return;
    }));
    REQUIRE(a.call("is slow", [](Context) -> Task<> {
        const auto until = std::chrono::steady_clock::now() + 100ms;
        while (std::chrono::steady_clock::now() < until) {
        }
        co_return;
    }));
    REQUIRE(b.call("is quick", [](Context) -> Task<> { co_return; }));
    CHECK(a.errors().size() == 1);
    CHECK(a.errors().front() == Error::callback_failed);
    CHECK(b.errors().empty());
    CHECK(a.stats().longest_busy >= 100ms);
    CHECK(a.stats().longest_busy_task == "is slow");
    CHECK(b.stats().longest_busy_task != "is slow");
    CHECK(a.stop().joined);
    CHECK(a.stats().longest_busy_task == "is slow"); // also once it has left
    Sidecar<LeastTransport> next{{}, on(loop)};      // in the place of the first
    REQUIRE(next.start(1s));
    CHECK(next.stats().longest_busy_task != "is slow");
    CHECK(next.errors().empty());
}

TEST_CASE("loop thread: one that never has to wait leaves the others their turns")
{
    const LoopThread loop;
    Sidecar<Firehose> flood{{}, on(loop)};
    Sidecar<LeastTransport> other{{}, on(loop)};
    REQUIRE(flood.start(1s));
    REQUIRE(other.start(1s));
    std::atomic<bool> is_over{false};
    std::thread consumer{[&] {
        while (!is_over)
            (void)flood.poll([](const MessageView&) {});
    }};
    for (int i = 0; i < 100; ++i)
        CHECK(other
                  .call(
                      "a turn", [](Context) -> Task<int> { co_return 1; }, 10s)
                  .has_value());
    CHECK(other.stop().clean());
    const auto received = flood.stats().messages_received;
    while (flood.stats().messages_received == received)
        std::this_thread::yield();
    is_over = true;
    consumer.join();
    CHECK(flood.stop().joined);
    CHECK(received > 0);
}

TEST_CASE("loop thread: spinning ends with the sidecar that asked for it")
{
    const LoopThread loop;
    Options spins = on(loop);
    spins.spin = 50us;
    Sidecar<LeastTransport> a{{}, spins}, b{{}, on(loop)};
    REQUIRE(a.start(1s));
    REQUIRE(b.start(1s));
    for (auto* feed : {&a, &b})
        CHECK(feed->call("a call", [](Context) -> Task<int> { co_return 1; }).value() == 1);
    CHECK(a.stop().clean());
    CHECK(b.call("a call", [](Context) -> Task<int> { co_return 1; }).value() == 1);
    CHECK(b.stop().clean());
}

TEST_CASE("loop thread: in a forked child it is the parent's")
{
    const LoopThread loop;
    Fixture running{on(loop)};
    REQUIRE(running.feed.start(1s));
    auto handle = std::make_unique<LoopThread>();
    {
        Fixture f{on(*handle)};
        REQUIRE(f.feed.start(1s));
    }
    const auto child = ::fork();
    if (child == 0) {
        bool is_good = running.feed.receive(1s).error() == Error::forked;
        {
            Fixture in_child{on(loop)};
            is_good &= in_child.feed.start(1s).error() == Error::forked;
        }
        handle.reset(); // the last one; nobody's thread is waited for
        ::_exit(is_good ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(running.feed.stop().clean());
}
