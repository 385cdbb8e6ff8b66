// A server: its clients are links, broadcasts go to them, and each has a bounded outbox.
#include <sidecar/json.hpp>
#include <sidecar/server.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock_server.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace sidecar;
using namespace std::chrono_literals;
namespace asio = boost::asio;

namespace {

using Kind = Event::Kind;
using MockServer = Server<Mock>;
using Texts = std::vector<std::string>;

/// The part of a text before ':'.
std::optional<std::string_view> topic_of(const MessageView& message)
{
    const auto colon = message.text().find(':');
    if (colon == std::string_view::npos)
        return std::nullopt;
    return message.text().substr(0, colon);
}

/// Takes events up to the next of this kind.
Event next(Feed& feed, Kind kind)
{
    for (;;) {
        auto event = feed.next_event(1s);
        REQUIRE_MESSAGE(event, event.error().message());
        if (event->kind == kind)
            return *std::move(event);
    }
}

/// Takes events up to the `up` of a client.
Link next_client(Feed& feed)
{
    for (;;)
        if (const auto event = next(feed, Kind::up); event.client)
            return feed.link(event.link).value();
}

} // namespace

TEST_CASE("server: a client is a link that comes up, talks both ways and goes down")
{
    MockClients clients;
    MockServer server{{.clients = clients}};
    REQUIRE(server.start(1s));
    CHECK(clients.is_listening());
    CHECK(server.port() == 1);
    CHECK(server.state() == State::connected);
    CHECK(next(server, Kind::up).link == LinkId{0});

    auto peer = clients.connect({.peer = "192.0.2.7:5", .path = "/prices", .query = "a=b"});
    const auto up = next(server, Kind::up);
    REQUIRE(up.client);
    CHECK(up.client->peer == "192.0.2.7:5");
    CHECK(up.client->path == "/prices");
    CHECK(to_string(up) == "up (link 1, connection 1): from 192.0.2.7:5");
    CHECK(to_json(up).find(R"("peer":"192.0.2.7:5","path":"/prices")") != std::string::npos);
    CHECK(server.client_count() == 1);
    auto link = server.link(up.link).value();
    CHECK(link.connection_info().query == "a=b");

    peer.deliver("hello");
    const auto message = server.receive(1s).value();
    CHECK(message.link() == up.link);
    CHECK(message.text() == "hello");
    REQUIRE(link.send("welcome"));
    REQUIRE(link.flush(1s));
    CHECK(peer.sent() == Texts{"welcome"});

    peer.drop();
    const auto down = next(server, Kind::down);
    CHECK(down.link == up.link);
    CHECK(down.failure == Error::disconnected);
    CHECK(down.failure->will_retry()); // the server goes on
    CHECK(server.client_count() == 0);
    CHECK(down.client->peer == "192.0.2.7:5");
    CHECK(server.link(up.link).error() == Error::link_closed);
    CHECK(link.send("late").error() == Error::not_connected);
    const auto stats = server.stats();
    CHECK(stats.clients == 0);
    CHECK(stats.clients_accepted == 1);
    CHECK(stats.errors == 0);
    CHECK(server.receive({}).error() == Error::timed_out);
    CHECK(server.stop().clean());
}

TEST_CASE("server: clients that leave do not end receive() and poll()")
{
    MockClients clients;
    MockServer server{{.clients = clients}};
    REQUIRE(server.start(1s));
    for (int i = 0; i < 3; ++i) {
        auto peer = clients.connect();
        peer.deliver("x");
        peer.drop();
    }
    for (int i = 0; i < 3; ++i)
        CHECK(server.receive(1s).value().text() == "x");
    CHECK(server.receive(1s).error() == Error::timed_out);
    CHECK(server.poll([](const MessageView&) {}).value() == 0);
    CHECK(server.stats().clients_accepted == 3);
}

TEST_CASE("links: a first link that fails before another is there is an event then")
{
    MockPeer refusing;
    refusing.refuse_connect(asio::error::connection_refused);
    const MockClock clock;
    Sidecar<Mock> feed{{.peer = refusing, .clock = clock}};
    REQUIRE(feed.start_in_background());
    CHECK(feed.wait_started(1s).error() == Error::connect_failed);
    auto listener = feed.listen<Mock>({.clock = clock}, 1s);
    REQUIRE(listener);
    const auto event = next(feed, Kind::retry);
    CHECK(event.link == LinkId{0});
    CHECK(event.failure == Error::connect_failed);
    CHECK(event.failure->will_retry());
    CHECK(feed.next_event(1s)->kind == Kind::up);
}

