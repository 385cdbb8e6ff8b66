// What a real server refuses, or ends a connection for.
#include "nats_feed.hpp"
#include "support/sanitized.hpp"

namespace nats_limits_test {

using namespace nats_tests;

TEST_CASE("NATS: send() refuses what is larger than the server takes, and the link stays up")
{
    const NatsServer server{"max_payload: 1KB"};
    NatsFeed feed{{.url = server.url()}, silent_options()};
    REQUIRE(feed.start(20s).has_value());
    CHECK(feed.link().value().connection_info().max_send_bytes == 1024);
    const auto sent = feed.send(std::string(1025, 'x'), SendOptions{.topic = "a"});
    REQUIRE_FALSE(sent.has_value());
    CHECK(sent.error() == Error::too_big);
    REQUIRE(nats::subscribe(feed, "a").has_value());
    REQUIRE(feed.send(std::string(1024, 'x'), SendOptions{.topic = "a"}).has_value());
    CHECK(text_of(feed.receive(20s)).size() == 1024);
    const Header header{"Name", std::string_view{"value"}};
    CHECK_FALSE(
        feed.send(std::string(1024, 'x'), SendOptions{.topic = "a", .headers = {&header, 1}}));
    wait_for_echo(feed);
}

TEST_CASE("NATS: a queued message that is too large for the next server ends the link with too_big")
{
    NatsServer server;
    NatsFeed feed{{.url = server.url()}, coming_back({.on_disconnect = OnDisconnect::keep})};
    REQUIRE(feed.start(20s).has_value());
    server.kill();
    (void)next(feed, Event::Kind::down);
    REQUIRE(feed.send(std::string(2000, 'x'), SendOptions{.topic = "a"}).has_value());
    server.restart("max_payload: 1KB");
    (void)next(feed, Event::Kind::up);
    const auto down = next(feed, Event::Kind::down);
    CHECK(*down.failure == Error::too_big);
    CHECK_FALSE(down.failure->will_retry());
}

TEST_CASE("NATS: what permissions forbid is logged, and the link goes on")
{
    const NatsServer server{R"(authorization { users: [ { user: me, password: sesame,
        permissions: { publish: { deny: "secret.>" }, subscribe: { deny: "secret.>" } } } ] })"};
    const Log log;
    NatsFeed feed{{.url = server.url(), .user = "me", .password = "sesame"}, log.options()};
    REQUIRE(feed.start(20s).has_value());
    REQUIRE(nats::subscribe(feed, "secret.in").has_value());
    REQUIRE(feed.send("x", SendOptions{.topic = "secret.out"}).has_value());
    wait_for_echo(feed);
    const auto text = log.text();
    CHECK(text.find("Permissions Violation for Subscription to \"secret.in\"") != text.npos);
    CHECK(text.find("Permissions Violation for Publish to \"secret.out\"") != text.npos);
    CHECK(feed.stats().connections == 1);
}

TEST_CASE("NATS: a link that does not take its messages is cut as a slow consumer, and comes back")
{
    const NatsServer server{"write_deadline: \"500ms\"\nmax_pending: 1MB"};
    auto options = coming_back();
    options.inbox = {.bytes = 1u << 20};
    NatsFeed slow{{.url = server.url(),
                   .subscriptions = {{.subject = "a"}},
                   .max_message_bytes = 64u << 10,
                   .socket = {.receive_buffer_bytes = 64u << 10}},
                  std::move(options)};
    NatsFeed fast{{.url = server.url()}, silent_options()};
    REQUIRE(slow.start(20s).has_value());
    REQUIRE(fast.start(20s).has_value());
    const std::string payload(32u << 10, 'x');
    for (int i = 0; i < 2000 && server.log().find("Slow Consumer") == std::string::npos; ++i)
        REQUIRE(fast.send(payload, SendOptions{.timeout = 20s, .topic = "a"}).has_value());
    CHECK(server.log().find("Slow Consumer") != std::string::npos);
    const auto down = next(slow, Event::Kind::down);
    CHECK(down.failure->will_retry());
    CHECK(next(slow, Event::Kind::up).continuity == Continuity::unknown);
    wait_for_echo(slow);
}

TEST_CASE("NATS: a stale connection heals")
{
    NatsServer server{"debug: true\nping_interval: \"50ms\"\nping_max: 1"};
    auto options = coming_back();
    options.inbox = {.bytes = 256u << 10};
    NatsFeed feed{
        {.url = server.url(), .subscriptions = {{.subject = "a"}}, .max_message_bytes = 16u << 10},
        std::move(options)};
    REQUIRE(feed.start(20s).has_value());
    (void)next(feed, Event::Kind::up);
    // A full inbox pauses reading, so the server's PING waits behind the messages
    for (int i = 0; i < 100; ++i)
        REQUIRE(feed.send(std::string(8u << 10, 'x'), SendOptions{.timeout = 20s, .topic = "a"}));
    server.wait_for_log("Stale Client Connection");
    CHECK(next(feed, Event::Kind::down).failure->will_retry());
    CHECK(next(feed, Event::Kind::up).continuity == Continuity::unknown);
}

TEST_CASE("NATS: a server with too many connections is tried again until it has room")
{
    const NatsServer server{"max_connections: 1"};
    // The helper's look whether the server answers may still count
    NatsFeed first{{.url = server.url()}, coming_back({.at_start = true})};
    REQUIRE(first.start(20s).has_value());
    NatsFeed second{{.url = server.url()}, coming_back({.at_start = true})};
    const auto refused = second.start(300ms);
    REQUIRE_FALSE(refused.has_value());
    CHECK(to_string(second.errors()).find("maximum connections exceeded") != std::string::npos);
    CHECK(first.stop().joined);
    CHECK(second.start(20s).has_value());
}

TEST_CASE("NATS: a paused server is unresponsive, and the link is up again when it goes on")
{
    NatsServer server;
    auto options = coming_back({.connect_timeout = 500ms});
    options.ping_interval = 100ms;
    options.ping_timeout = is_sanitized ? 2s : 200ms;
    NatsFeed feed{{.url = server.url()}, std::move(options)};
    REQUIRE(feed.start(20s).has_value());
    server.pause();
    CHECK(*next(feed, Event::Kind::down).failure == Error::unresponsive);
    (void)next(feed, Event::Kind::retry);
    server.resume();
    (void)next(feed, Event::Kind::up);
    wait_for_echo(feed);
}

TEST_CASE("NATS: a server that is killed and started again gets the subscriptions again")
{
    NatsServer server;
    NatsFeed feed{{.url = server.url(), .subscriptions = {{.subject = "a.>"}}}, coming_back()};
    REQUIRE(feed.start(20s).has_value());
    REQUIRE(nats::subscribe(feed, "b", {.queue = "workers"}).has_value());
    (void)next(feed, Event::Kind::up);
    server.kill();
    CHECK(next(feed, Event::Kind::down).failure->will_retry());
    server.restart();
    CHECK(next(feed, Event::Kind::up).continuity == Continuity::unknown);
    for (const char* topic : {"a.1", "b"}) {
        REQUIRE(feed.send(topic, SendOptions{.timeout = 10s, .topic = topic}).has_value());
        CHECK(text_of(feed.receive(20s)) == topic);
    }
}

} // namespace nats_limits_test
