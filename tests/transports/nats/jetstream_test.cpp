// JetStream, against real servers: nothing is lost uncounted between programs.
#include "nats_feed.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace jetstream_test {

using namespace nats_tests;

const std::string with_jetstream = "jetstream { store_dir: \"$DIR/js\", max_file: 100M }\n";

/// Calls the server's API; returns its JSON.
std::string ask(NatsFeed& feed, const std::string& call, const std::string& json = {})
{
    // The server is ready a moment after it answers
    for (int i = 0; i < 100; ++i) {
        const auto answer = feed.request("$JS.API." + call, json, 5s);
        if (answer)
            return std::string{answer->text()};
        REQUIRE(answer.error() == Error::no_responders);
        REQUIRE(feed.sleep_for(50ms));
    }
    FAIL("no answer");
    return {};
}

void make_stream(NatsFeed& feed, const std::string& more = {})
{
    const auto made =
        ask(feed, "STREAM.CREATE.ORDERS",
            R"({"name":"ORDERS","subjects":["orders.>"],"storage":"file")" + more + "}");
    REQUIRE_MESSAGE(made.find("\"error\"") == std::string::npos, made);
}

bool has(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

/// A server with a stream, and a feed that asks and publishes.
struct Scene {
    Scene()
    {
        REQUIRE(admin.start(10s).has_value());
        make_stream(admin);
    }
    void publish(int from, int to)
    {
        for (int i = from; i < to; ++i)
            REQUIRE(
                admin.send(std::to_string(i), SendOptions{.timeout = 10s, .topic = "orders.new"})
                    .has_value());
        REQUIRE(admin.flush(20s).has_value());
    }
    std::string info(const std::string& consumer)
    {
        return ask(admin, "CONSUMER.INFO.ORDERS." + consumer);
    }
    /// Waits until the consumer's facts have this part.
    void wait_for(const std::string& consumer, const std::string& part)
    {
        std::string last;
        for (int i = 0; i < 400; ++i) {
            last = info(consumer);
            if (has(last, part))
                return;
            REQUIRE(admin.sleep_for(20ms));
        }
        FAIL(last);
    }
    NatsServer server{with_jetstream};
    NatsFeed admin{Nats::Options{.url = server.url(), .publish_to_stream = true}, coming_back()};
};

std::vector<int> numbers(int from, int to)
{
    std::vector<int> all;
    for (int i = from; i < to; ++i)
        all.push_back(i);
    return all;
}

/// The next `count` messages.
std::vector<int> receive(NatsFeed& feed, std::size_t count)
{
    std::vector<int> all;
    while (all.size() < count) {
        const auto message = feed.receive(20s);
        REQUIRE_MESSAGE(message.has_value(), message.error().message());
        all.push_back(std::stoi(std::string{message->text()}));
    }
    return all;
}

TEST_CASE("a durable consumer gets all, and what was taken is acknowledged")
{
    Scene scene;
    scene.publish(0, 1000);
    const Nats::Options options{
        .url = scene.server.url(),
        .consumer = nats::Consumer{
            .stream = "ORDERS", .durable = "worker", .acknowledge_within = 5s, .max_pending = 64}};
    {
        NatsFeed worker{options, coming_back()};
        REQUIRE(worker.start(10s).has_value());
        const auto first = worker.receive(20s);
        REQUIRE(first.has_value());
        CHECK(first->topic() == "orders.new");
        const auto facts = nats::delivery(*first);
        REQUIRE(facts.has_value());
        CHECK(facts->stream == "ORDERS");
        CHECK(facts->consumer == "worker");
        CHECK(facts->delivered == 1);
        CHECK(facts->stream_sequence == 1);
        CHECK(receive(worker, 599) == numbers(1, 600));
        scene.wait_for("worker", "\"ack_floor\":{\"consumer_seq\":600,\"stream_seq\":600");
        CHECK(has(scene.info("worker"), "\"num_redelivered\":0"));
        // At a stop the acknowledgements of what was taken go out
        CHECK(receive(worker, 10) == numbers(600, 610));
        CHECK(worker.stop().clean());
    }
    scene.wait_for("worker", "\"ack_floor\":{\"consumer_seq\":610");
    // What waited in the inbox comes again, to whoever names the consumer
    NatsFeed other{options, coming_back()};
    REQUIRE(other.start(10s).has_value());
    auto rest = receive(other, 390);
    std::sort(rest.begin(), rest.end());
    CHECK(rest == numbers(610, 1000));
}

TEST_CASE("a message that is not acknowledged comes again, and says how often it came")
{
    Scene scene;
    scene.publish(0, 1);
    NatsFeed worker{Nats::Options{.url = scene.server.url(),
                                  .consumer = nats::Consumer{.stream = "ORDERS",
                                                             .durable = "worker",
                                                             .acknowledge_by_hand = true,
                                                             .acknowledge_within = 300ms}},
                    coming_back()};
    REQUIRE(worker.start(10s).has_value());
    auto message = worker.receive(20s);
    REQUIRE(message.has_value());
    CHECK(nats::delivery(*message)->delivered == 1);
    message = worker.receive(20s); // the server waited in vain
    REQUIRE(message.has_value());
    CHECK(nats::delivery(*message)->delivered == 2);
    REQUIRE(nats::deliver_again(worker, *message).has_value());
    message = worker.receive(20s);
    REQUIRE(message.has_value());
    CHECK(nats::delivery(*message)->delivered == 3);
    REQUIRE(nats::in_progress(worker, *message).has_value());
    REQUIRE(nats::acknowledge(worker, *message).has_value());
    scene.wait_for("worker", "\"num_ack_pending\":0");
    scene.publish(1, 2);
    message = worker.receive(20s);
    REQUIRE(message.has_value());
    CHECK(message->text() == "1");
    REQUIRE(nats::give_up(worker, *message).has_value());
    scene.wait_for("worker", "\"num_ack_pending\":0");
    CHECK(worker.receive(400ms).error() == Error::timed_out);

    const auto misused = nats::acknowledge(worker, Message{});
    REQUIRE_FALSE(misused.has_value());
    CHECK(misused.error() == Error::misuse);
}

TEST_CASE("links that name one consumer share its messages, each to one of them")
{
    Scene scene;
    const Nats::Options options{
        .url = scene.server.url(),
        .consumer = nats::Consumer{.stream = "ORDERS", .durable = "workers", .max_pending = 8}};
    NatsFeed one{options, coming_back()};
    NatsFeed two{options, coming_back()};
    REQUIRE(one.start(10s).has_value());
    REQUIRE(two.start(10s).has_value());
    scene.publish(0, 200);
    std::multiset<int> all;
    std::size_t of_one = 0;
    while (all.size() < 200) {
        const auto take = [&](const MessageView& message) {
            all.insert(std::stoi(std::string{message.text()}));
        };
        const auto before = all.size();
        REQUIRE(one.poll(take).has_value());
        of_one += all.size() - before;
        REQUIRE(two.poll(take).has_value());
        REQUIRE(one.sleep_for(1ms));
    }
    CHECK(std::vector<int>(all.begin(), all.end()) == numbers(0, 200));
    CHECK(of_one > 0);
    CHECK(of_one < 200);
}

TEST_CASE("a full inbox holds the stream back, and nothing is lost")
{
    Scene scene;
    scene.publish(0, 3000);
    auto options = coming_back();
    options.inbox = {.bytes = 128u << 10};
    NatsFeed worker{
        Nats::Options{
            .url = scene.server.url(),
            .consumer = nats::Consumer{.stream = "ORDERS", .durable = "slow", .max_pending = 2000},
            .max_message_bytes = 100},
        std::move(options)};
    const auto started = worker.start(10s);
    REQUIRE_MESSAGE(started.has_value(), started.error().message());
    REQUIRE(worker.sleep_for(300ms));
    CHECK(receive(worker, 3000) == numbers(0, 3000));
    scene.wait_for("slow", "\"num_ack_pending\":0");
    CHECK(has(scene.info("slow"), "\"num_redelivered\":0"));
}

TEST_CASE("an ordered consumer begins where it is told")
{
    Scene scene;
    scene.publish(0, 20);
    const auto first = [&](nats::Consumer consumer) {
        consumer.stream = "ORDERS";
        NatsFeed feed{Nats::Options{.url = scene.server.url(), .consumer = consumer},
                      coming_back()};
        REQUIRE(feed.start(10s).has_value());
        const auto message = feed.receive(20s);
        REQUIRE_MESSAGE(message.has_value(), message.error().message());
        CHECK(message->header("none").empty());
        return std::string{message->text()};
    };
    CHECK(first({}) == "0");
    CHECK(first({.begin = nats::Begin::last}) == "19");
    CHECK(first({.begin = nats::Begin::sequence, .sequence = 8}) == "7");
    CHECK(first({.filter = "orders.*"}) == "0");
    const auto middle = std::chrono::system_clock::now();
    REQUIRE(scene.admin.sleep_for(20ms));
    scene.publish(20, 30);
    CHECK(first({.begin = nats::Begin::time, .time = middle}) == "20");

    NatsFeed next{
        Nats::Options{.url = scene.server.url(),
                      .consumer = nats::Consumer{.stream = "ORDERS", .begin = nats::Begin::next}},
        coming_back()};
    REQUIRE(next.start(10s).has_value());
    CHECK(next.receive(300ms).error() == Error::timed_out);
    scene.publish(30, 31);
    CHECK(receive(next, 1) == numbers(30, 31));
}

TEST_CASE("an ordered consumer continues behind the last message after a server's end")
{
    Scene scene;
    scene.publish(0, 100);
    NatsFeed feed{Nats::Options{.url = scene.server.url(),
                                .consumer = nats::Consumer{.stream = "ORDERS", .max_pending = 16}},
                  coming_back()};
    REQUIRE(feed.start(10s).has_value());
    CHECK(receive(feed, 50) == numbers(0, 50));
    const auto receive_over_breaks = [&](std::size_t count, std::uint64_t& missing) {
        std::vector<int> all;
        while (all.size() < count) {
            auto event = feed.next_event(20s);
            REQUIRE_MESSAGE(event.has_value(), event.error().message());
            if (event->kind == Event::Kind::message)
                all.push_back(std::stoi(std::string{event->message.text()}));
            if (event->kind == Event::Kind::gap) {
                CHECK(event->gap_reason == GapReason::not_delivered);
                missing += event->missing;
            }
        }
        return all;
    };
    scene.server.restart();
    std::uint64_t missing = 0;
    CHECK(receive_over_breaks(50, missing) == numbers(50, 100));
    CHECK(missing == 0);
}

TEST_CASE("a link that comes back continues with its durable consumer")
{
    Scene scene;
    scene.publish(0, 100);
    NatsFeed worker{Nats::Options{.url = scene.server.url(),
                                  .consumer = nats::Consumer{.stream = "ORDERS",
                                                             .durable = "worker",
                                                             .acknowledge_within = 1s,
                                                             .max_pending = 10}},
                    coming_back()};
    REQUIRE(worker.start(10s).has_value());
    (void)next(worker, Event::Kind::message);
    scene.server.restart();
    (void)next(worker, Event::Kind::down);
    std::string text;
    for (int i = 0; i < 200 && text != "99"; ++i) // some come twice
        if (const auto message = worker.receive(20s))
            text = message->text();
    CHECK(text == "99");
}

TEST_CASE("a durable consumer that exists is used, whatever begin says")
{
    Scene scene;
    scene.publish(0, 10);
    const auto first = [&](nats::Begin begin) {
        NatsFeed worker{Nats::Options{.url = scene.server.url(),
                                      .consumer = nats::Consumer{.stream = "ORDERS",
                                                                 .durable = "worker",
                                                                 .begin = begin,
                                                                 .acknowledge_within = 500ms,
                                                                 .max_pending = 1}},
                        coming_back()};
        REQUIRE(worker.start(10s).has_value());
        return receive(worker, 1).front();
    };
    CHECK(first(nats::Begin::first) == 0);
    CHECK(first(nats::Begin::last) < 9);
}

TEST_CASE("what a stream does not take counts as unsent, and flush() tells")
{
    Scene scene;
    scene.publish(0, 10);
    CHECK(scene.admin.stats().unsent == 0);
    REQUIRE(
        scene.admin.send("x", SendOptions{.timeout = 1s, .topic = "nobody.takes.it"}).has_value());
    const auto flushed = scene.admin.flush(10s);
    REQUIRE_FALSE(flushed.has_value());
    const auto down = next(scene.admin, Event::Kind::down);
    CHECK(scene.admin.stats().unsent == 1);
    REQUIRE(down.failure.has_value());
    CHECK_MESSAGE(has(down.failure->message(), "no stream takes the subject"),
                  down.failure->message());
    (void)next(scene.admin, Event::Kind::up);
    scene.publish(10, 20);
    CHECK(has(ask(scene.admin, "STREAM.INFO.ORDERS"), "\"messages\":20"));
}

TEST_CASE("a message id lets the stream drop doubles")
{
    Scene scene;
    const Header id[]{{"Nats-Msg-Id", "order 7"}};
    for (int i = 0; i < 3; ++i)
        REQUIRE(
            scene.admin.send("7", SendOptions{.timeout = 1s, .topic = "orders.new", .headers = id})
                .has_value());
    REQUIRE(scene.admin.flush(10s).has_value());
    CHECK(has(ask(scene.admin, "STREAM.INFO.ORDERS"), "\"messages\":1"));
}

TEST_CASE("a consumer that cannot be ends the link with the server's words")
{
    Scene scene;
    NatsFeed feed{Nats::Options{.url = scene.server.url(),
                                .consumer = nats::Consumer{.stream = "NONE", .durable = "worker"}},
                  silenced({})};
    REQUIRE(feed.start(10s).has_value());
    const auto message = feed.receive(20s);
    REQUIRE_FALSE(message.has_value());
    CHECK(message.error() == Error::handshake_refused);
    CHECK_MESSAGE(has(message.error().message(), "stream not found"), message.error().message());
}

} // namespace jetstream_test