TEST_CASE("server: a broadcast reaches all, a group, or those that a predicate names")
{
    MockClients clients;
    MockServer server{{.clients = clients}};
    REQUIRE(server.start(1s));
    std::vector<MockPeer> peers;
    std::vector<Link> links;
    for (int i = 0; i < 3; ++i) {
        peers.push_back(clients.connect());
        links.push_back(next_client(server));
    }
    REQUIRE(links[0].join("prices"));
    REQUIRE(links[0].join("prices"));
    REQUIRE(links[1].join("prices"));
    CHECK(server.broadcast("all").value() == 3);
    CHECK(server.broadcast("group", {.group = "prices"}).value() == 2);
    CHECK(server.broadcast("nobody", {.group = "news"}).value() == 0);
    const auto not_first = [&](LinkId id) { return id != links[0].id(); };
    CHECK(server.broadcast("others", {.to = not_first}).value() == 2);
    CHECK(server.broadcast("one", {.group = "prices", .to = not_first}).value() == 1);
    CHECK(links[1].leave("prices").value());
    CHECK_FALSE(links[1].leave("prices").value());
    CHECK(server.broadcast("left", {.group = "prices"}).value() == 1);
    REQUIRE(links[2].send("direct")); // in order with broadcasts
    CHECK(server.broadcast("end").value() == 3);
    for (auto& link : links)
        REQUIRE(link.flush(1s));
    CHECK(peers[0].sent() == Texts{"all", "group", "left", "end"});
    CHECK(peers[1].sent() == Texts{"all", "group", "others", "one", "end"});
    CHECK(peers[2].sent() == Texts{"all", "others", "direct", "end"});
    CHECK(server.stats().messages_sent == 13);
    CHECK(server.clients().size() == 3);

    // Those that went down are in no group
    peers[0].drop();
    (void)next(server, Kind::down);
    CHECK(server.broadcast("x", {.group = "prices"}).value() == 0);
    CHECK(links[0].join("prices").error() == Error::not_connected);
}

TEST_CASE("server: what is retained comes first, in order with broadcasts")
{
    MockClients clients;
    MockServer server{{.clients = clients}};
    REQUIRE(server.start(1s));
    REQUIRE(server.retain("a", "a1"));
    REQUIRE(server.retain("b", "b1"));
    REQUIRE(server.retain("a", "a2"));
    CHECK(server.broadcast("c1", {.retain_as = "c"}).value() == 0);
    CHECK(server.forget("b"));
    CHECK_FALSE(server.forget("b"));
    auto peer = clients.connect();
    auto link = next_client(server);
    CHECK(server.broadcast("later").value() == 1);
    REQUIRE(link.flush(1s));
    CHECK(peer.sent() == Texts{"a2", "c1", "later"});
    CHECK(server.retain("", "x").error() == Error::bad_options);
    CHECK(server.broadcast("x", {.group = "g", .retain_as = "k"}).error() == Error::bad_options);
}

TEST_CASE("server: a client that does not read gets what its policy leaves, and nobody waits")
{
    struct Row {
        const char* name;
        ClientOverflow overflow;
        Texts expected;
        std::uint64_t dropped, conflated;
    };
    const auto gap = [](std::uint64_t missing) { return "gap:" + std::to_string(missing); };
    // Room for four messages; the first is out when the others come
    const Row rows[] = {
        {"drop oldest", {}, {"a:0", "a:7", "b:8", "a:9"}, 6, 0},
        {"drop oldest, told", {.on_gap = gap}, {"a:0", "gap:6", "a:7", "b:8", "a:9"}, 6, 0},
        {"drop newest",
         {.policy = OverflowPolicy::drop_newest},
         {"a:0", "a:1", "b:2", "a:3"},
         6,
         0},
        {"drop newest, told",
         {.policy = OverflowPolicy::drop_newest, .on_gap = gap},
         {"a:0", "a:1", "b:2", "a:3", "gap:6"},
         6,
         0},
        {"conflate",
         {.policy = OverflowPolicy::conflate, .key = topic_of},
         {"a:0", "a:9", "b:8"},
         0,
         7},
    };
    for (const auto& row : rows) {
        CAPTURE(row.name);
        MockClients clients;
        MockServer server{{.clients = clients,
                           .outbox = {.bytes = 4096, .messages = 4},
                           .overflow = row.overflow}};
        REQUIRE(server.start(1s));
        auto slow = clients.connect();
        slow.hold_writes();
        auto slow_link = next_client(server);
        auto quick = clients.connect();
        auto quick_link = next_client(server);
        Texts all;
        for (int i = 0; i < 10; ++i) {
            all.push_back((i % 3 == 2 ? "b:" : "a:") + std::to_string(i));
            CHECK(server.broadcast(all.back()));
            REQUIRE(quick_link.flush(1s)); // the slow one has taken the first of them
        }
        CHECK(quick.sent() == all);
        const auto stats = slow_link.stats();
        CHECK(stats.unsent_dropped == row.dropped);
        CHECK(stats.unsent_conflated == row.conflated);
        CHECK(stats.messages_accepted == 10);
        slow.release_writes();
        REQUIRE(slow_link.flush(1s));
        slow.advance(0s);
        CHECK(slow.sent() == row.expected);
        const auto after = slow_link.stats();
        CHECK(after.messages_sent + after.unsent_dropped + after.unsent_conflated == 10);
        CHECK(after.unsent == row.dropped + row.conflated);
        CHECK(after.outbox_messages == 0);
        CHECK(server.stop().clean());
    }
}

