// JetStream without a server: what the transport asks for, and how it judges what comes.
#include "nats/jetstream.hpp"
#include "nats/jetstream_sink.hpp"
#include "support/own_context.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace jetstream_protocol_test {

using namespace sidecar;
using namespace sidecar::nats;
using namespace std::chrono_literals;

constexpr TimePoint start{1h};

bool has(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

std::string reply(std::uint64_t stream_sequence, std::uint64_t consumer_sequence,
                  std::uint64_t delivered = 1)
{
    return "$JS.ACK.ORDERS.worker." + std::to_string(delivered) + "."
           + std::to_string(stream_sequence) + "." + std::to_string(consumer_sequence)
           + ".1700000000000000001.3";
}

TEST_CASE("a reply subject gives the facts of the delivery")
{
    const auto subject = reply(7, 5, 2);
    const auto facts = parse_delivery(subject);
    REQUIRE(facts.has_value());
    CHECK(facts->stream == "ORDERS");
    CHECK(facts->consumer == "worker");
    CHECK(facts->delivered == 2);
    CHECK(facts->stream_sequence == 7);
    CHECK(facts->consumer_sequence == 5);
    CHECK(facts->stored.time_since_epoch() == 1'700'000'000'000'000'001ns);
    CHECK(facts->pending == 3);
    const auto newer = parse_delivery("$JS.ACK.hub.Zx8.ORDERS.worker.1.7.5.1700.3.random");
    REQUIRE(newer.has_value());
    CHECK(newer->stream == "ORDERS");
    CHECK(newer->stream_sequence == 7);
    for (const auto* other :
         {"", "_INBOX.1", "$JS.ACK.", "$JS.ACK.s.c.1.2.3.4", "$JS.ACK.s.c.1.2.3.4.x",
          "$JS.ACK.s.c.1.2.3.4.5.6", "$JS.ACK.s.c.1.-2.3.4.5", "$JS.ACK.s.c.1..3.4.5",
          "$JS.ACK.s.c.1.99999999999999999999.3.4.5"})
        CHECK_FALSE_MESSAGE(parse_delivery(other).has_value(), other);
}

TEST_CASE("consumers that make no sense are refused")
{
    CHECK(validate(Consumer{.stream = "S"}).has_value());
    CHECK(validate(Consumer{.stream = "S", .durable = "d", .filter = "a.>"}).has_value());
    for (const auto& bad :
         {Consumer{}, Consumer{.stream = "a.b"}, Consumer{.stream = "a b"},
          Consumer{.stream = "S", .durable = "a*"}, Consumer{.stream = "S", .filter = "a..b"},
          Consumer{.stream = "S", .begin = Begin::sequence}, Consumer{.stream = "S", .sequence = 1},
          Consumer{.stream = "S", .max_pending = 0},
          Consumer{.stream = "S", .durable = "d", .acknowledge_within = 0s},
          Consumer{.stream = "S", .acknowledge_by_hand = true}})
        CHECK(validate(bad).error() == Error::bad_options);
}

/// A puller, and what it has sent.
struct Scene {
    explicit Scene(Consumer consumer) : puller{std::move(consumer), position.state(), "box."}
    {
        puller.begin(sent, start);
    }
    void answer(std::string_view payload, std::vector<Header> headers = {}, TimePoint at = start)
    {
        sent.clear();
        puller.answered(sent, {.topic = "box.made", .headers = headers},
                        std::as_bytes(std::span{payload}), at);
    }
    void put(std::uint64_t sequence)
    {
        sent.clear();
        puller.put(sent, *parse_delivery(reply(sequence, sequence)), start);
    }
    void tick(Duration after)
    {
        sent.clear();
        puller.tick(sent, start + after);
    }
    Position position;
    Puller puller;
    std::string sent;
};

TEST_CASE("a consumer is made, and then asked for messages as they are taken")
{
    Scene scene{{.stream = "ORDERS", .durable = "worker", .filter = "a.>", .max_pending = 4}};
    CHECK(scene.sent == "PUB $JS.API.CONSUMER.INFO.ORDERS.worker box.made 0\r\n\r\n");
    scene.answer(R"({"error":{"code":404,"err_code":10014,"description":"consumer not found"}})");
    CHECK(has(scene.sent, "PUB $JS.API.CONSUMER.DURABLE.CREATE.ORDERS.worker box.made "));
    CHECK(has(scene.sent, R"("filter_subject":"a.>")"));
    CHECK(has(scene.sent, R"("max_ack_pending":4)"));
    scene.answer(R"({"name":"worker"})");
    CHECK(has(scene.sent, "PUB $JS.API.CONSUMER.MSG.NEXT.ORDERS.worker box.next "));
    CHECK(has(scene.sent, R"("batch":4)"));
    scene.put(1);
    CHECK(scene.sent.empty());
    scene.put(2);
    CHECK(has(scene.sent, R"("batch":2)"));
    scene.put(3);
    CHECK(scene.sent.empty());
}

TEST_CASE("the server's words about a request")
{
    Scene scene{{.stream = "ORDERS", .durable = "worker", .max_pending = 4}};
    scene.answer(R"({"name":"worker"})");
    const auto status = [&](const char* code, std::vector<Header> more = {}) {
        more.insert(more.begin(), {"Status", code});
        scene.answer("", more);
    };
    SUBCASE("it lives")
    {
        status("100");
        CHECK(scene.sent.empty());
    }
    SUBCASE("the request is over")
    {
        status("408", {{"Nats-Pending-Messages", "3"}});
        CHECK(has(scene.sent, R"("batch":3)"));
        status("408");
        CHECK(has(scene.sent, R"("batch":4)"));
    }
    SUBCASE("no leader: it is asked again at the next tick")
    {
        for (const auto* code : {"409", "503"}) {
            status(code, {{"Description", "Leadership Change"}});
            CHECK(scene.sent.empty());
            scene.tick(1s);
            CHECK(has(scene.sent, R"("batch":4)"));
        }
    }
    SUBCASE("the consumer is gone")
    {
        CHECK_THROWS_AS(status("409", {{"Description", "Consumer Deleted"}}), Exception);
        Scene ordered{{.stream = "ORDERS"}};
        ordered.answer(R"({"name":"x"})");
        ordered.put(7);
        ordered.answer("", {{"Status", "409"}, {"Description", "Consumer Deleted"}});
        CHECK(has(ordered.sent, "CONSUMER.CREATE.ORDERS"));
        CHECK(has(ordered.sent, R"("opt_start_seq":8)"));
    }
    SUBCASE("silence")
    {
        scene.tick(5s);
        CHECK(scene.sent.empty());
        scene.tick(7s);
        CHECK(has(scene.sent, "CONSUMER.INFO"));
    }
}

TEST_CASE("a durable consumer that exists is used as it is, unless it is of another kind")
{
    Scene scene{{.stream = "ORDERS", .durable = "worker", .begin = Begin::next}};
    scene.answer(R"({"name":"worker","config":{"ack_policy":"explicit","max_ack_pending":7}})");
    CHECK(has(scene.sent, "MSG.NEXT.ORDERS.worker"));
    for (const auto* config : {R"({"ack_policy":"none"})", R"({"ack_policy":"all"})",
                               R"({"ack_policy":"explicit","deliver_subject":"x"})"}) {
        Scene other{{.stream = "ORDERS", .durable = "worker"}};
        const auto json = R"({"name":"worker","config":)" + std::string{config} + "}";
        CHECK_THROWS_AS(other.answer(json), Exception);
    }
}

TEST_CASE("an ordered consumer without a message begins again where it began")
{
    Scene scene{{.stream = "ORDERS", .begin = Begin::next}};
    CHECK(has(scene.sent, R"("deliver_policy":"new")"));
    scene.answer(R"({"name":"x","delivered":{"consumer_seq":0,"stream_seq":41}})");
    scene.answer("", {{"Status", "409"}, {"Description", "Consumer Deleted"}});
    CHECK(has(scene.sent, R"("opt_start_seq":42)"));
    Scene empty{{.stream = "ORDERS", .begin = Begin::next}};
    empty.answer(R"({"name":"x","delivered":{"consumer_seq":0,"stream_seq":0}})");
    empty.answer("", {{"Status", "409"}, {"Description", "Consumer Deleted"}});
    CHECK(has(empty.sent, R"("opt_start_seq":1)"));
}

TEST_CASE("requests that nobody answers: for a while, then the link says so")
{
    Scene scene{{.stream = "ORDERS", .durable = "worker"}};
    scene.answer("", {{"Status", "503"}}, start + 9s);
    CHECK_THROWS_AS(scene.answer("", {{"Status", "503"}}, start + 11s), Exception);
    // One that was made and is gone is made again: such an answer is no sign of life
    Scene gone{{.stream = "ORDERS"}};
    gone.answer(R"({"name":"x"})");
    for (int second = 1; second < 7; ++second) {
        gone.answer("", {{"Status", "503"}}, start + second * 1s);
        gone.tick(second * 1s);
        CHECK(has(gone.sent, "MSG.NEXT"));
    }
    gone.tick(7s);
    CHECK(has(gone.sent, "CONSUMER.CREATE"));
    for (const auto* what : {"Consumer is push based", "Exceeded MaxRequestBatch of 10"}) {
        Scene wrong{{.stream = "ORDERS", .durable = "worker"}};
        wrong.answer(R"({"name":"worker"})");
        CHECK_THROWS_AS(wrong.answer("", {{"Status", "409"}, {"Description", what}}), Exception);
    }
}

TEST_CASE("a consumer that the server does not make, or answers with nonsense")
{
    for (const auto* json : {R"({"error":{"code":404,"description":"stream not found"}})",
                             "no json", "{}", "[]", ""}) {
        Scene scene{{.stream = "ORDERS", .durable = "worker"}};
        CHECK_THROWS_AS(scene.answer(json), Exception);
    }
    Scene scene{{.stream = "ORDERS", .durable = "worker"}};
    scene.tick(1s);
    CHECK(scene.sent.empty());
    scene.tick(2s);
    CHECK(has(scene.sent, "CONSUMER.INFO")); // no answer came
}

/// Takes messages and gaps, or refuses.
struct Taken final : Sink {
    bool put(MessageKind, std::span<const std::byte> payload) override
    {
        if (refuses)
            return false;
        const MessageView view{{}, MessageKind::text, payload};
        words.push_back(std::string{view.text()});
        return true;
    }
    bool put_envelope(MessageKind kind, std::span<const std::byte> payload,
                      const Envelope& envelope) override
    {
        last_acknowledgement = envelope.acknowledgement;
        return put(kind, payload);
    }
    void put_gap(std::uint64_t missing) override
    {
        words.push_back("gap " + std::to_string(missing));
    }
    std::vector<std::string> words;
    std::string last_acknowledgement;
    bool refuses = false;
};

TEST_CASE("an ordered consumer's gaps are exact, and told once, also if the sink refuses")
{
    OwnContext own;
    const Context ctx{own, TimePoint::max()};
    Position position;
    const auto deliver = [&](Taken& to, Puller& puller, std::uint64_t stream_sequence,
                             std::uint64_t consumer_sequence) {
        std::string out;
        JetStreamSink sink{to, &puller, nullptr, out, ctx};
        const auto subject = reply(stream_sequence, consumer_sequence);
        const auto text = std::to_string(stream_sequence);
        return sink.put_envelope(MessageKind::binary, std::as_bytes(std::span{text}),
                                 {.topic = "orders", .reply_to = subject});
    };
    const auto make = [](Puller& puller, const char* name) {
        std::string out;
        const auto json = R"({"name":")" + std::string{name} + "\"}";
        puller.answered(out, {.topic = "box.made"}, std::as_bytes(std::span{json}), start);
    };
    Taken taken;
    {
        Puller puller{{.stream = "ORDERS"}, position.state(), "box."};
        make(puller, "worker");
        CHECK(deliver(taken, puller, 5, 1)); // the stream begins there
        CHECK(deliver(taken, puller, 9, 2)); // what is between was never for this consumer
        taken.refuses = true;
        CHECK_FALSE(deliver(taken, puller, 12, 5));
        CHECK_FALSE(deliver(taken, puller, 12, 5));
        taken.refuses = false;
        CHECK(deliver(taken, puller, 12, 5));
        CHECK(taken.last_acknowledgement.empty());
    }
    CHECK(taken.words == std::vector<std::string>{"5", "9", "gap 2", "12"});
    taken.words.clear();
    { // the next connection
        Puller puller{{.stream = "ORDERS"}, position.state(), "box."};
        std::string out;
        puller.begin(out, start);
        CHECK(has(out, R"("opt_start_seq":13)"));
        make(puller, "worker");
        taken.refuses = true;
        CHECK_FALSE(deliver(taken, puller, 20, 1));
        taken.refuses = false;
        CHECK(deliver(taken, puller, 20, 1));
        CHECK(deliver(taken, puller, 21, 2));
    }
    CHECK(taken.words == std::vector<std::string>{"gap 7", "20", "21"});
    // A durable consumer has no gaps: its sequence counts redeliveries too
    taken.words.clear();
    Puller durable{{.stream = "ORDERS", .durable = "worker"}, Position{}.state(), "box."};
    make(durable, "worker");
    CHECK(deliver(taken, durable, 3, 4));
    CHECK(taken.last_acknowledgement == "+ACK");
    CHECK(deliver(taken, durable, 1, 9));
    CHECK(taken.words == std::vector<std::string>{"3", "1"});

    // A consumer that was replaced still delivers; and any client can write such a reply
    taken.words.clear();
    Puller again{{.stream = "ORDERS"}, Position{}.state(), "box."};
    make(again, "worker");
    CHECK(deliver(taken, again, 1, 1));
    std::string out;
    again.begin(out, start);
    CHECK(deliver(taken, again, 2, 2));
    make(again, "second");
    CHECK(deliver(taken, again, 3, 3));
    CHECK(taken.words == std::vector<std::string>{"1"});
    Puller stranger{{.stream = "OTHER", .durable = "worker"}, Position{}.state(), "box."};
    make(stranger, "worker");
    taken.last_acknowledgement.clear();
    CHECK(deliver(taken, stranger, 99, 99));
    CHECK(taken.words == std::vector<std::string>{"1", "99"});
    CHECK(taken.last_acknowledgement.empty());
}

