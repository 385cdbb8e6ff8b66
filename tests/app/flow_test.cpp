// Full queues: reading pauses, sending waits, and nothing is lost.
#include "support/fixture.hpp"
#include "support/footprint.hpp"
#include "support/minimal_transport.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <malloc.h>
#include <optional>
#include <stdexcept>
#include <string>
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
    CHECK(f.feed.send("y", 10s) == Error::full);
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

/// on_connected reads nothing for a second, in which five messages arrive.
Options leaves_five_unread(MockPeer peer)
{
    return {.on_connected = [peer](Context ctx, Session&) mutable -> Task<> {
        for (int i = 0; i < 5; ++i)
            peer.deliver(std::to_string(i));
        co_await ctx.sleep_for(1s);
    }};
}

TEST_CASE("messages that on_connected left unread come as soon as there is room, though the peer "
          "says nothing more")
{
    for (const bool has_own_queue : {false, true}) {
        CAPTURE(has_own_queue);
        MockPeer peer;
        auto options = leaves_five_unread(peer);
        options.inbox = {.bytes = 4096, .messages = 2};
        if (has_own_queue)
            options.overflow = {.queue_messages = 2};
        Sidecar<Mock> feed{{.peer = peer, .max_message_bytes = 512}, silenced(options)};
        REQUIRE(feed.start(10s));
        for (int i = 0; i < 5; ++i)
            CHECK(text(feed.receive(1s)) == std::to_string(i));
        CHECK(feed.receive(1s).error() == Error::timed_out);
        CHECK(feed.stop().clean());
    }
}

TEST_CASE(
    "what throws while messages that on_connected left unread are handed on ends the link, in "
    "order and with that cause")
{
    struct Row {
        Overflow overflow;
        int handed_on;
        Error error;
        std::string_view message;
    };
    const auto key = [](const MessageView& message) -> std::optional<std::string_view> {
        if (message.text() == "3")
            throw std::runtime_error{"no such field"};
        return std::nullopt;
    };
    for (const auto& row : {
             Row{{.policy = OverflowPolicy::fail, .queue_messages = 2},
                 2,
                 Error::overflow,
                 "its overflow policy is to fail then"},
             Row{{.policy = OverflowPolicy::conflate, .key = key},
                 3,
                 Error::callback_failed,
                 "the key function threw: no such field"},
         }) {
        CAPTURE(row.message);
        MockPeer peer;
        auto options = leaves_five_unread(peer);
        options.overflow = row.overflow;
        Sidecar<Mock> feed{{.peer = peer, .max_message_bytes = 512}, silenced(options)};
        (void)feed.start(10s);
        CHECK(feed.next_event(1s)->kind == Event::Kind::up);
        for (int i = 0; i < row.handed_on; ++i)
            CHECK(text(feed.receive(1s)) == std::to_string(i));
        const auto down = feed.next_event(1s);
        REQUIRE(down->kind == Event::Kind::down);
        CHECK(down->failure == row.error);
        CHECK(down->failure->message().find(row.message) != std::string::npos);
        CHECK(feed.state() == State::disconnected);
        CHECK(feed.send("x").error() == Error::not_connected);
        CHECK(feed.stop().clean());
    }
}

TEST_CASE("pass_on: a message that the inbox could never hold is refused, with both sizes")
{
    MockPeer peer;
    bool is_passed_on = false;
    Sidecar<Mock> feed{
        {.peer = peer}, silenced({.on_connected = [&](Context, Session& session) -> Task<> {
            co_await session.pass_on(
                Message{MessageView{{}, MessageKind::binary, std::vector<std::byte>(2u << 20)}});
            is_passed_on = true;
            co_await session.pass_on(
                Message{MessageView{{}, MessageKind::binary, std::vector<std::byte>(5u << 20)}});
        }})};
    const auto started = feed.start(10s);
    CHECK(is_passed_on);
    CHECK(started.error() == Error::too_big);
    CHECK(started.error().message().find(
              "5242880 bytes, the inbox takes at most 2097152: raise inbox.bytes")
          != std::string::npos);
    CHECK(feed.stop().clean());
}

