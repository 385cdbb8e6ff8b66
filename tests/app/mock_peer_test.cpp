// The peer of a Mock: its hooks, its connections and their logs, what it delivers late, and its
// faults.
#include "support/each_second.hpp"
#include "support/fixture.hpp"
#include "support/next_text.hpp"

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace mock_peer_test {

using namespace sidecar;
using namespace std::chrono_literals;
using End = MockConnectionLog::End;
using Texts = std::vector<std::string>;

/// Returns how each connection ended.
Texts ends_of(const MockPeer& peer)
{
    Texts ends;
    for (const auto& log : peer.connections())
        ends.emplace_back(to_string(log.end));
    return ends;
}

void let_pass(Feed& feed, Duration time)
{
    (void)feed.call("wait", [time](Context ctx) { return ctx.sleep_for(time); });
}

// --- hooks

TEST_CASE("mock: on_message answers on the connection of the message, in virtual time")
{
    Fixture f{{.reconnect = each_second()}};
    f.peer.on_message([](MockConnection& connection, const MessageView& message) {
        CHECK(message.connection() == connection.number());
        CHECK(message.arrival().time_since_epoch() < 10s);
        connection.deliver_after(3s, fmt::format("{} to {}", connection.number(), message.text()));
    });
    REQUIRE(f.feed.start(1s));
    REQUIRE(f.feed.send("a"));
    CHECK(text(f.feed.receive(10s)) == "1 to a");
    CHECK(f.feed.now().time_since_epoch() == 3s);
    f.peer.drop();
    CHECK(f.feed.receive(10s).error() == Error::disconnected);
    CHECK(f.feed.receive(2s).error() == Error::timed_out);
    const std::byte bytes[] = {std::byte{'b'}};
    REQUIRE(f.feed.send(std::span{bytes}));
    CHECK(text(f.feed.receive(10s)) == "2 to b");
    const auto logs = f.peer.connections();
    REQUIRE(logs.size() == 2);
    CHECK(logs[0].written.at(0).kind == MessageKind::text);
    CHECK(logs[1].written.at(0).kind == MessageKind::binary);
    f.peer.on_message({});
    REQUIRE(f.feed.send("c"));
    CHECK(f.feed.receive(10s).error() == Error::timed_out);
    CHECK(f.peer.written() == Texts{"1:a", "2:b", "2:c"});
}

TEST_CASE("mock: on_connect refuses by a call or by an exception, and may act on what it accepts")
{
    Fixture f{{.reconnect = each_second({.at_start = true})}};
    f.peer.on_connect([](MockConnection& connection) {
        CHECK_FALSE(connection.peer().connection());
        switch (connection.number()) {
        case 1: return connection.refuse();
        case 2: return connection.refuse({Error::handshake_refused, {.http_status = 503}});
        case 3: throw Exception{Failure{Error::handshake_refused, {.http_status = 429}}};
        case 4: throw boost::system::system_error{boost::asio::error::timed_out};
        case 5: throw std::runtime_error{"no mood"};
        case 6: connection.deliver("lost"); return connection.refuse();
        case 7: connection.deliver("hello"); return connection.drop();
        default: connection.deliver("again");
        }
    });
    REQUIRE(f.feed.start(1h));
    for (int i = 0; i < 6; ++i)
        CHECK(next_text(f.feed).starts_with("retry 0 more"));
    CHECK(next_text(f.feed) == "up 1 first");
    CHECK(next_text(f.feed) == "message 1 hello");
    CHECK(next_text(f.feed) == "down 1 more (the connection broke)");
    CHECK(next_text(f.feed) == "up 2 unknown");
    CHECK(next_text(f.feed) == "message 2 again");
    const auto logs = f.peer.connections();
    REQUIRE(logs.size() == 8);
    for (std::size_t i = 0; i < 6; ++i) {
        CHECK(logs[i].end == End::refused);
        CHECK_FALSE(logs[i].accepted);
        CHECK(logs[i].ended == logs[i].began);
    }
    CHECK(logs[0].failure->cause() == boost::asio::error::connection_refused);
    CHECK(logs[1].failure->http_status() == 503);
    CHECK(logs[2].failure->http_status() == 429);
    CHECK(logs[3].failure->cause() == boost::asio::error::timed_out);
    CHECK(logs[4].failure->explanation() == "no mood");
    CHECK(logs[6].end == End::failed);
    CHECK(logs[7].end == End::open);
    f.peer.connection()->refuse(); // too late
    CHECK(f.feed.receive(1s).error() == Error::timed_out);
}

TEST_CASE("mock: an exception of on_message ends the connection and is its failure")
{
    Fixture f;
    f.peer.on_message([](MockConnection&, const MessageView& message) {
        if (message.text() == "bad")
            throw std::runtime_error{"I do not know it"};
    });
    REQUIRE(f.feed.start(1s));
    REQUIRE(f.feed.send("good"));
    REQUIRE(f.feed.flush(1s));
    REQUIRE(f.feed.send("bad"));
    const auto why = f.feed.receive(1h).error();
    CHECK(why == Error::disconnected);
    CHECK(why.explanation() == "I do not know it");
    CHECK(f.peer.written() == Texts{"1:good", "1:bad"}); // it was written
    CHECK(f.feed.stats().messages_sent == 2);
    CHECK(f.peer.connections().at(0).failure->explanation() == "I do not know it");
}

TEST_CASE("mock: a hook may call everything of its peer, and replace itself")
{
    Fixture f{{.reconnect = each_second()}};
    const auto held = std::make_shared<int>();
    f.peer.on_message([held](MockConnection& connection, const MessageView&) {
        auto peer = connection.peer();
        CHECK(peer.connection()->number() == connection.number());
        CHECK(connection.is_open());
        CHECK(connection.log().written.size() == 1);
        CHECK(peer.connections().size() == 1);
        peer.forget();
        peer.on_connect([](MockConnection& next) { next.deliver("welcome"); });
        peer.on_message({});
        peer.deliver("for the next");
        connection.reset();
        CHECK_FALSE(connection.is_open());
        connection.deliver("too late");
    });
    REQUIRE(f.feed.start(1s));
    REQUIRE(f.feed.send("x"));
    CHECK(next_text(f.feed) == "up 1 first");
    CHECK(next_text(f.feed) == "message 1 for the next"); // it was delivered before the reset
    CHECK(next_text(f.feed) == "down 1 more (the connection broke)");
    CHECK(next_text(f.feed) == "up 2 unknown");
    CHECK(next_text(f.feed) == "message 2 welcome");
    CHECK(held.use_count() == 1);
    CHECK(f.peer.connections().size() == 2); // forget() keeps the one that is up
    CHECK(f.peer.written().empty());
    f.peer.forget();
    REQUIRE(f.peer.connections().size() == 1);
    CHECK(f.peer.connections()[0].number == 2);
}

TEST_CASE("mock: the batch is cut where a hook drops the connection")
{
    Fixture f{{.reconnect = each_second({.on_disconnect = OnDisconnect::keep})}};
    f.peer.on_message([](MockConnection& connection, const MessageView& message) {
        if (message.text() == "b" && connection.number() == 1)
            connection.drop();
    });
    REQUIRE(f.feed.start(1s));
    f.peer.hold_writes();
    for (const auto* each : {"a", "b", "c", "d"})
        REQUIRE(f.feed.send(each));
    f.peer.release_writes();
    let_pass(f.feed, 3s);
    CHECK(f.peer.count("1:b") + f.peer.count("1:a") == 2);
    CHECK(f.peer.count("2:d") == 1);
    CHECK(f.peer.count("1:c") == 0);
    const auto stats = f.feed.stats();
    CHECK(stats.messages_sent == f.peer.sent().size());
    CHECK(stats.messages_accepted == stats.messages_sent + stats.unsent);
}

TEST_CASE("mock: threads set hooks and act on connections while the loop runs")
{
    Fixture f{{.reconnect = Reconnect{.window = 1ms, .max_window = 1ms}}};
    REQUIRE(f.feed.start(1s));
    std::atomic<bool> is_over{false};
    std::atomic<int> answers{0};
    std::vector<std::thread> threads;
    threads.emplace_back([&] {
        while (!is_over) {
            f.peer.on_message([&answers, text = std::string(100, 'x')](MockConnection& connection,
                                                                       const MessageView&) {
                connection.deliver(text);
                ++answers;
            });
            f.peer.on_connect([](MockConnection& connection) { connection.deliver("hello"); });
            f.peer.on_message({});
            f.peer.on_connect({});
        }
    });
    threads.emplace_back([&] {
        while (!is_over) {
            if (auto connection = f.peer.connection()) {
                connection->deliver("from a thread");
                (void)connection->is_open();
                if (connection->log().written.size() % 16 == 15)
                    connection->drop();
            }
            (void)f.peer.written();
        }
    });
    for (int i = 0; i < 300; ++i) {
        (void)f.feed.send("x");
        (void)f.feed.receive(1ms);
        (void)f.feed.poll([](const MessageView&) {});
    }
    is_over = true;
    for (auto& thread : threads)
        thread.join();
    CHECK(f.feed.stop().joined);
    const auto stats = f.feed.stats();
    CHECK(stats.messages_accepted == stats.messages_sent + stats.unsent);
    CHECK(stats.messages_sent == f.peer.sent().size());
}

// --- connections and their logs

TEST_CASE("mock: the log has each connection with its times, and how it ended")
{
    Fixture f{{.reconnect = each_second(), .ping_interval = 10s, .ping_timeout = 5s}};
    f.peer.delay_connect(20ms);
    f.peer.on_message([](MockConnection& connection, const MessageView& message) {
        if (message.text() == "close")
            connection.close(1013, "try again later");
        if (message.text() == "silence")
            connection.go_silent();
    });
    REQUIRE(f.feed.start(1s));
    REQUIRE(f.feed.send("close"));
    let_pass(f.feed, 2s);
    f.peer.fail_write(boost::asio::error::no_buffer_space, 1);
    REQUIRE(f.feed.send("whole"));
    REQUIRE(f.feed.flush(1s));
    REQUIRE(f.feed.send("half"));
    let_pass(f.feed, 2s);
    REQUIRE(f.feed.send("silence"));
    let_pass(f.feed, 20s);
    CHECK(f.feed.stop({.code = 1001, .reason = "bye"}).clean());
    const auto logs = f.peer.connections();
    REQUIRE(logs.size() == 4);
    CHECK(ends_of(f.peer)
          == Texts{"closed by the peer", "failed", "aborted by the sidecar",
                   "closed by the sidecar"});
    CHECK(logs[0].number == 1);
    CHECK(logs[0].began == TimePoint{});
    CHECK(logs[0].accepted == TimePoint{20ms});
    CHECK(logs[0].ended == TimePoint{20ms});
    CHECK(logs[0].close_code == 1013);
    CHECK(logs[0].close_reason == "try again later");
    CHECK(logs[1].failure->cause() == boost::asio::error::no_buffer_space);
    CHECK(logs[2].ended - *logs[2].accepted == 15s);
    CHECK_FALSE(logs[2].failure);
    CHECK(logs[3].close_code == 1001);
    CHECK(logs[3].close_reason == "bye");
    CHECK(logs[3].closing == logs[3].ended);
    CHECK(f.peer.written()
          == Texts{"1:close", "2:whole", "2:half of half", "3:silence", "4:close"});
    CHECK(f.peer.sent() == Texts{"close", "whole", "silence"});
}

TEST_CASE("mock: the log has the token of each attempt")
{
    MockPeer peer;
    const OptionsProvider<Mock> fresh = [&peer](Context, Attempt attempt) -> Task<Mock::Options> {
        Mock::Options options{.peer = peer};
        options.token = fmt::format("t{}", attempt.connection);
        co_return options;
    };
    peer.on_connect([](MockConnection& connection) {
        if (connection.number() == 2)
            connection.refuse({Error::connect_failed, {.explanation = connection.token()}});
    });
    Sidecar<Mock> feed{{.peer = peer}, silenced({.reconnect = each_second()}), fresh};
    REQUIRE(feed.start(1s));
    peer.drop();
    let_pass(feed, 5s);
    const auto logs = peer.connections();
    REQUIRE(logs.size() == 3);
    CHECK(logs[0].token == "t1");
    CHECK(logs[1].failure->explanation() == "t2");
    CHECK(logs[2].token == "t2"); // of the link's second connection
}

TEST_CASE("mock: what is delivered on a connection ends with it, and the peer's messages do not")
{
    Fixture f{{.reconnect = each_second()}};
    REQUIRE(f.feed.start(1s));
    auto first = f.peer.connection().value();
    first.deliver("now");
    first.deliver_after(5s, "late");
    f.peer.deliver_after(5s, "kept");
    f.peer.fail_write(boost::asio::error::broken_pipe);
    REQUIRE(f.feed.send("x"));
    CHECK(text(f.feed.receive(1s)) == "now");
    CHECK(f.feed.receive(1s).error() == Error::disconnected);
    CHECK(f.feed.receive(2s).error() == Error::timed_out);
    CHECK_FALSE(first.is_open());
    CHECK(first.log().failure.has_value());
    first.deliver("too late");
    first.deliver_after(1s, "too late");
    first.drop();
    const auto message = f.feed.receive(1h);
    CHECK(text(message) == "kept");
    CHECK(message->connection() == 2);
    CHECK(f.feed.receive(1h).error() == Error::timed_out);
    CHECK(f.peer.connection()->number() == 2);
}

TEST_CASE("mock: one drop ends one connection, although a write notices it first")
{
    Fixture f{{.inbox = {.bytes = 4096, .messages = 2}, .reconnect = each_second()}, 100};
    REQUIRE(f.feed.start(1s));
    for (const auto* each : {"1", "2", "3"})
        f.peer.deliver(each);
    let_pass(f.feed, 1ms); // the inbox is full, and reading pauses
    f.peer.drop();
    REQUIRE(f.feed.send("x"));
    while (f.feed.next_event(5s)) {
    }
    let_pass(f.feed, 10s);
    CHECK(f.feed.link()->is_up());
    CHECK(f.peer.connect_count() == 2);
    CHECK(f.peer.written().empty());
}

TEST_CASE("mock: writes of one connection are held, and not those of the next")
{
    Fixture f{{.reconnect = each_second()}};
    REQUIRE(f.feed.start(1s));
    auto connection = f.peer.connection().value();
    connection.hold_writes();
    REQUIRE(f.feed.send("a"));
    CHECK(f.feed.flush(1s).error() == Error::timed_out);
    connection.release_writes();
    CHECK(f.feed.flush(1s));
    connection.hold_writes();
    REQUIRE(f.feed.send("b"));
    connection.drop();
    let_pass(f.feed, 3s);
    REQUIRE(f.feed.send("c"));
    CHECK(f.feed.flush(1s));
    connection.hold_writes(); // it is over
    REQUIRE(f.feed.send("d"));
    CHECK(f.feed.flush(1s));
    CHECK(f.peer.written() == Texts{"1:a", "2:c", "2:d"});
}

TEST_CASE("mock: a connection that is silent or ignores the close is cut by the stop")
{
    for (const bool is_silent : {true, false}) {
        Fixture f;
        f.peer.on_connect([is_silent](MockConnection& connection) {
            is_silent ? connection.go_silent() : connection.ignore_close();
            connection.deliver("x");
        });
        REQUIRE(f.feed.start(1s));
        CHECK(f.feed.receive(1s).has_value() == !is_silent);
        CHECK(f.feed.send("y"));
        CHECK(f.feed.flush(1s));
        const auto report = f.feed.stop();
        CHECK(report.joined);
        CHECK_FALSE(report.clean());
        CHECK(ends_of(f.peer) == Texts{"aborted by the sidecar"});
        CHECK(f.peer.written() == Texts{"1:y", "1:close"});
    }
}

TEST_CASE("mock: a function that the sink calls may call the peer")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    REQUIRE(f.feed.link()->subscribe("a", "sub a", [peer = f.peer](const MessageView&) mutable {
        peer.deliver("seen");
        return true;
    }));
    f.peer.deliver("ok");
    CHECK(text(f.feed.receive(1s)) == "ok");
    CHECK(text(f.feed.receive(1s)) == "seen");
}

