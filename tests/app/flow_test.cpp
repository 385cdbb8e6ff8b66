// Full queues: reading pauses, sending waits, and nothing is lost.
#include "support/fixture.hpp"
#include "support/quiet.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <doctest/doctest.h>

#include <thread>
#include <vector>

namespace flow_test {

using namespace sidecar;
using namespace std::chrono_literals;

TEST_CASE("inbox: when it is full reading pauses, nothing is lost, and reading goes on once there "
          "is room")
{
    Fixture f{{.inbox = {.bytes = 4096, .messages = 8}}, 512};
    REQUIRE(f.feed.start(1s));
    for (int i = 0; i < 100; ++i)
        f.peer.deliver(std::to_string(i));
    REQUIRE(f.feed.call("a call", [](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    CHECK(f.feed.stats().inbox_messages == 8);
    CHECK(f.feed.stats().reading_pauses == 1);
    bool in_order = true;
    for (int i = 0; i < 100; ++i)
        in_order &= text(f.feed.receive(1s)) == std::to_string(i);
    CHECK(in_order);
    CHECK(f.feed.stats().inbox_peak_messages == 8);
    CHECK(f.feed.stats().messages_received == 100);
    CHECK(f.feed.stop().clean());
}

TEST_CASE("every link that waits for room in the inbox reads on when there is some")
{
    std::vector<MockPeer> peers(8);
    Sidecar<Mock> feed{{.peer = peers[0], .max_message_bytes = 1024},
                       {.inbox = {.bytes = 8192, .messages = 4}}};
    REQUIRE(feed.start(1s));
    for (std::size_t i = 1; i < peers.size(); ++i)
        REQUIRE(feed.open({.peer = peers[i], .max_message_bytes = 1024}, 1s));
    for (auto& peer : peers)
        for (int i = 0; i < 10; ++i)
            peer.deliver("x");
    // Until nothing more goes in: a receiver that kept up would leave nobody waiting
    REQUIRE(feed.call("a call", [](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    std::vector<int> counts(peers.size());
    for (std::size_t i = 0; i < 10 * peers.size(); ++i)
        ++counts[static_cast<std::size_t>(feed.receive(1s).value().link())];
    CHECK(counts == std::vector<int>(peers.size(), 10));
    CHECK(feed.stats().reading_pauses > 0);
}

TEST_CASE("send: what was sent arrives in order, and a burst takes few writes")
{
    Fixture f;
    CHECK(f.feed.send("x").error() == Error::not_started);
    REQUIRE(f.feed.start(1s));
    f.peer.hold_writes();
    for (int i = 0; i < 1000; ++i)
        REQUIRE(f.feed.send(std::to_string(i)));
    CHECK(f.feed.flush(1s).error() == Error::timed_out);
    f.peer.release_writes();
    REQUIRE(f.feed.flush(1s));
    const auto sent = f.peer.sent();
    REQUIRE(sent.size() == 1000);
    CHECK(sent.front() == "0");
    CHECK(sent.back() == "999");
    CHECK(f.peer.write_count() <= 3);
    CHECK(f.feed.stats().messages_sent == 1000);
}

TEST_CASE("send: a full outbox says full, or waits until there is room or the deadline has come")
{
    Fixture f{{.outbox = {.bytes = 1 << 16, .messages = 4}}};
    REQUIRE(f.feed.start(1s));
    f.peer.hold_writes();
    for (int i = 0; i < 4; ++i)
        REQUIRE(f.feed.send("x"));
    CHECK(f.feed.send("y").error() == Error::full);
    CHECK(f.feed.send("y", 10s).error() == Error::timed_out);
    std::thread releaser{[&] { f.peer.release_writes(); }};
    // Virtual time would not wait for the other thread's turn
    CHECK(f.feed.send("z", Duration::max()));
    releaser.join();
    REQUIRE(f.feed.flush(1s));
    CHECK(f.peer.sent().size() == 5);
    CHECK(f.feed.stats().sends_refused == 2);
}

TEST_CASE("send: a message that no outbox could hold is too big")
{
    Fixture f{{.outbox = {.bytes = 4096, .messages = 10}}};
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.send(std::string(5000, 'x')).error() == Error::too_big);
}

TEST_CASE("send: a failed write ends the link; what was not written is counted exactly")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    f.peer.hold_writes();
    for (int i = 0; i < 10; ++i)
        REQUIRE(f.feed.send("x"));
    f.peer.fail_write(boost::asio::error::broken_pipe, 4);
    f.peer.release_writes();
    CHECK(f.feed.receive(1s).error() == Error::disconnected);
    CHECK(f.peer.sent().size() == 4);
    const auto report = f.feed.stop();
    CHECK(report.unsent_messages == 6);
    CHECK(report.first_error->cause() == boost::asio::error::broken_pipe);
}

TEST_CASE("a link behind a full inbox sleeps until there is room, whatever the messages' size")
{
    for (const std::size_t size : {100u, 1000u, 1024u, 5000u}) {
        MockPeer peer;
        Sidecar<Mock> feed{{.peer = peer, .max_message_bytes = 1u << 16},
                           silenced({.inbox = {.bytes = 1u << 18, .messages = 1u << 17}})};
        REQUIRE(feed.start(1s));
        const auto count = (1u << 19) / size;
        for (std::size_t i = 0; i < count; ++i)
            peer.deliver(std::string(size, 'x'));
        REQUIRE(feed.call(
            "a call", [](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }, 10s));
        CHECK(feed.stats().reading_pauses == 1);
        std::size_t received = 0;
        while (received < count && feed.receive(1s))
            ++received;
        CHECK(feed.stats().messages_taken == count);
        CHECK(feed.stop().clean());
    }
}

} // namespace flow_test