TEST_CASE("publications are confirmed in any order, and counted in theirs")
{
    Publications publications{"box."};
    const auto confirm = [&](const char* topic, std::string_view json,
                             std::vector<Header> headers = {}) {
        publications.answered({.topic = topic, .headers = headers}, std::as_bytes(std::span{json}));
    };
    CHECK(publications.add(true) == "box.0");
    CHECK(publications.add(true) == "box.1");
    CHECK(publications.add(false).empty());
    CHECK(publications.add(true) == "box.3");
    constexpr auto fine = R"({"stream":"S","seq":1})";
    confirm("box.1", fine);
    CHECK(publications.take_acknowledged().count == 0);
    confirm("box.0", fine);
    CHECK(publications.take_acknowledged().count == 3);
    for (const auto* strange : {"box.0", "box.9", "box.", "box.x", "box.99999999999999999999"})
        confirm(strange, fine);
    CHECK_FALSE(publications.empty());
    confirm("box.3", fine);
    CHECK(publications.take_acknowledged().count == 1);
    CHECK(publications.empty());
}

TEST_CASE("a refused publication is told in its turn")
{
    for (const auto* what : {"error", "503"}) {
        Publications publications{"box."};
        const auto answer = [&](const char* topic, std::string_view json,
                                std::vector<Header> headers = {}) {
            publications.answered({.topic = topic, .headers = headers},
                                  std::as_bytes(std::span{json}));
        };
        for (int i = 0; i < 3; ++i)
            (void)publications.add(true);
        if (what == std::string_view{"error"})
            answer("box.1", R"({"error":{"code":500,"description":"no room"}})");
        else
            answer("box.1", "", {{"Status", "503"}});
        for (const auto* of_somebody : {"17.25", "what", "{}", R"({"stream":"S"})", "[1]", ""})
            answer("box.2", of_somebody); // no stream: it may still answer
        auto taken = publications.take_acknowledged();
        CHECK(taken.count == 0);
        CHECK_FALSE(taken.refusal.has_value());
        answer("box.0", R"({"stream":"S","seq":1})");
        taken = publications.take_acknowledged();
        CHECK(taken.count == 1);
        REQUIRE(taken.refusal.has_value());
        CHECK(*taken.refusal == Error::handshake_refused);
    }
}

} // namespace jetstream_protocol_test