// --- what is delivered late

TEST_CASE("mock: deliver_after is never lost: before the start, behind a drop, over a restart")
{
    Fixture f{{.reconnect = each_second()}};
    f.peer.deliver_after(3s, "before the start");
    REQUIRE(f.feed.start(1s));
    CHECK(text(f.feed.receive(1h)) == "before the start");
    CHECK(f.feed.now().time_since_epoch() == 3s);

    f.peer.deliver_after(500ms, "while it is down");
    f.peer.deliver_after(5s, "on the next connection");
    f.peer.drop();
    CHECK(f.feed.receive(1h).error() == Error::disconnected);
    CHECK(text(f.feed.receive(1h)) == "while it is down");
    CHECK(f.feed.now().time_since_epoch() == 4s);
    CHECK(text(f.feed.receive(1h)) == "on the next connection");
    CHECK(f.feed.now().time_since_epoch() == 8s);

    f.peer.deliver_after(2s, "in the next run");
    let_pass(f.feed, 500ms);
    CHECK(f.feed.stop().clean());
    f.peer.deliver_after(3s, "and after it");
    REQUIRE(f.feed.start(1s));
    CHECK(text(f.feed.receive(1h)) == "in the next run");
    CHECK(f.feed.now().time_since_epoch() == 1500ms);
    CHECK(text(f.feed.receive(1h)) == "and after it");
    CHECK(f.feed.now().time_since_epoch() == 3s);
}

