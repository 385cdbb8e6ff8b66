// Topics, headers and acknowledgements: what a message carries beside its payload.
#include "support/fixture.hpp"
#include "support/minimal_transport.hpp"
#include "support/real_mock.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace topics_test {

using namespace sidecar;
using namespace std::chrono_literals;

std::string all_of(const MessageView& message)
{
    std::string text{message.topic()};
    text += "|" + std::string{message.reply_to()} + "|";
    for (const auto& [name, value] : message.headers())
        text += std::string{name} + "=" + std::string{value} + ",";
    return text + "|" + std::string{message.text()};
}

TEST_CASE("a received message shows its topic, reply_to and headers, in each call")
{
    TopicFixture run;
    const Header headers[]{{"Trace", "7"}, {"", ""}, {"trace", "8"}};
    const auto deliver = [&](std::string_view payload) {
        run.peer.deliver(payload, {.topic = "prices.eur", .reply_to = "box.1", .headers = headers});
    };
    // Small ones are in the message, others in a block; the largest have one in the queue too
    for (const std::size_t size : {0, 1, 40, 200, 5000, 100'000}) {
        CAPTURE(size);
        const std::string payload(size, 'x');
        const auto expected = "prices.eur|box.1|Trace=7,=,trace=8,|" + payload;
        deliver(payload);
        auto message = run.feed.receive(1s);
        REQUIRE(message);
        CHECK(all_of(message->view()) == expected);
        CHECK(message->size() == size);
        CHECK(message->topic() == "prices.eur");
        CHECK(message->header("TRACE") == "7");
        CHECK(message->header("none").empty());
        const auto moved = *std::move(message);
        CHECK(all_of(moved.view()) == expected);
        CHECK(message->topic().empty()); // NOLINT: it was moved from, and is empty
        CHECK(message->size() == 0);

        deliver(payload);
        std::vector<std::string> seen;
        const auto see = [&](const MessageView& view) { seen.push_back(all_of(view)); };
        while (seen.empty())
            REQUIRE(run.feed.poll(see));
        CHECK(seen == std::vector{expected});

        deliver(payload);
        auto event = run.feed.next_event(1s);
        while (event && event->kind != Event::Kind::message)
            event = run.feed.next_event(1s);
        REQUIRE(event);
        CHECK(event->topic() == "prices.eur");
        CHECK(all_of(event->message.view()) == expected);
    }
}

TEST_CASE("a message without an envelope has no topic")
{
    TopicFixture run;
    run.peer.deliver("plain");
    const auto message = run.feed.receive(1s);
    REQUIRE(message);
    CHECK(all_of(message->view()) == "|||plain");
    CHECK(message->headers().empty());
}

TEST_CASE("the envelope counts for the limit of a message")
{
    TopicFixture run;
    const std::string topic(1000, 't');
    run.peer.deliver(std::string((1u << 20) - 1100, 'x'), {.topic = topic});
    CHECK(run.feed.receive(1s));
    run.peer.deliver(std::string((1u << 20) - 1000, 'x'), {.topic = topic});
    const auto failed = run.feed.receive(1s);
    REQUIRE_FALSE(failed);
    CHECK(failed.error() == Error::too_big);
}

TEST_CASE("a send carries its topic, reply_to and headers to the transport")
{
    TopicFixture run;
    const Header headers[]{{"Id", "1"}};
    for (const auto priority : {Priority::normal, Priority::high})
        for (const std::size_t size : {3, 3000, 100'000}) {
            CAPTURE(size);
            REQUIRE(run.feed.send(std::string(size, 'x'), {.timeout = 1s,
                                                           .priority = priority,
                                                           .topic = "orders.new",
                                                           .reply_to = "box.2",
                                                           .headers = headers}));
            REQUIRE(run.feed.flush(1s));
            const auto written = run.peer.connections().back().written.back();
            CHECK(written.topic == "orders.new");
            CHECK(written.reply_to == "box.2");
            REQUIRE(written.headers.size() == 1);
            CHECK(written.headers[0].name == "Id");
            CHECK(written.headers[0].value == "1");
            CHECK(written.text.size() == size);
        }
    REQUIRE(run.feed.send("plain", 1s));
    REQUIRE(run.feed.flush(1s));
    CHECK(run.peer.connections().back().written.back().topic.empty());
}

TEST_CASE("what cannot be sent with a topic is refused, and the link goes on")
{
    SUBCASE("a transport that carries no topics")
    {
        MockPeer peer;
        Sidecar<Mock> feed{{.peer = peer}, silent_options()};
        REQUIRE(feed.start(1s));
        const Header headers[]{{"a", "b"}};
        for (const auto& options : {SendOptions{.topic = "a"}, SendOptions{.reply_to = "a"},
                                    SendOptions{.headers = headers}}) {
            const auto refused = feed.send("x", options);
            REQUIRE_FALSE(refused);
            CHECK(refused.error() == Error::bad_message);
            CHECK(refused.error().message().find("carries no topic") != std::string::npos);
        }
        CHECK(feed.send("x"));
    }
    SUBCASE("a topic that is too long")
    {
        TopicFixture run;
        const std::string topic(70'000, 't');
        const auto refused = run.feed.send("x", {.topic = topic});
        REQUIRE_FALSE(refused);
        CHECK(refused.error() == Error::bad_message);
        CHECK(run.feed.send("x", {.topic = topic.substr(0, 60'000)}));
    }
    SUBCASE("more than the peer takes")
    {
        MockPeer peer;
        peer.set_connection_info({.peer = "mock", .max_send_bytes = 100});
        Sidecar<Mock> feed{{.peer = peer, .topics = true}, silent_options()};
        REQUIRE(feed.start(1s));
        CHECK(feed.send(std::string(100, 'x'), {.topic = std::string_view{"a long topic"}}));
        CHECK(feed.send(std::string(100, 'x')));
        const auto refused = feed.send(std::string(101, 'x'));
        REQUIRE_FALSE(refused);
        CHECK(refused.error() == Error::too_big);
        CHECK(refused.error().message().find("the peer takes at most 100") != std::string::npos);
        const Header headers[]{{"a", "b"}};
        CHECK(feed.send(std::string(95, 'x'), {.topic = "t", .headers = headers}).error()
              == Error::too_big);
        CHECK(feed.stats().sends_refused == 2);
    }
}

TEST_CASE("conflating needs no key function on a transport with topics")
{
    TopicFixture run{{.overflow = {.policy = OverflowPolicy::conflate}}};
    for (const auto* text : {"1", "2", "3"}) {
        run.peer.deliver(text, {.topic = "eur"});
        run.peer.deliver(text, {.topic = "usd"});
        run.peer.deliver(text);
    }
    REQUIRE(run.feed.sleep_for(1ms));
    std::vector<std::string> seen;
    while (auto event = run.feed.next_event(0s))
        if (event->kind == Event::Kind::message)
            seen.push_back(std::string{event->topic()} + std::string{event->message.text()});
    CHECK(seen == std::vector<std::string>{"eur3", "usd3", "1", "2", "3"});
    CHECK(run.feed.stats().conflated == 4);

    MockPeer peer;
    Sidecar<Mock> without{{.peer = peer},
                          silenced({.overflow = {.policy = OverflowPolicy::conflate}})};
    CHECK(without.start(1s).error() == Error::bad_options);
}

/// Reads "1", a gap, and "2".
struct Numbered : MinimalTransport {
    using MinimalTransport::MinimalTransport;
    Task<> read(Context ctx, Sink& sink)
    {
        if (std::exchange(is_first_, false)) {
            (void)sink.put_text("1");
            sink.put_gap(7);
            (void)sink.put_text("2");
            co_return;
        }
        co_await MinimalTransport::read(ctx, sink);
    }
    bool is_first_ = true;
};

TEST_CASE("messages that a transport knows to be missing are a gap, in its place")
{
    for (const auto policy : {OverflowPolicy::pause_reading, OverflowPolicy::drop_oldest}) {
        Sidecar<Numbered> feed{{}, silenced({.overflow = {.policy = policy}})};
        REQUIRE(feed.start(10s));
        std::string seen;
        for (int entries = 0; entries < 4; ++entries) {
            const auto event = feed.next_event(10s);
            REQUIRE(event);
            if (event->kind == Event::Kind::message)
                seen += std::string{event->message.text()} + " ";
            else if (event->kind == Event::Kind::gap)
                seen += "gap " + std::to_string(event->missing) + " "
                        + std::string{to_string(event->gap_reason)} + " ";
        }
        CHECK(seen == "1 gap 7 not delivered 2 ");
    }
    Sidecar<Numbered> feed{{}, silent_options()};
    REQUIRE(feed.start(10s));
    CHECK(feed.receive(10s)->text() == "1");
    CHECK(feed.receive(10s).error() == Error::gap);
    CHECK(feed.receive(10s)->text() == "2");
}

// --- acknowledgements

std::vector<std::string> acknowledged(MockPeer& peer)
{
    std::vector<std::string> all;
    for (const auto& log : peer.connections())
        for (const auto& written : log.written)
            all.push_back(written.topic + " " + written.text);
    return all;
}

TEST_CASE("a message is acknowledged once the application has taken it, not before")
{
    TopicFixture run;
    const auto deliver = [&](std::string_view name) {
        run.peer.deliver("x", {.topic = "t", .reply_to = name, .acknowledgement = "+ACK"});
    };
    using Words = std::vector<std::string>;
    deliver("one");
    REQUIRE(run.feed.sleep_for(1ms));
    CHECK(acknowledged(run.peer).empty());
    REQUIRE(run.feed.receive(1s));
    REQUIRE(run.feed.sleep_for(1ms));
    CHECK(acknowledged(run.peer) == Words{"one +ACK"});

    deliver("two");
    deliver("three");
    std::size_t count = 0;
    while (count < 2) {
        const auto polled = run.feed.poll([&](const MessageView&) {
            ++count;
            CHECK(acknowledged(run.peer).size() == count);
        });
        REQUIRE(polled);
    }
    REQUIRE(run.feed.sleep_for(1ms));
    CHECK(acknowledged(run.peer) == Words{"one +ACK", "two +ACK", "three +ACK"});

    deliver("four");
    const auto next = [&] {
        for (;;)
            if (auto event = run.feed.next_event(1s); !event || event->kind == Event::Kind::message)
                return event;
    };
    REQUIRE(next());
    REQUIRE(run.feed.sleep_for(1ms));
    CHECK(acknowledged(run.peer).back() == "four +ACK");
    CHECK(run.feed.stop().unread_messages == 0);
}

TEST_CASE("a message that the application did not take is not acknowledged")
{
    SUBCASE("its handler throws")
    {
        TopicFixture run;
        run.peer.deliver("x", {.reply_to = "one", .acknowledgement = "+ACK"});
        REQUIRE(run.feed.sleep_for(1ms));
        const auto throws = [](const MessageView&) { throw 7; };
        CHECK_THROWS_AS((void)run.feed.poll(throws), int);
        REQUIRE(run.feed.sleep_for(1ms));
        CHECK(acknowledged(run.peer).empty());
    }
    SUBCASE("the policy drops it")
    {
        TopicFixture run{
            {.overflow = {.policy = OverflowPolicy::drop_oldest, .queue_messages = 1}}};
        run.peer.deliver("x", {.reply_to = "one", .acknowledgement = "+ACK"});
        run.peer.deliver("x", {.reply_to = "two", .acknowledgement = "+ACK"});
        REQUIRE(run.feed.sleep_for(1ms));
        while (run.feed.poll([](const MessageView&) {}).error() == Error::gap) {
        }
        for (auto polled = run.feed.poll([](const MessageView&) {}); polled && *polled != 0;)
            polled = run.feed.poll([](const MessageView&) {});
        REQUIRE(run.feed.sleep_for(1ms));
        CHECK(acknowledged(run.peer) == std::vector<std::string>{"two +ACK"});
    }
    SUBCASE("its connection is gone")
    {
        TopicFixture run{{.reconnect = Reconnect{}}};
        run.peer.deliver("x", {.reply_to = "one", .acknowledgement = "+ACK"});
        REQUIRE(run.feed.sleep_for(1ms));
        run.peer.refuse_connect(error_code{Error::connect_failed});
        run.peer.drop();
        REQUIRE(run.feed.sleep_for(1ms));
        CHECK(run.feed.receive(1s));
        run.peer.allow_connect();
        REQUIRE(run.feed.sleep_for(10s));
        CHECK(acknowledged(run.peer).empty());
    }
}

// --- requests

/// A feed whose peer takes requests; `answer` is called with each.
struct Asking {
    explicit Asking(MockPeer::MessageHook answer)
    {
        peer.set_connection_info({.peer = "mock", .reply_prefix = "box."});
        peer.on_message(std::move(answer));
        feed.emplace(Mock::Options{.peer = peer, .topics = true},
                     silenced({.reconnect = Reconnect{}}));
        REQUIRE(feed->start(1s));
    }
    MockPeer peer;
    std::optional<Sidecar<Mock>> feed;
};

TEST_CASE("a request returns the answer to it, and the inbox does not get it")
{
    Asking asking{[](MockConnection& peer, const MessageView& message) {
        CHECK(message.topic() == "sum");
        peer.deliver("in between", {.topic = "news"});
        peer.deliver("not ours", {.topic = "box"});
        peer.deliver("answer to " + std::string{message.text()},
                     {.topic = message.reply_to(), .headers = {}});
    }};
    auto& feed = *asking.feed;
    for (const auto* text : {"one", "two"}) {
        const auto answer = feed.request("sum", text, 1s);
        REQUIRE(answer);
        CHECK(answer->text() == std::string{"answer to "} + text);
        CHECK(answer->connection() == 1);
        CHECK(feed.receive(1s)->text() == "in between");
        CHECK(feed.receive(1s)->text() == "not ours");
    }
    CHECK(feed.receive(0s).error() == Error::timed_out);
    CHECK(feed.stats().discarded == 0);
}

TEST_CASE("requests of several threads get each its answer")
{
    MockPeer peer;
    peer.set_connection_info({.peer = "mock", .reply_prefix = "box."});
    std::vector<std::string> questions; // the loop's
    peer.on_message([&](MockConnection& connection, const MessageView& message) {
        questions.push_back(std::string{message.reply_to()} + " " + std::string{message.text()});
        if (questions.size() < 8)
            return;
        for (auto at = questions.rbegin(); at != questions.rend(); ++at) { // the last one first
            const auto blank = at->find(' ');
            connection.deliver(at->substr(blank + 1), {.topic = at->substr(0, blank)});
        }
    });
    Sidecar<RealMock> feed{{.peer = peer, .topics = true}, silent_options()};
    REQUIRE(feed.start(10s));
    std::vector<std::thread> threads;
    std::atomic<int> right{0};
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&, text = std::to_string(i)] {
            const auto answer = feed.request("sum", text, 60s);
            right += answer && answer->text() == text ? 1 : 0;
        });
    for (auto& thread : threads)
        thread.join();
    CHECK(right.load() == 8);
    (void)feed.stop();
}

TEST_CASE("a request that gets no answer says why")
{
    SUBCASE("nobody listens")
    {
        Asking asking{[](MockConnection& peer, const MessageView& message) {
            const Header headers[]{{"Status", "503"}};
            peer.deliver("", {.topic = message.reply_to(), .headers = headers});
        }};
        const auto answer = asking.feed->request("sum", "x", 1h);
        REQUIRE_FALSE(answer);
        CHECK(answer.error() == Error::no_responders);
        CHECK(answer.error().message().find("request \"sum\"") != std::string::npos);
    }
    SUBCASE("no answer in time; a late one is counted, and is no message")
    {
        Asking asking{[](MockConnection& peer, const MessageView& message) {
            peer.deliver_after(2s, "never");
            peer.deliver("two", {.topic = std::string{message.reply_to()} + "0"});
        }};
        CHECK(asking.feed->request("sum", "x", 1s).error() == Error::timed_out);
        CHECK(asking.feed->stats().discarded == 1);
        CHECK(asking.feed->request("sum", "x", 0s).error() == Error::timed_out);
    }
    SUBCASE("two answers: the second is counted")
    {
        Asking asking{[](MockConnection& peer, const MessageView& message) {
            peer.deliver("one", {.topic = message.reply_to()});
            peer.deliver("two", {.topic = message.reply_to()});
        }};
        CHECK(asking.feed->request("sum", "x", 1s)->text() == "one");
        REQUIRE(asking.feed->sleep_for(1ms));
        CHECK(asking.feed->stats().discarded == 1);
    }
    SUBCASE("the connection ends; the next request is of the next connection")
    {
        bool drops = true;
        Asking asking{[&](MockConnection& peer, const MessageView& message) {
            if (std::exchange(drops, false))
                peer.drop();
            else
                peer.deliver("late", {.topic = message.reply_to()});
        }};
        const auto answer = asking.feed->request("sum", "x", 1h);
        REQUIRE_FALSE(answer);
        CHECK(answer.error() == Error::disconnected);
        CHECK(answer.error().will_retry());
        REQUIRE(asking.feed->sleep_for(10s));
        CHECK(asking.feed->request("sum", "x", 1s)->text() == "late");
    }
    SUBCASE("a stop")
    {
        Asking asking{[&](MockConnection&, const MessageView&) { asking.feed->request_stop(); }};
        CHECK(asking.feed->request("sum", "x", 1h).error() == Error::stopping);
    }
    SUBCASE("a transport without requests, and the loop's thread")
    {
        TopicFixture run;
        CHECK(run.feed.request("sum", "x", 1s).error() == Error::misuse);
        const auto within = run.feed.call("ask", [&](Context) -> Task<Error> {
            co_return static_cast<Error>(run.feed.request("sum", "x", 1s).error().code().value());
        });
        CHECK(within.value() == Error::misuse);
        (void)run.feed.stop();
        CHECK(run.feed.request("sum", "x", 1s).error() == Error::stopped);
    }
}

} // namespace topics_test
