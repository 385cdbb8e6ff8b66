// What arrives: receive(), poll(), next_event() and the descriptor that tells of it.
#include "support/fixture.hpp"
#include "support/minimal_transport.hpp"
#include "support/readable.hpp"
#include "support/silent_options.hpp"

#include <sidecar/json.hpp>
#include <sidecar/prometheus.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <latch>
#include <thread>

namespace receive_test {

using namespace sidecar;
using namespace std::chrono_literals;

TEST_CASE("receive: waits on the transport's clock; zero polls")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.receive(0s).error() == Error::timed_out);
    f.peer.deliver_after(3600s, "an hour later");
    CHECK(f.feed.receive(3599s).error() == Error::timed_out);
    CHECK(text(f.feed.receive(2s)) == "an hour later");
}

TEST_CASE("receive: before a start it says so; on the loop's own thread it is misuse")
{
    Fixture f;
    CHECK(f.feed.receive(1s).error() == Error::not_started);
    REQUIRE(f.feed.start(1s));
    const auto inside = f.feed.call("a call", [&](Context) -> Task<Error> {
        const auto result = f.feed.receive(1s);
        co_return result.error() == Error::misuse ? Error::misuse : Error::cancelled;
    });
    CHECK(inside.value() == Error::misuse);
}

TEST_CASE("receive: large messages arrive whole, and text and bytes keep their kind")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    const std::string large(900'000, 'L');
    f.peer.deliver(large);
    f.peer.deliver(std::as_bytes(std::span{"ab", 2}));
    const auto first = f.feed.receive(1s);
    CHECK(text(first) == large);
    CHECK(first->kind() == MessageKind::text);
    CHECK(f.feed.receive(1s)->kind() == MessageKind::binary);
}

TEST_CASE("receive: a failed read is seen after what was queued before it, and again when nothing "
          "is left")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    f.peer.deliver("before");
    f.peer.fail_read(boost::asio::error::connection_reset);
    CHECK(text(f.feed.receive(1s)) == "before");
    const auto failed = f.feed.receive(1s);
    CHECK(failed.error() == Error::disconnected);
    CHECK(failed.error().cause() == boost::asio::error::connection_reset);
    CHECK(f.feed.receive(1s).error() == Error::disconnected);
    CHECK(f.feed.state() == State::disconnected);
    CHECK(f.feed.send("x").error() == Error::not_connected);
    CHECK(f.feed.errors().entries.size() == 1);
    CHECK(f.feed.stop().first_error.value() == Error::disconnected);
}

TEST_CASE("receive: the peer's close code and reason are in the failure")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    f.peer.close(4001, "enough");
    const auto closed = f.feed.receive(1s);
    CHECK(closed.error() == Error::closed_by_peer);
    CHECK(closed.error().close_code() == 4001);
    CHECK(closed.error().close_reason() == "enough");
}

TEST_CASE("receive: a message above the limit ends the link and names both sizes")
{
    Fixture f{{}, 100};
    REQUIRE(f.feed.start(1s));
    f.peer.deliver(std::string(101, 'x'));
    const auto failed = f.feed.receive(1s);
    CHECK(failed.error() == Error::too_big);
    CHECK(failed.error().message().find("101 bytes; the option max_message_bytes is 100")
          != std::string::npos);
}