TEST_CASE("mock: a pong that is late does not reach the next connection")
{
    std::vector<TimePoint> ends;
    for (const Duration delay : {Duration{15s}, Duration::max()}) {
        Fixture f{{.reconnect = each_second(), .ping_interval = 10s, .ping_timeout = 30s}};
        f.peer.delay_pongs(delay);
        REQUIRE(f.feed.start(1s));
        let_pass(f.feed, 11s); // the pong comes at 25 s, or never
        f.peer.drop();
        f.peer.delay_pongs(Duration::max());
        let_pass(f.feed, 100s);
        ends.push_back(f.peer.connections().at(1).ended);
    }
    CHECK(ends[0] == ends[1]);
    CHECK(ends[0].time_since_epoch() == 52s);
}

// --- faults

/// One minute with a peer that has these faults: what it saw, and what the feed counted.
struct FaultyRun {
    explicit FaultyRun(const Faults& faults)
    {
        MockPeer peer;
        peer.on_message([](MockConnection& connection, const MessageView& message) {
            connection.deliver("ok " + std::string{message.text()});
        });
        Sidecar<Mock> feed{{.peer = peer, .faults = faults},
                           silenced({.reconnect = each_second({.at_start = true}),
                                     .ping_interval = 5s,
                                     .ping_timeout = 10s})};
        (void)feed.start(10min);
        REQUIRE(feed.call("sender", [&feed](Context ctx) -> Task<> {
            for (int i = 0; i < 600; ++i) {
                co_await ctx.sleep_for(100ms);
                for (int each = 0; each < 5; ++each)
                    (void)feed.send(fmt::format("{}.{}", i, each));
                (void)feed.poll([](const MessageView&) {});
            }
        }));
        CHECK(feed.stop().joined);
        stats = feed.stats();
        trace = peer.trace();
        sent = peer.sent();
        connects = peer.connect_count();
        for (const auto& each : peer.written())
            trace.push_back(each);
    }
    [[nodiscard]] std::size_t count(std::string_view part) const
    {
        return static_cast<std::size_t>(
            std::count_if(trace.begin(), trace.end(),
                          [&](const auto& line) { return line.find(part) != line.npos; }));
    }

