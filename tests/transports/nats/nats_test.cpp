// Nats against real servers: messages, queue groups, requests, a server that is killed.
#include "support/nats_server.hpp"
#include "support/silent_options.hpp"

#include <sidecar/format.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/nats.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <set>
#include <string>
#include <thread>

using namespace sidecar;
using namespace std::chrono_literals;

namespace nats_test {

/// A client that has subscribed. The server has the subscriptions when it is made.
struct Client {
    explicit Client(const NatsServer& server, Nats::Options options = {}, Options rest = {})
        : Client{server.url(), std::move(options), std::move(rest)}
    {
    }
    Client(const std::string& url, Nats::Options options = {}, Options rest = {})
        : feed{with_url(std::move(options), url), silenced(std::move(rest))}
    {
        feed.start(10s).value();
        sync();
    }
    /// Returns when the server has all that was sent before.
    void sync() { CHECK(feed.request("$SYS.nobody", "", 10s) == Error::no_responders); }
    static Nats::Options with_url(Nats::Options options, const std::string& url)
    {
        options.url = url;
        return options;
    }
    Sidecar<Nats> feed;
};

std::string text_of(const Result<Message>& message)
{
    return message ? fmt::format("{} {}", message->topic(), message->text())
                   : message.error().message();
}

TEST_CASE("nats: messages go both ways, with subject, reply and headers")
{
    NatsServer server;
    Client a{server, {.subscriptions = {{"prices.*"}, {"done"}}}};
    Client b{server};
    const Header headers[]{{"Trace", "7"}, {"Trace", "8"}};
    for (const std::size_t size : {0, 1, 100, 5000, 40'000, 1'000'000}) {
        const std::string payload(size, 'x');
        REQUIRE(
            b.feed.send(payload, {.topic = "prices.ACME", .reply_to = "me.1", .headers = headers}));
        const auto message = a.feed.receive(10s).value();
        CHECK(message.topic() == "prices.ACME");
        CHECK(message.reply_to() == "me.1");
        CHECK(message.header("trace") == "7");
        CHECK(message.text() == payload);
        CHECK(message.kind() == MessageKind::binary);
    }
    REQUIRE(b.feed.send("", {.topic = "other"}));
    REQUIRE(b.feed.send("", {.topic = "done"}));
    CHECK(text_of(a.feed.receive(10s)) == "done ");
    CHECK(a.feed.stop().clean());
    CHECK(b.feed.stop().clean());
}

TEST_CASE("nats: a link hears itself, unless echo is off; the URL's subject is the default")
{
    NatsServer server;
    Client loud{server.url() + "/news", {.subscriptions = {{"news"}}}};
    REQUIRE(loud.feed.send("1"));
    CHECK(text_of(loud.feed.receive(10s)) == "news 1");
    Client quiet{server, {.subject = "news", .subscriptions = {{"news"}}, .echo = false}};
    REQUIRE(quiet.feed.send("2"));
    CHECK(text_of(loud.feed.receive(10s)) == "news 2");
    REQUIRE(loud.feed.send("3"));
    CHECK(text_of(quiet.feed.receive(10s)) == "news 3");
}

TEST_CASE("nats: of a queue group each message goes to one")
{
    NatsServer server;
    std::vector<std::unique_ptr<Client>> workers;
    for (int i = 0; i < 3; ++i)
        workers.push_back(std::make_unique<Client>(
            server, Nats::Options{.subscriptions = {{"work", "workers"}, {"done"}}}));
    Client sender{server};
    constexpr int count = 300;
    for (int i = 0; i < count; ++i)
        REQUIRE(sender.feed.send(std::to_string(i), {.timeout = 10s, .topic = "work"}));
    REQUIRE(sender.feed.send("", {.timeout = 10s, .topic = "done"}));
    std::set<std::string> seen;
    std::size_t received = 0;
    for (auto& worker : workers) {
        std::size_t its = 0;
        for (auto message = worker->feed.receive(10s).value(); message.topic() == "work";
             message = worker->feed.receive(10s).value()) {
            seen.emplace(message.text());
            ++its;
        }
        CHECK(its > 0);
        received += its;
    }
    CHECK(received == count);
    CHECK(seen.size() == count);
}

TEST_CASE("nats: a request is answered, and without responders it fails at once")
{
    NatsServer server;
    Client service{server, {.subscriptions = {{"double"}}}};
    std::thread worker{[&] {
        while (const auto message = service.feed.receive(10s))
            (void)service.feed.send(fmt::format("{0}{0}", message->text()),
                                    {.timeout = 1s, .topic = message->reply_to()});
    }};
    Client client{server};
    for (int i = 0; i < 100; ++i)
        CHECK(client.feed.request("double", std::to_string(i), 10s).value().text()
              == fmt::format("{0}{0}", i));
    const auto began = std::chrono::steady_clock::now();
    CHECK(client.feed.request("nobody", "x", 10s) == Error::no_responders);
    CHECK(std::chrono::steady_clock::now() - began < 5s);
    service.feed.stop();
    worker.join();
}

TEST_CASE("nats: subscriptions at run time, with a number of messages, and their end")
{
    NatsServer server;
    Client client{server};
    REQUIRE(nats::subscribe(client.feed, "a.>"));
    REQUIRE(nats::subscribe(client.feed, "b", {.max_messages = 2}));
    REQUIRE(client.feed.send("1", {.topic = "a.x"}));
    CHECK(text_of(client.feed.receive(10s)) == "a.x 1");
    for (int i = 0; i < 4; ++i)
        REQUIRE(client.feed.send(std::to_string(i), {.topic = "b"}));
    CHECK(nats::unsubscribe(client.feed, "a.>").value());
    CHECK(!nats::unsubscribe(client.feed, "none").value());
    REQUIRE(client.feed.send("2", {.topic = "a.x"}));
    REQUIRE(nats::subscribe(client.feed, "c"));
    REQUIRE(client.feed.send("3", {.topic = "c"}));
    CHECK(text_of(client.feed.receive(10s)) == "b 0");
    CHECK(text_of(client.feed.receive(10s)) == "b 1");
    CHECK(text_of(client.feed.receive(10s)) == "c 3");
    CHECK(nats::subscribe(client.feed, "not a subject") == Error::bad_message);
}

TEST_CASE(
    "nats: after a kill the link connects again, subscribes again, and says that a gap is possible")
{
    NatsServer server;
    Client sender{server, {}, {.reconnect = Reconnect{.window = 1ms, .max_window = 20ms}}};
    Client client{server,
                  {.subscriptions = {{"a"}}},
                  {.reconnect = Reconnect{.window = 1ms, .max_window = 20ms},
                   .subscriptions = {nats::subscription("b")}}};
    const auto wait_for = [](Client& of, Event::Kind kind) {
        for (;;)
            if (auto event = of.feed.next_event(10s); !event || event->kind == kind)
                return event;
    };
    CHECK(wait_for(client, Event::Kind::up).value().continuity == Continuity::first);
    server.restart();
    CHECK(wait_for(client, Event::Kind::up).value().continuity == Continuity::unknown);
    CHECK(wait_for(sender, Event::Kind::up));
    CHECK(wait_for(sender, Event::Kind::up));
    client.sync();
    REQUIRE(sender.feed.send("1", {.topic = "a"}));
    REQUIRE(sender.feed.send("2", {.topic = "b"}));
    CHECK(text_of(client.feed.receive(10s)) == "a 1");
    CHECK(text_of(client.feed.receive(10s)) == "b 2");
}

TEST_CASE("nats: what is larger than the server takes is refused by send()")
{
    NatsServer server{"max_payload: 1000"};
    Client client{server, {.subject = "x", .subscriptions = {{"x"}}}};
    CHECK(client.feed.send(std::string(1001, 'x')) == Error::too_big);
    REQUIRE(client.feed.send(std::string(1000, 'x')));
    CHECK(client.feed.receive(10s).value().size() == 1000);
}

TEST_CASE("nats: names of the server are facts of the connection")
{
    NatsServer server;
    Client client{server};
    const auto facts = client.feed.link().value().connection_info();
    CHECK(facts.peer == server.address());
    CHECK(facts.header("server_name") == "alone");
    CHECK(facts.header("nonce").empty());
    CHECK(facts.max_send_bytes == 1u << 20);
}

} // namespace nats_test