TEST_CASE("poll: hands over what is there, at most the limit, and then what the link failed with")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    for (int i = 0; i < 5; ++i)
        f.peer.deliver(std::to_string(i));
    f.peer.drop();
    REQUIRE(f.feed.call("a call", [](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    std::string seen;
    const auto add = [&](const MessageView& message) { seen += message.text(); };
    CHECK(f.feed.poll(add, 2).value() == 2);
    CHECK(f.feed.poll(add, 0).value() == 0);
    CHECK(f.feed.poll(add).value() == 3);
    CHECK(seen == "01234");
    CHECK(f.feed.poll(add).error() == Error::disconnected);
}

TEST_CASE("poll: what the handler throws passes through, its message counted as taken; receiving "
          "inside is misuse")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    f.peer.deliver("a");
    f.peer.deliver("b");
    REQUIRE(f.feed.call("a call", [](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    CHECK_THROWS_AS((void)f.feed.poll([](const MessageView&) { throw std::runtime_error{"no"}; }),
                    std::runtime_error);
    Error inside{};
    CHECK(f.feed
              .poll([&](const MessageView& message) {
                  CHECK(message.text() == "b");
                  if (f.feed.receive(1s).error() == Error::misuse)
                      inside = Error::misuse;
              })
              .value()
          == 1);
    CHECK(inside == Error::misuse);
}

TEST_CASE("next_event: gives up, messages, down and stopped in their order")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    f.peer.deliver("a");
    f.peer.close(1000, "bye");
    CHECK(f.feed.next_event(1s)->kind == Event::Kind::up);
    const auto message = f.feed.next_event(1s);
    CHECK(message->kind == Event::Kind::message);
    CHECK(message->message.text() == "a");
    const auto down = f.feed.next_event(1s);
    CHECK(down->kind == Event::Kind::down);
    CHECK(down->failure.value() == Error::closed_by_peer);
    f.feed.stop();
    CHECK(f.feed.next_event(1s)->kind == Event::Kind::stopped);
    CHECK(f.feed.next_event(1s).error().message()
          == "cannot wait for an event (mock): the sidecar has stopped");
    CHECK(f.feed.flush(1s).error().message() == "cannot flush (mock): the sidecar has stopped");
    CHECK(f.feed.receive(1s).error() == Error::stopped);
}

TEST_CASE(
    "native_handle: readable exactly while something is there to be received, the end included")
{
    Fixture f;
    const int fd = f.feed.native_handle().value();
    CHECK_FALSE(is_readable(fd));
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.next_event(1s)->kind == Event::Kind::up);
    CHECK(f.feed.receive(0s).error() == Error::timed_out);
    CHECK_FALSE(is_readable(fd));
    f.peer.deliver("a");
    f.peer.deliver("b");
    REQUIRE(f.feed.call("a call", [](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    CHECK(is_readable(fd));
    CHECK(text(f.feed.receive(0s)) == "a");
    CHECK(is_readable(fd));
    CHECK(text(f.feed.receive(0s)) == "b");
    CHECK(f.feed.receive(0s).error() == Error::timed_out);
    CHECK_FALSE(is_readable(fd));
    f.feed.stop();
    CHECK(is_readable(fd));
    CHECK(f.feed.native_handle().value() == fd);
}

TEST_CASE("native_handle: not readable any more once receive() has taken the last message")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
    REQUIRE(feed.start(1s));
    const int fd = feed.native_handle().value();
    peer.deliver("only");
    REQUIRE(feed.receive(1s));
    CHECK_FALSE(is_readable(fd));
}

TEST_CASE("receive: a stop wakes it while another thread is inside a poll() handler")
{
    MockPeer peer;
    Sidecar<Firehose> feed{{}, silent_options()};
    REQUIRE(feed.start(1s));
    std::latch inside{1}, release{1};
    std::thread poller{[&] {
        while (feed.poll(
                       [&](const MessageView&) {
                           inside.count_down();
                           release.wait();
                       },
                       1)
                   .value()
               == 0) {
        }
    }};
    inside.wait();
    std::thread receiver{[&] { CHECK(feed.receive(Duration::max()).error() == Error::stopped); }};
    CHECK(feed.stop().joined);
    receiver.join();
    release.count_down();
    poller.join();
}

TEST_CASE("next_event: nothing follows `stopped`, though the loop has not seen the stop yet")
{
    std::latch entered{1}, release{1};
    Sidecar<MinimalTransport> feed{{}, silent_options()};
    REQUIRE(feed.start(10s));
    CHECK(feed.next_event(10s)->kind == Event::Kind::up);
    const LinkOptions holding{.on_connected = [&](Context, Session& session) -> Task<> {
        entered.count_down();
        release.wait();
        co_await session.pass_on(Message{MessageView{{}, MessageKind::text, {}}}); // it is up, then
    }};
    std::thread opener{[&] { CHECK(feed.open({}, 10s, holding).error() == Error::stopping); }};
    entered.wait();
    feed.request_stop();
    CHECK(feed.next_event(10s)->kind == Event::Kind::stopped);
    opener.join(); // before the link is up
    release.count_down();
    CHECK(feed.wait_stopped(10s).value().joined);
    for (int i = 0; i < 3; ++i)
        CHECK(feed.next_event(0s).error() == Error::stopped);
    // Of the next run `stopped` comes again
    REQUIRE(feed.start(10s));
    CHECK(feed.next_event(10s)->kind == Event::Kind::up);
    feed.request_stop();
    CHECK(feed.next_event(10s)->kind == Event::Kind::stopped);
    CHECK(feed.next_event(10s).error() == Error::stopped);
}

TEST_CASE("stats: what was received is what was taken and what is queued, at every moment")
{
    constexpr int count = 50'000;
    Fixture f;
    REQUIRE(f.feed.start(1s));
    std::atomic<bool> is_done{false};
    bool is_exact = true;
    std::thread watcher{[&] {
        while (!is_done) {
            const auto stats = f.feed.stats();
            is_exact &= stats.messages_received == stats.messages_taken + stats.inbox_messages;
            is_exact &= stats.inbox_messages <= count && stats.inbox_peak_messages <= count;
        }
    }};
    for (int i = 0; i < count; ++i)
        f.peer.deliver("x");
    for (int i = 0; i < count; ++i)
        REQUIRE(f.feed.receive(10s));
    is_done = true;
    watcher.join();
    CHECK(is_exact);
}

TEST_CASE("stats: how old messages were when they were taken, each of them, however they were")
{
    for (const bool has_queue : {false, true}) {
        CAPTURE(has_queue);
        Fixture f{{.overflow = {.max_age = has_queue ? Duration{1h} : Duration{}}}};
        REQUIRE(f.feed.start(1s));
        CHECK(f.feed.stats().message_ages.count == 0);
        for (int i = 0; i < 6; ++i)
            f.peer.deliver("x");
        f.peer.deliver(std::string(100'000, 'y')); // in a block of its own
        REQUIRE(f.feed.call("wait", [](Context ctx) { return ctx.sleep_for(2s); }));
        CHECK(f.feed.poll([](const MessageView&) {}, 3).value() == 3);
        CHECK(f.feed.stats().message_ages.count == 3);
        CHECK(f.feed.receive(0s));
        CHECK(f.feed.next_event(0s)->kind == Event::Kind::message);
        REQUIRE(f.feed.call("wait", [](Context ctx) { return ctx.sleep_for(3s); }));
        CHECK(f.feed.receive(0s));
        CHECK(f.feed.receive(0s)->size() == 100'000);
        const auto stats = f.feed.stats();
        CHECK(stats.message_ages.count == stats.messages_taken);
        CHECK(stats.message_ages.min == 2s);
        CHECK(stats.message_ages.max == 5s);
        CHECK(stats.message_ages.histogram.sum == 5 * 2s + 2 * 5s);
        CHECK(to_prometheus(stats).find("sidecar_message_age_seconds_bucket{le=\"2.5\"} 5\n")
              != std::string::npos);
        CHECK(to_prometheus(stats).find("sidecar_message_age_seconds_count 7\n")
              != std::string::npos);
        CHECK(to_json(stats).find("\"message_ages\":{\"count\":7,") != std::string::npos);
        CHECK(f.feed.link()->stats().message_ages.count == 0);
    }
}

} // namespace receive_test