    Stats stats;
    Texts trace, sent;
    std::size_t connects = 0;
};

TEST_CASE("faults: the same seed gives the same trace, another one another, and all is counted")
{
    Faults faults{.seed = 7,
                  .latency = 0.3,
                  .short_read = 0.3,
                  .short_write = 0.3,
                  .pause = 0.02,
                  .reset = 0.01,
                  .refuse = 0.3,
                  .stall = 0.002,
                  .late_pong = 0.2};
    const FaultyRun first{faults};
    CHECK(first.trace == FaultyRun{faults}.trace);
    for (const auto* part : {"late by", "fault: reads", "fault: writes", "fault: reset at",
                             "fault: refused", "fault: stall at"}) {
        CAPTURE(part);
        CHECK(first.count(part) > 0);
    }
    for (faults.seed = 8; faults.seed < 12; ++faults.seed) {
        CAPTURE(faults.seed);
        const FaultyRun other{faults};
        CHECK(other.trace != first.trace);
        CHECK(other.sent.size() > 100);
        CHECK(other.stats.messages_sent == other.sent.size());
        CHECK(other.stats.messages_accepted == other.stats.messages_sent + other.stats.unsent);
    }
}

TEST_CASE("faults: a rate of zero gives none, and each rate its own alone")
{
    struct Row {
        const char* shown;
        double Faults::*rate;
        double value;
    };
    const char* const all[] = {"late by",         "fault: reads",   "fault: writes",
                               "fault: reset at", "fault: refused", "fault: stall at"};
    for (const auto& row :
         {Row{"nothing", &Faults::latency, 0}, Row{"late by", &Faults::latency, 1},
          Row{"fault: reads", &Faults::short_read, 1},
          Row{"fault: writes", &Faults::short_write, 1}, Row{"late by", &Faults::pause, 0.1},
          Row{"fault: reset at", &Faults::reset, 0.02}, Row{"fault: refused", &Faults::refuse, 0.5},
          Row{"fault: stall at", &Faults::stall, 0.01}}) {
        CAPTURE(row.shown);
        Faults faults{.seed = 3};
        faults.*row.rate = row.value;
        const FaultyRun run{faults};
        const bool is_short_write = row.rate == &Faults::short_write;
        for (const auto* part : all)
            if (!is_short_write || std::string_view{part} != "late by")
                CHECK((run.count(part) > 0) == (std::string_view{part} == row.shown));
        const bool breaks = row.rate == &Faults::reset || row.rate == &Faults::stall;
        CHECK((run.stats.connections > 1) == breaks);
        CHECK((run.connects > run.stats.connections) == (row.rate == &Faults::refuse));
        if (!breaks)
            CHECK(run.sent.size() == 3000);
    }
}