TEST_CASE("pass_on: a wait for a full inbox is named in the timeout and in the dump")
{
    const auto pass_on_many = [](Context, Session& session) -> Task<> {
        for (int i = 0; session.connection() == 2 && i < 100; ++i)
            co_await session.pass_on(
                Message{MessageView{{}, MessageKind::binary, std::vector<std::byte>(100'000)}});
    };
    const auto has = [](const std::string& text, std::string_view part) {
        return text.find(part) != std::string::npos;
    };
    const auto waits = "running on_connected while pass_on() waits for room in the inbox";
    Options options{.inbox = {.bytes = 4u << 20}};
    options.reconnect = Reconnect{};
    options.on_connected = pass_on_many;
    Fixture f{options};
    REQUIRE(f.feed.start(10s));
    f.peer.drop();
    CHECK(f.feed.receive(1s).error() == Error::disconnected);
    REQUIRE(f.feed.call("wait", [](Context ctx) { return ctx.sleep_for(5s); }));
    CHECK(has(f.feed.dump(), waits));
    int messages = 0;
    for (; f.feed.receive(5s); ++messages) {
    }
    CHECK(messages == 100);
    CHECK_FALSE(has(f.feed.dump(), waits));
    CHECK(has(f.feed.dump(), "): open"));
    f.peer.drop(); // and again for connection 3, which passes nothing on
    CHECK(f.feed.receive(1s).error() == Error::disconnected);
    CHECK(f.feed.stop().clean());

    options.on_connected = [](Context, Session& session) -> Task<> {
        for (;;)
            co_await session.pass_on(
                Message{MessageView{{}, MessageKind::binary, std::vector<std::byte>(100'000)}});
    };
    options.on_connected_timeout = 3s;
    Fixture late{options};
    const auto failure = late.feed.start(10s).error();
    CHECK(failure == Error::timed_out);
    CHECK(has(failure.message(), "still "));
    CHECK(has(failure.message(), waits));
}

TEST_CASE("pass_on: waits beside a link's full queue, and goes on when the application has taken a "
          "part")
{
    MockPeer peer;
    Sidecar<Mock> feed{
        {.peer = peer, .max_message_bytes = 512},
        silenced({.on_connected = [](Context, Session& session) -> Task<> {
                      for (int i = 0; i < 6; ++i) {
                          const auto text = std::to_string(i);
                          co_await session.pass_on(Message{
                              MessageView{{}, MessageKind::text, std::as_bytes(std::span{text})}});
                      }
                  },
                  .on_connected_timeout = Duration::max(),
                  .overflow = {.queue_messages = 2}})};
    std::thread starter{[&] { CHECK(feed.start(Duration::max())); }};
    for (int i = 0; i < 6;) // without deadlines, since virtual time waits for no thread's turn
        if (const auto message = feed.receive(1s)) {
            CHECK(text(message) == std::to_string(i));
            ++i;
        }
    starter.join();
    CHECK(feed.stop().clean());
}

TEST_CASE("subscriptions see each message once, also one that is offered again for lack of room")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer, .max_message_bytes = 512},
                       silenced({.inbox = {.bytes = 4096, .messages = 2}})};
    REQUIRE(feed.start(1s));
    std::atomic<int> asked{0};
    const auto is_ok = [&](const MessageView& message) {
        asked += message.text() == "ok";
        return message.text() == "ok";
    };
    auto link = feed.link().value();
    REQUIRE(link.subscribe("a", "sub a", is_ok));
    REQUIRE(link.subscribe("b", "sub b", is_ok));
    REQUIRE(feed.call("a call", [](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    for (const auto* message : {"1", "2", "ok", "3", "4", "5"})
        peer.deliver(message);
    REQUIRE(feed.call("a call", [](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    for (const auto* message : {"1", "2", "ok", "3", "4", "5"})
        CHECK(text(feed.receive(1s)) == message);
    CHECK(asked == 1);
    CHECK(link.subscription_counts().pending == 1);
    CHECK(link.subscription_counts().acknowledged == 1);
}

/// A transport whose read waits in the context and does not heed abort().
struct Sleeper : MinimalTransport {
    using MinimalTransport::MinimalTransport;
    Task<> read(Context ctx, Sink&) { return ctx.sleep_for(1h); }
};
struct BrokenSleeper : Sleeper {
    using Sleeper::Sleeper;
    Task<> write(Context, Batch)
    {
        throw std::runtime_error{"the wire is cut"};
        co_return;
    }
};

TEST_CASE("send: a failed write ends the link, also if a read does not heed abort()")
{
    Sidecar<BrokenSleeper> feed{{}, silent_options()};
    REQUIRE(feed.start(5s));
    REQUIRE(feed.send("x"));
    const auto end = feed.receive(1min).error();
    CHECK(end == Error::disconnected);
    CHECK(end.message().find("the wire is cut") != std::string::npos);
    CHECK(feed.stop().clean());
}

TEST_CASE("close: ends a link whose read does not heed abort(), before its time is over")
{
    Sidecar<Sleeper> feed{{}, silent_options()};
    REQUIRE(feed.start(5s));
    const auto began = feed.now();
    CHECK(feed.link()->close(1min));
    CHECK(feed.now() - began < 30s);
}

TEST_CASE("sizes: a large max_message_bytes is one option: every queue takes such a message, and "
          "memory is used only then")
{
    ::mallopt(M_PERTURB, 0); // the test's runner sets it, which would touch all memory at once
    constexpr std::size_t size = 64u << 20;
    const std::string large(size, 'x');
    for (const bool has_own_queue : {false, true}) {
        CAPTURE(has_own_queue);
        Options options;
        if (has_own_queue)
            options.overflow = {.policy = OverflowPolicy::drop_oldest};
        Fixture f{options, size};
        const auto before = Footprint::now();
        REQUIRE(f.feed.start(10s));
        REQUIRE(f.feed.send("small"));
        REQUIRE(f.feed.flush(10s));
        f.peer.deliver("small");
        CHECK(text(f.feed.receive(10s)) == "small");
        if (!is_sanitized)
            CHECK(Footprint::now().resident_kib < before.resident_kib + 4096);
        f.peer.deliver(large);
        CHECK(f.feed.receive(10s)->text() == large);
        CHECK(f.feed.send(large));
        CHECK(f.feed.flush(10s));
        CHECK(f.peer.sent().back() == large);
        CHECK(f.feed.send(large + "x").error() == Error::too_big);
        CHECK(f.feed.stop().clean());
    }
}

TEST_CASE("sizes: the largest limit there can be is accepted, and costs nothing until it is used")
{
    Fixture f{{}, UINT32_MAX};
    REQUIRE(f.feed.start(10s));
    f.peer.deliver("small");
    CHECK(text(f.feed.receive(10s)) == "small");
    CHECK(f.feed.send("small"));
    CHECK(f.feed.flush(10s));
    CHECK(f.feed.stop().clean());
    Fixture g{{}, std::size_t{UINT32_MAX} + 1};
    CHECK(g.feed.start(10s).error().explanation()
          == "inbox: messages of up to 4294967296 bytes; the most there can be is 4294967295");
    Fixture h{{}, SIZE_MAX};
    CHECK(h.feed.start(10s).error() == Error::bad_options);
}

TEST_CASE("sizes: a limit below the default keeps the default bounds; given bounds stay")
{
    Fixture small{{}, 10};
    REQUIRE(small.feed.start(10s));
    const std::string large(2u << 20, 'x'); // max_message_bytes is for received messages
    CHECK(small.feed.send(large));
    CHECK(small.feed.send(large + "x").error() == Error::too_big);
    CHECK(small.feed.stop().joined);

    constexpr std::size_t size = 64u << 20;
    Fixture given{{.inbox = {.messages = 3}, .outbox = {.bytes = 4096}}, size};
    REQUIRE(given.feed.start(10s));
    CHECK(given.feed.send(std::string(5000, 'x')).error() == Error::too_big);
    for (int i = 0; i < 5; ++i)
        given.peer.deliver(std::to_string(i));
    given.feed.call("wait", [](Context ctx) { return ctx.sleep_for(1s); }).value();
    CHECK(given.feed.stats().inbox_messages == 3);
    CHECK(given.feed.stop().joined);
}

TEST_CASE("sizes: a bound that is too small names what to raise, by start and by open")
{
    constexpr std::size_t size = 64u << 20;
    const std::string advice =
        " bytes are too few for messages of up to 67108864 "
        "(max_message_bytes); set Options::inbox.bytes to at least 268435456";
    Fixture explicitly{{.inbox = {.bytes = 8u << 20}}, size};
    CHECK(explicitly.feed.start(10s).error().explanation() == "inbox: 8388608" + advice);
    Fixture f; // its first link has smaller messages
    REQUIRE(f.feed.start(10s));
    CHECK(f.feed.open({.max_message_bytes = size}, 10s).error().explanation()
          == "inbox: 8388608" + advice);
    CHECK(f.feed.open({.max_message_bytes = 2u << 20}, 10s)); // that fits
    CHECK(f.feed.stop().clean());
    Fixture enough{{.inbox = {.bytes = 256u << 20}}};
    REQUIRE(enough.feed.start(10s));
    auto link = enough.feed.open({.max_message_bytes = size}, 10s);
    REQUIRE(link);
    CHECK(link->send(std::string(size, 'x'))); // the outbox of a link grows by its own limit
    CHECK(enough.feed.link()->send(std::string(size, 'x')).error() == Error::too_big);
    CHECK(enough.feed.stop().joined);
    Fixture queue{{.overflow = {.queue_bytes = 1u << 20}}, size};
    CHECK(queue.feed.start(10s).error().explanation().find("overflow: a queue of 1048576 bytes "
                                                           "cannot hold a message of 67108864; set "
                                                           "queue_bytes to at least ")
          == 0);
}

} // namespace flow_test