TEST_CASE("server: with `fail`, a client that is full for too long is closed with 1013")
{
    MockClients clients;
    MockServer server{{.clients = clients,
                       .outbox = {.bytes = 4096, .messages = 1},
                       .overflow = {.policy = OverflowPolicy::fail, .fail_after = 2s}}};
    REQUIRE(server.start(1s));
    auto peer = clients.connect();
    peer.hold_writes();
    auto link = next_client(server);
    CHECK(server.broadcast("1").value() == 1);
    CHECK(server.broadcast("2").value() == 0);
    CHECK_FALSE(server.sleep_for(1s) == false);
    CHECK(server.broadcast("3").value() == 0);
    CHECK(link.is_up());
    CHECK(server.sleep_for(1s));
    CHECK(server.broadcast("4").value() == 0);
    const auto down = next(server, Kind::down);
    CHECK(down.failure == Error::overflow);
    REQUIRE(server.sleep_for(2s));
    CHECK(peer.connections()[0].close_code == 1013);
    CHECK(server.stats().clients_too_slow == 1);
    CHECK(server.stats().clients == 0);
}

TEST_CASE("server: a client that is too slow and answers no close is cut off after a second")
{
    MockClients clients;
    MockServer server{{.clients = clients,
                       .outbox = {.bytes = 4096, .messages = 1},
                       .overflow = {.policy = OverflowPolicy::fail, .fail_after = 0s}}};
    REQUIRE(server.start(1s));
    auto deaf = clients.connect();
    deaf.hold_writes();
    deaf.delay_close(Duration::max());
    const auto link = next_client(server);
    CHECK(server.broadcast("1").value() == 1);
    CHECK(server.sleep_for(1ms));
    CHECK(server.broadcast("2").value() == 0);
    const auto began = server.now();
    const auto down = next(server, Kind::down);
    CHECK(down.failure == Error::overflow);
    CHECK(down.link == link.id());
    CHECK(server.now() - began == 1s);
    CHECK(server.client_count() == 0);
    const auto stats = server.stats();
    CHECK(stats.clients_too_slow == 1);
    CHECK(stats.messages_sent == 0);
    CHECK(stats.messages_accepted == stats.unsent);
    CHECK(server.stop().clean());
}

TEST_CASE("server: a client that is refused makes no event, and is counted")
{
    MockClients clients;
    MockServer server{{.clients = clients, .handshake_timeout = 3s}};
    REQUIRE(server.start(1s));
    (void)next(server, Kind::up);
    MockPeer refused, mute;
    refused.refuse_connect(asio::error::access_denied);
    mute.delay_connect(Duration::max());
    clients.connect(refused);
    clients.connect(mute);
    CHECK(server.next_event(2s).error() == Error::timed_out);
    CHECK(server.stats().clients_refused == 1);
    CHECK(server.next_event(2s).error() == Error::timed_out); // its time is over
    CHECK(server.stats().clients_refused == 2);
    CHECK(server.stats().errors == 0);
    CHECK(server.client_count() == 0);
}

TEST_CASE("server: a stop accepts nobody, writes what is queued, and says 1001")
{
    MockClients clients;
    MockServer server{{.clients = clients}};
    REQUIRE(server.start(1s));
    auto good = clients.connect();
    (void)next_client(server);
    auto deaf = clients.connect();
    deaf.delay_close(Duration::max());
    (void)next_client(server);
    CHECK(server.broadcast("last").value() == 2);
    server.request_stop();
    const auto report = server.stop();
    CHECK(report.clean());
    CHECK(report.clients_closed == 1);
    CHECK(report.clients_cut == 1);
    CHECK(report.unsent_messages == 0);
    CHECK(good.sent() == Texts{"last"});
    CHECK(good.close_code() == 1001);
    CHECK_FALSE(clients.is_listening());
    CHECK(server.broadcast("late").error() == Error::stopped);
    REQUIRE(server.start(1s)); // and again
    auto other = clients.connect();
    (void)next_client(server);
    CHECK(server.stop({.code = 4000, .reason = "bye"}).clean());
    CHECK(other.close_code() == 4000);
}