TEST_CASE("faults: a late pong ends a link whose patience is shorter")
{
    for (const auto patience : {10s, 60s}) {
        MockPeer peer;
        Sidecar<Mock> feed{{.peer = peer, .faults = {.seed = 1, .late_pong = 1}},
                           silenced({.ping_interval = 1s, .ping_timeout = patience})};
        REQUIRE(feed.start(1s));
        const auto end = feed.receive(300s).error();
        CHECK(end == (patience == 10s ? Error::unresponsive : Error::timed_out));
    }
}

TEST_CASE("faults: rates that make no sense are refused before anything begins")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer, .faults = {.reset = 1.5}}, silent_options()};
    CHECK(feed.start(1s).error() == Error::bad_options);
    CHECK(peer.connect_count() == 0);
}

TEST_CASE("faults: all connects are refused, or reset, or lead to nothing")
{
    const auto start = [](const Faults& faults) {
        Sidecar<Mock> feed{{.faults = faults}, silent_options()};
        const auto started = feed.start(1s);
        (void)feed.send("x");
        if (started)
            return feed.flush(1s).error();
        return started.error();
    };
    CHECK(start({.refuse = 1}).cause() == boost::asio::error::connection_refused);
    CHECK(start({.reset = 1}).cause() == boost::asio::error::connection_reset);
    CHECK(start({.stall = 1}) == Error::timed_out);
}

} // namespace mock_peer_test
