// Moving a Sidecar, running or not: everything that belongs to it follows.
#include "support/fixture.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/signals.hpp>
#include <sidecar/transports/mock.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <thread>
#include <type_traits>
#include <unistd.h>
#include <utility>
#include <vector>

using namespace sidecar;
using namespace std::chrono_literals;

namespace move_test {

using Feeds = std::vector<Sidecar<Mock>>;

static_assert(std::is_nothrow_move_constructible_v<Sidecar<Mock>>);
static_assert(std::is_nothrow_move_assignable_v<Sidecar<Mock>>);
static_assert(!std::is_copy_constructible_v<Sidecar<Mock>>);
static_assert(!std::is_move_constructible_v<Feed> && !std::is_move_assignable_v<Feed>);

Sidecar<Mock> idle(const MockPeer& peer) { return Sidecar<Mock>{{.peer = peer}, silent_options()}; }

/// A factory: returns a named object by value, running.
Sidecar<Mock> started(const MockPeer& peer)
{
    auto feed = idle(peer);
    feed.start(1s).value();
    return feed;
}

/// Whether messages pass in both directions.
void check_works(Feed& feed, MockPeer peer)
{
    peer.forget();
    peer.deliver("in");
    CHECK(text(feed.receive(1s)) == "in");
    CHECK(feed.send("out"));
    CHECK(feed.flush(1s));
    CHECK(peer.sent() == std::vector<std::string>{"out"});
}

void check_is_moved_from(Feed& feed)
{
    const auto is_misuse = [](const auto& result) {
        return result.has_error() && result.error() == Error::misuse
               && result.error().message().find("this Sidecar was moved from") != std::string::npos;
    };
    MockPeer peer;
    CHECK(feed.send("x").error().message()
          == "cannot send: the call cannot be made from here: this Sidecar was moved from");
    CHECK(is_misuse(feed.start(1s)));
    CHECK(is_misuse(feed.open<Mock>({.peer = peer}, 1s)));
    CHECK(is_misuse(feed.link()));
    CHECK(is_misuse(feed.send("x", 1s)));
    CHECK(is_misuse(feed.flush(1s)));
    CHECK(is_misuse(feed.receive(1s)));
    CHECK(is_misuse(feed.next_event(1s)));
    CHECK(is_misuse(feed.poll([](const MessageView&) {})));
    CHECK(is_misuse(feed.spawn("a task", [](Context) -> Task<> { co_return; })));
    CHECK(is_misuse(feed.call("a call", [](Context) -> Task<int> { co_return 1; })));
    CHECK(is_misuse(feed.wait_stopped(1s)));
    CHECK(is_misuse(feed.native_handle()));
    CHECK_THROWS_AS((void)stop_on_signals(feed), Exception);
    feed.request_stop();
    CHECK(feed.stop().joined);
    CHECK_FALSE(feed.sleep_for(1h));
    CHECK(feed.now() > TimePoint{});
    CHECK(feed.state() == State::idle);
    CHECK(feed.stats().messages_sent == 0);
    CHECK(feed.errors().entries.empty());
    CHECK(feed.dump() == "moved from");
}

/// Whether a thread sleeps in the system; the threads of the test do so in a call only.
bool is_asleep(::pid_t id)
{
    std::ifstream stat{"/proc/self/task/" + std::to_string(id) + "/stat"};
    std::string text;
    std::getline(stat, text);
    return id != 0 && text.find(") S ") != std::string::npos;
}

// NOLINTBEGIN(bugprone-use-after-move): that is what the tests are about

TEST_CASE("move: a sidecar that was not started starts where it was moved to")
{
    MockPeer peer;
    auto first = idle(peer);
    auto second = std::move(first);
    check_is_moved_from(first);
    REQUIRE(second.start(1s));
    check_works(second, peer);
    CHECK(second.stop().clean());
    auto third = std::move(second); // stopped: its report and its next run follow
    CHECK(third.stop().clean());
    REQUIRE(third.start(1s));
    check_works(third, peer);
}

TEST_CASE("move: a running sidecar continues, its link, descriptor and counters too")
{
    MockPeer peer;
    auto first = started(peer);
    auto link = first.link().value();
    const auto handle = first.native_handle().value();
    check_works(first, peer);
    auto second = std::move(first);
    check_is_moved_from(first);
    check_works(second, peer);
    CHECK(second.stats().messages_received == 2);
    CHECK(second.native_handle().value() == handle);
    CHECK(link.send("by the link"));
    CHECK(second.flush(1s));
    CHECK(peer.sent().back() == "by the link");
    CHECK(peer.connect_count() == 1);
    CHECK(second.stop().clean());
    CHECK(link.send("x").error() == Error::stopped);
}

TEST_CASE("move: vectors, optionals and swaps hold running sidecars")
{
    std::vector<MockPeer> peers(5);
    Feeds feeds;
    for (const auto& peer : peers)
        feeds.push_back(started(peer)); // moves the others each time the vector grows
    for (std::size_t i = 0; i < peers.size(); ++i)
        check_works(feeds[i], peers[i]);
    std::swap(feeds[0], feeds[4]);
    check_works(feeds[0], peers[4]);
    check_works(feeds[4], peers[0]);
    feeds.erase(feeds.begin() + 1); // stops the second, moves those behind it
    CHECK(peers[1].was_closed());
    CHECK_FALSE(peers[2].was_closed());
    check_works(feeds[1], peers[2]);

    std::optional<Sidecar<Mock>> maybe;
    maybe = std::move(feeds[1]);
    check_works(*maybe, peers[2]);
    maybe.reset();
    CHECK(peers[2].was_closed());
}

TEST_CASE("move: assigning to a running sidecar stops it, and to itself does nothing")
{
    MockPeer old_peer, new_peer;
    auto feed = started(old_peer);
    auto old_link = feed.link().value();
    feed = started(new_peer);
    CHECK(old_peer.was_closed());
    CHECK(old_link.send("x").error() == Error::stopped);
    check_works(feed, new_peer);
    auto& same = feed;
    feed = std::move(same);
    check_works(feed, new_peer);
    auto other = std::move(feed);
    feed = idle(old_peer); // one that was moved from can be used again
    REQUIRE(feed.start(1s));
    check_works(feed, old_peer);
    check_works(other, new_peer);
    const auto nothing = std::move(feed);
    feed = std::move(other);
    auto& itself = other;
    other = std::move(itself);
    check_is_moved_from(other);
}

TEST_CASE("move: a signal guard follows, and may outlive the sidecar")
{
    MockPeer peer;
    std::optional feed{started(peer)};
    const auto guard = stop_on_signals(*feed, {SIGUSR1});
    auto second = std::move(*feed);
    *feed = idle(peer); // not guarded
    ::raise(SIGUSR1);
    CHECK(second.receive(10s).error() == Error::stopped);
    CHECK(second.stop().clean());
    CHECK(guard.signal() == SIGUSR1);
    CHECK(feed->state() == State::idle);
    REQUIRE(feed->start(1s));

    const auto short_lived = std::make_unique<Sidecar<Mock>>(idle(peer));
    const auto long_lived = stop_on_signals(*short_lived, {SIGUSR2});
    *short_lived = std::move(second);
    ::raise(SIGUSR2); // of a sidecar that was assigned to: requests nothing
    CHECK(long_lived.signal() == SIGUSR2);
    CHECK(feed->receive(0s).error() == Error::timed_out);
}

TEST_CASE("move: calls that wait in another thread continue, also over an assignment")
{
    MockPeer peer, other;
    auto feed = started(peer);
    std::atomic<int> right{0};
    std::array<std::atomic<::pid_t>, 5> ids{};
    std::vector<std::thread> threads;
    const auto wait = [&](auto call) {
        return std::thread{[&, call, &id = ids[threads.size()]] {
            id = ::gettid();
            right += call();
        }};
    };
    peer.hold_writes();
    REQUIRE(feed.send("held"));
    threads.push_back(wait([&] { return text(feed.receive(Duration::max())) == "the message"; }));
    // How it ends depends on the stage of the stop in which its thread runs again
    threads.push_back(wait([&] { return feed.flush(Duration::max()).has_error(); }));
    threads.push_back(wait([&] { return feed.wait_stopped(Duration::max()).value().joined; }));
    threads.push_back(wait([&] { return !feed.sleep_for(Duration::max()); }));
    threads.push_back(wait([&] {
        const auto forever = [](Context ctx) { return ctx.sleep_until(TimePoint::max()); };
        return feed.call("forever", forever).error() == Error::stopping;
    }));
    while (!std::all_of(ids.begin(), ids.end(), [](const auto& id) { return is_asleep(id); }))
        std::this_thread::yield();
    auto moved = std::move(feed);
    check_is_moved_from(feed);
    peer.deliver("the message");
    threads.front().join();
    moved = started(other); // stops the run in which the others wait
    for (auto& thread : threads)
        if (thread.joinable())
            thread.join();
    CHECK(right == 5);
    check_works(moved, other);
}

TEST_CASE("move: other threads may begin calls meanwhile")
{
    MockPeer peer;
    auto feed = started(peer);
    std::atomic<bool> is_over{false};
    std::atomic<int> count{0};
    std::thread caller{[&] {
        while (!is_over) {
            const auto sent = feed.send("x");
            if (sent.has_error())
                CHECK((sent.error() == Error::misuse || sent.error() == Error::full));
            (void)feed.stats();
            (void)feed.state();
            ++count;
        }
    }};
    auto home = std::move(feed);
    for (int i = 0; i < 1000 || count < 100; ++i) {
        feed = std::move(home); // to one that was moved from
        home = std::move(feed);
    }
    is_over = true;
    caller.join();
    CHECK(home.stop().joined);
}

TEST_CASE("move: a handler of poll() may move its own sidecar")
{
    MockPeer peer;
    auto feed = started(peer);
    std::optional<Sidecar<Mock>> other;
    peer.deliver("one");
    peer.deliver("two");
    REQUIRE(feed.next_event(1s)->kind == Event::Kind::up);
    std::vector<std::string> got;
    const auto handler = [&](const MessageView& message) {
        got.emplace_back(message.text());
        if (!other)
            other = std::move(feed);
    };
    while (got.size() < 2)
        (void)(other ? *other : feed).poll(handler).value();
    check_works(*other, peer);
}

// NOLINTEND(bugprone-use-after-move)

} // namespace move_test
