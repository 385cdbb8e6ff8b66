// An application that does not keep up: what each policy loses, and how it is told.
#include "support/silent_options.hpp"

#include <sidecar/json.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace overflow_test {

using namespace sidecar;
using namespace std::chrono_literals;
using Policy = OverflowPolicy;
using Words = std::vector<std::string>;

std::optional<std::string_view> key_of(const MessageView& message)
{
    const auto equals = message.text().find('=');
    if (equals == std::string_view::npos)
        return std::nullopt;
    return message.text().substr(0, equals);
}

/// A feed whose first link has this policy, and is up.
struct Flooded {
    explicit Flooded(Overflow overflow, QueueLimits inbox = {.bytes = 1u << 16})
        : feed{{.peer = peer, .max_message_bytes = 1000},
               silenced({.inbox = inbox, .overflow = std::move(overflow)})}
    {
        REQUIRE(feed.start(1s));
    }
    void deliver(int from, int to)
    {
        for (int i = from; i < to; ++i)
            peer.deliver(std::to_string(i));
    }
    /// Lets the sidecar read what was delivered, and time go by.
    void let_pass(Duration time = 1ms)
    {
        REQUIRE(feed.call("wait", [time](Context ctx) { return ctx.sleep_for(time); }));
    }
    /// The next entries of the stream, until none comes for a while: "7", "gap 3 too old", "up".
    Words events()
    {
        Words words;
        while (auto event = feed.next_event(0s)) {
            if (event->kind == Event::Kind::message)
                words.emplace_back(event->message.text());
            else if (event->kind == Event::Kind::gap)
                words.push_back("gap " + std::to_string(event->missing) + " "
                                + std::string{to_string(event->gap_reason)});
            else
                words.emplace_back(to_string(event->kind));
            if (event->kind == Event::Kind::stopped)
                break;
        }
        return words;
    }
    /// What went in came out, was lost, or waits.
    void check_sum() const
    {
        const auto stats = feed.stats();
        CHECK(stats.messages_received
              == stats.messages_taken + stats.lost() + stats.conflated + stats.inbox_messages);
    }

    MockPeer peer;
    Sidecar<Mock> feed;
};

TEST_CASE("drop_oldest: who wakes late gets the latest, after one gap of exactly what is missing")
{
    Flooded f{{.policy = Policy::drop_oldest, .queue_messages = 3}};
    f.deliver(0, 1000);
    f.let_pass();
    CHECK(f.feed.stats().inbox_messages == 3);
    CHECK(f.feed.stats().dropped_oldest == 997);
    CHECK(f.feed.stats().reading_pauses == 0);
    f.check_sum();
    CHECK(f.events() == Words{"up", "gap 997 the oldest were dropped", "997", "998", "999"});
    f.check_sum();
    CHECK(f.feed.stats().messages_taken == 3);
}

TEST_CASE("drop_newest: what came first stays, and the gap is behind it")
{
    Flooded f{{.policy = Policy::drop_newest, .queue_messages = 3}};
    f.deliver(0, 1000);
    f.let_pass();
    f.check_sum();
    CHECK(f.events() == Words{"up", "0", "1", "2", "gap 997 the newest were dropped"});
    f.deliver(0, 1);
    f.let_pass();
    CHECK(f.events() == Words{"0"});
    CHECK(f.feed.stats().dropped_newest == 997);
    f.check_sum();
}

TEST_CASE("conflate: the latest of each key, and what has no key whole")
{
    Flooded f{{.policy = Policy::conflate, .key = key_of}};
    for (int i = 0; i < 100; ++i) {
        f.peer.deliver("a=" + std::to_string(i));
        f.peer.deliver("b=" + std::to_string(i));
    }
    f.peer.deliver("hello");
    f.peer.deliver("hello");
    f.let_pass();
    REQUIRE(f.feed.next_event(0s)->kind == Event::Kind::up);
    const auto first = f.feed.next_event(0s);
    CHECK(first->message.text() == "a=99");
    CHECK(first->message.replaced() == 99);
    CHECK(first->missing == 0);
    CHECK(f.events() == Words{"b=99", "hello", "hello"});
    CHECK(f.feed.stats().conflated == 198);
    f.check_sum();
}

TEST_CASE("fail: the link ends with Error::overflow, after all that it had taken in")
{
    Flooded f{{.policy = Policy::fail, .queue_messages = 3}};
    f.deliver(0, 5);
    f.let_pass();
    CHECK(f.feed.state() == State::disconnected);
    for (int i = 0; i < 3; ++i)
        CHECK(f.feed.receive(0s)->text() == std::to_string(i));
    const auto end = f.feed.receive(0s);
    REQUIRE_FALSE(end);
    CHECK(end.error() == Error::overflow);
    CHECK(end.error().message().find("mock") != std::string::npos);
    f.check_sum();
}