TEST_CASE("server: why it cannot listen comes at once")
{
    MockClients clients;
    clients.refuse_bind(asio::error::access_denied);
    MockServer server{{.clients = clients}};
    const auto failed = server.start(1s);
    REQUIRE(failed.error() == Error::connect_failed);
    CHECK(failed.error().cause() == asio::error::access_denied);
    CHECK(failed.error().message().find("mock server") != std::string::npos);
    CHECK(server.broadcast("x").error() == Error::not_started);
    clients.allow_bind();
    REQUIRE(server.start(1s));
    MockServer second{{.clients = clients}};
    CHECK(second.start(1s).error().cause() == asio::error::address_in_use);
    clients.fail_accept(asio::error::no_descriptors);
    const auto down = next(server, Kind::down);
    CHECK(down.link == LinkId{0});
}

TEST_CASE("server: options and calls that make no sense")
{
    MockClients clients;
    const auto start = [&](Mock::Acceptor::Options options, Options settings = {}) {
        options.clients = clients;
        MockServer server{std::move(options), std::move(settings)};
        return server.start(1s);
    };
    CHECK(start({.overflow = {.policy = OverflowPolicy::pause_reading}}).error()
          == Error::bad_options);
    CHECK(start({.overflow = {.policy = OverflowPolicy::conflate}}).error() == Error::bad_options);
    CHECK(start({.overflow = {.key = topic_of}}).error() == Error::bad_options);
    CHECK(start({.overflow = {.fail_after = -1s}}).error() == Error::bad_options);
    CHECK(start({.handshake_timeout = 0s}).error() == Error::bad_options);
    CHECK(start({}, {.reconnect = Reconnect{}}).error() == Error::bad_options);
    CHECK(start({}, {.subscriptions = {{"key", "x"}}}).error() == Error::bad_options);

    MockServer server{{.clients = clients, .outbox = {.bytes = 4096}}};
    REQUIRE(server.start(1s));
    CHECK(server.send("x").error() == Error::misuse);
    CHECK(server.flush(1s).error() == Error::misuse);
    CHECK(server.subscribe("key", "x").error() == Error::misuse);
    CHECK(server.link().value().join("g").error() == Error::misuse);
    CHECK(server.broadcast(std::string(8192, 'x')).error() == Error::too_big);
    CHECK(server.link(LinkId{99}).error() == Error::link_closed);

    Sidecar<Mock> client{{}};
    REQUIRE(client.start(1s));
    CHECK(client.broadcast("x").error() == Error::misuse);
}

TEST_CASE("server: one feed receives and publishes; a listener closes alone")
{
    const MockClock clock;
    MockPeer source;
    MockClients clients;
    Sidecar<Mock> feed{{.peer = source, .clock = clock}};
    REQUIRE(feed.start(1s));
    auto listener = feed.listen<Mock>({.clients = clients, .clock = clock}, 1s).value();
    CHECK(listener.address() == "mock:1");
    auto viewer = clients.connect();
    auto link = next_client(feed);
    source.deliver("price");
    CHECK(listener.broadcast(feed.receive(1s).value()).value() == 1);
    REQUIRE(link.flush(1s));
    CHECK(viewer.sent() == Texts{"price"});
    CHECK(listener.stats().messages_sent == 1);
    REQUIRE(listener.close(1s));
    CHECK(viewer.close_code() == 1001);
    CHECK_FALSE(listener.is_up());
    CHECK(listener.client_count() == 0);
    CHECK(listener.broadcast("x").error() == Error::link_closed);
    source.deliver("still there");
    CHECK(feed.receive(1s).value().text() == "still there");
    auto again = feed.listen<Mock>({.clients = clients, .clock = clock}, 1s);
    CHECK(again);
    CHECK(feed.stop().clean());
}

TEST_CASE("server: on_connected of each client runs before its broadcasts, and limits apply")
{
    MockClients clients;
    MockServer server{{.clients = clients, .max_message_bytes = 8},
                      {.on_connected = [](Context, Session& session) -> Task<> {
                          co_await session.send("who?");
                          const auto answer = co_await session.receive();
                          if (answer.text() != "me")
                              session.refuse("nobody");
                      }}};
    REQUIRE(server.start(1s));
    auto peer = clients.connect();
    peer.deliver("me");
    auto link = next_client(server);
    CHECK(server.broadcast("hello").value() == 1);
    REQUIRE(link.flush(1s));
    CHECK(peer.sent() == Texts{"who?", "hello"});
    peer.deliver("123456789");
    CHECK(next(server, Kind::down).failure == Error::too_big);
}