TEST_CASE(
    "pause_reading with a queue of its own: nothing is lost, and reading goes on once there is "
    "room")
{
    Flooded f{{.queue_messages = 8}};
    f.deliver(0, 100);
    f.let_pass();
    CHECK(f.feed.stats().inbox_messages == 8);
    CHECK(f.feed.stats().reading_pauses == 1);
    for (int i = 0; i < 100; ++i)
        REQUIRE(f.feed.receive(1s)->text() == std::to_string(i));
    CHECK(f.feed.stats().lost() == 0);
    CHECK(f.feed.stop().clean());
}

TEST_CASE("a stop lets through who waits for room in a queue of its own")
{
    Flooded f{{.queue_messages = 2}};
    f.deliver(0, 10);
    f.let_pass();
    const auto report = f.feed.stop();
    CHECK(report.clean());
    CHECK(report.unread_messages == 2);
    CHECK(f.events() == Words{"up", "0", "1", "stopped"});
}

TEST_CASE("receive and poll end once at a gap, saying how much is missing, and then go on")
{
    Flooded f{{.policy = Policy::drop_oldest, .queue_messages = 2}};
    f.deliver(0, 10);
    f.let_pass();
    auto gap = f.feed.receive(0s);
    REQUIRE_FALSE(gap);
    CHECK(gap.error() == Error::gap);
    CHECK(gap.error().message().find("missing here: 8, the oldest were dropped")
          != std::string::npos);
    CHECK(f.feed.receive(0s)->text() == "8");
    CHECK(f.feed.receive(0s)->text() == "9");
    CHECK(f.feed.receive(0s).error() == Error::timed_out);

    f.deliver(0, 2);
    f.let_pass();
    CHECK(f.feed.receive(0s)->text() == "0");
    f.deliver(2, 5); // and so 1 and 2 are lost
    f.let_pass();
    std::string seen;
    const auto see = [&](const MessageView& message) { seen += message.text(); };
    CHECK(f.feed.poll(see).error() == Error::gap);
    CHECK(f.feed.poll(see).value() == 2);
    CHECK(seen == "34");
    CHECK(f.feed.poll(see).value() == 0);
}

TEST_CASE("poll: a gap behind messages is for the next call")
{
    Flooded f{{.policy = Policy::drop_newest, .queue_messages = 2}};
    f.deliver(0, 5);
    f.let_pass();
    const auto ignore = [](const MessageView&) {};
    CHECK(f.feed.poll(ignore).value() == 2);
    CHECK(f.feed.poll(ignore).error() == Error::gap);
    CHECK(f.feed.poll(ignore).value() == 0);
}

TEST_CASE("max_age: messages that waited for too long are not handed out, and count as lost")
{
    Flooded f{{.max_age = 100ms}};
    f.deliver(0, 3);
    f.let_pass(50ms);
    f.deliver(3, 5);
    f.let_pass(60ms);
    CHECK(f.events() == Words{"up", "gap 3 too old", "3", "4"});
    CHECK(f.feed.stats().too_old == 3);
    f.check_sum();
}

TEST_CASE("arrival: each message knows when it came, on virtual time to the moment")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer}};
    REQUIRE(feed.start(1s));
    for (const auto delay : {10ms, 20ms, 20ms, 35ms})
        peer.deliver_after(delay, "x");
    REQUIRE(feed.call("wait", [](Context ctx) { return ctx.sleep_for(1s); }));
    CHECK(feed.stats().oldest_message_age == 990ms);
    std::vector<TimePoint> arrivals;
    arrivals.push_back(feed.receive(0s)->arrival());
    CHECK(feed.stats().oldest_message_age == 980ms);
    REQUIRE(feed.next_event(0s)->kind == Event::Kind::message);
    const auto event = feed.next_event(0s);
    CHECK(event->at == event->message.arrival());
    arrivals.push_back(event->at);
    arrivals.push_back(feed.receive(0s)->arrival());
    CHECK(arrivals == std::vector<TimePoint>{TimePoint{10ms}, TimePoint{20ms}, TimePoint{35ms}});
    CHECK(feed.stats().oldest_message_age == 0ms);
}

TEST_CASE("conflate: receive() and poll() say how old a message is, and how many it replaced")
{
    Flooded f{{.policy = Policy::conflate, .key = key_of}};
    const auto deliver = [&] {
        for (const auto* text : {"a=1", "b=1", "a=2"})
            f.peer.deliver(text);
        f.let_pass(10ms);
        f.peer.deliver("a=3");
        f.let_pass(10ms);
    };
    deliver();
    const auto first = f.feed.receive(0s).value();
    CHECK(first.text() == "a=3");
    CHECK(first.replaced() == 2);
    CHECK(f.feed.now() - first.arrival() == 10ms); // of the latest, not of the first
    CHECK(f.feed.receive(0s)->replaced() == 0);
    deliver();
    std::vector<std::uint64_t> replaced;
    std::vector<Duration> ages;
    std::optional<Message> kept;
    const auto handler = [&](const MessageView& message) {
        replaced.push_back(message.replaced());
        ages.push_back(f.feed.now() - message.arrival());
        if (!kept)
            kept.emplace(message);
    };
    CHECK(f.feed.poll(handler).value() == 2);
    CHECK(replaced == std::vector<std::uint64_t>{2, 0});
    CHECK(ages == std::vector<Duration>{10ms, 20ms});
    CHECK(kept->replaced() == 2);
    CHECK(kept->view().arrival() == f.feed.now() - 10ms);
    deliver();
    const auto event = f.feed.next_event(0s).value();
    CHECK(event.message.replaced() == 2);
    CHECK(event.missing == 0);
    CHECK(to_string(event)
          == "message (link 0, connection 1): 3 bytes of text, replaced 2 older ones");
    CHECK(to_json(event).find(R"("replaced":2,)") != std::string::npos);
}

TEST_CASE("arrival: poll() knows it too, of small and large messages and over several reads")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
    REQUIRE(feed.start(1s));
    for (const auto delay : {10ms, 20ms, 20ms, 35ms})
        peer.deliver_after(delay, delay == 20ms ? std::string(100'000, 'x') : "x");
    REQUIRE(feed.sleep_for(1s));
    std::vector<TimePoint> arrivals;
    const auto handler = [&](const MessageView& message) {
        CHECK(message.replaced() == 0);
        arrivals.push_back(message.arrival());
    };
    REQUIRE(feed.poll(handler).value() == 4);
    CHECK(arrivals
          == std::vector{TimePoint{10ms}, TimePoint{20ms}, TimePoint{20ms}, TimePoint{35ms}});
}

TEST_CASE("high and low water are told, before what waits and once it has gone")
{
    Flooded f{{.high = {.messages = 5}, .low = {.messages = 2}}};
    f.deliver(0, 4);
    f.let_pass();
    CHECK(f.events() == Words{"up", "0", "1", "2", "3"});
    f.deliver(0, 6);
    f.let_pass();
    CHECK(f.events() == Words{"high water", "0", "1", "2", "3", "low water", "4", "5"});
}

TEST_CASE("overflow options that make no sense are refused")
{
    const auto start = [](Overflow overflow) {
        Sidecar<Mock> feed{{.max_message_bytes = 1000},
                           silenced({.overflow = std::move(overflow)})};
        return feed.start(1s);
    };
    CHECK(start({.policy = Policy::conflate}).error() == Error::bad_options);
    CHECK(start({.queue_bytes = 1000}).error() == Error::bad_options);
    CHECK(start({.max_age = -1ns}).error() == Error::bad_options);
    Sidecar<Mock> feed{{}};
    REQUIRE(feed.start(1s));
    CHECK(feed.open(Mock::Options{}, 1s, {.overflow = {.policy = Policy::conflate}}).error()
          == Error::bad_options);
}

TEST_CASE("a link that loses leaves a link that pauses in peace, in one order")
{
    MockPeer quotes, orders;
    Sidecar<Mock> feed{{.peer = orders, .max_message_bytes = 1000}, silent_options()};
    REQUIRE(feed.start(1s));
    REQUIRE(feed.open(Mock::Options{.peer = quotes, .max_message_bytes = 1000}, 1s,
                      {.overflow = {.policy = Policy::drop_oldest, .queue_messages = 2}}));
    const auto pass = [&] {
        REQUIRE(feed.call("wait", [](Context ctx) { return ctx.sleep_for(1ms); }));
    };
    for (int i = 0; i < 4; ++i) {
        orders.deliver("o" + std::to_string(i));
        pass();
        quotes.deliver("q" + std::to_string(i));
        pass();
    }
    Words words;
    std::size_t gaps = 0;
    for (;;) {
        const auto polled =
            feed.poll([&](const MessageView& message) { words.emplace_back(message.text()); });
        if (!polled)
            gaps += polled.error() == Error::gap;
        else if (*polled == 0)
            break;
    }
    CHECK(words == Words{"o0", "o1", "o2", "q2", "o3", "q3"});
    CHECK(gaps == 1);
    CHECK(feed.stats().messages_received == 8);
}

TEST_CASE("a key function that throws ends its link with what it threw")
{
    Flooded f{{.policy = Policy::conflate,
               .key = [](const MessageView&) -> std::optional<std::string_view> {
                   throw std::runtime_error{"no such field"};
               }}};
    f.deliver(0, 1);
    const auto end = f.feed.receive(1s);
    REQUIRE_FALSE(end);
    CHECK(end.error().message()
          == "cannot take in a message (mock): the application's code threw an exception: the "
             "key function threw: no such field");
}

TEST_CASE("a key function that throws an error code is named too, a Failure is what it is")
{
    const auto end_of = [](auto thrown) {
        Flooded f{{.policy = Policy::conflate,
                   .key = [thrown](const MessageView&) -> std::optional<std::string_view> {
                       throw thrown;
                   }}};
        f.deliver(0, 1);
        return f.feed.receive(1s).error();
    };
    const auto code = end_of(boost::system::system_error{boost::asio::error::connection_refused});
    CHECK(code == Error::callback_failed);
    CHECK(code.explanation() == "the key function threw");
    CHECK(code.cause() == boost::asio::error::connection_refused);
    CHECK(end_of(42).explanation() == "the key function threw");
    CHECK(end_of(Exception{Failure{Error::bad_message}}) == Error::bad_message);
}

} // namespace overflow_test
