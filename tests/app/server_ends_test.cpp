// A server's ends: many clients, closes beside clients that come, code of the application that calls
// back, and programs that take no events.
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"

#include <sidecar/server.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock_server.hpp>

#include <doctest/doctest.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace server_ends_test {

using namespace sidecar;
using namespace std::chrono_literals;

using Kind = Event::Kind;
using MockServer = Server<Mock>;
using Texts = std::vector<std::string>;

Link next_client(Feed& feed)
{
    for (;;) {
        const auto event = feed.next_event(1s);
        REQUIRE(event);
        if (event->kind == Kind::up && event->client)
            return feed.link(event->link).value();
    }
}

std::size_t bytes_in_use() { return ::mallinfo2().uordblks; }

TEST_CASE("server: an idle client costs few bytes, and 10,000 stop within the total")
{
    // For a machine that does much else; without optimization a coroutine's frame is twice as large
    constexpr StopBudget budget{.total = 30s, .drain = 10s, .close = 10s};
    constexpr std::size_t count = is_sanitized ? 500 : 10'000;
    MockClients clients;
    MockServer server{{.clients = clients}, silenced({.stop = budget})};
    REQUIRE(server.start(1s));
    std::vector<MockPeer> peers(count);
    for (auto& peer : peers)
        clients.connect(peer);
    const auto before = bytes_in_use();
    (void)server.sleep_for(1s);
    REQUIRE(server.client_count() == count);
    while (server.next_event({})) {
    }
    const auto each = (bytes_in_use() - before) / count; // with the mock's own
    if (!is_sanitized)
        CHECK(each <= 9'500);
    CHECK(server.broadcast("last").value() == count);
    const auto report = server.stop();
    CHECK(report.clean());
    CHECK(report.total <= budget.total);
    CHECK(report.clients_closed == count);
    CHECK(report.unsent_messages == 0);
    CHECK(std::all_of(peers.begin(), peers.end(), [](const auto& peer) {
        return peer.close_code() == 1001 && peer.sent() == Texts{"last"};
    }));
    CHECK(server.stats().clients == 0);
}

TEST_CASE("server: clients that come and go unseen are forgotten, and the others stay in order")
{
    constexpr int count = 6000;
    MockClients clients;
    MockServer server{{.clients = clients}, silenced({})};
    REQUIRE(server.start(1s));
    for (int i = 0; i < count; ++i) {
        auto peer = clients.connect();
        (void)server.sleep_for(1ms);
        peer.drop();
    }
    auto last = clients.connect();
    (void)server.sleep_for(1ms);
    CHECK(server.stats().clients_accepted == count + 1);
    std::set<LinkId> up;
    std::size_t ups = 0;
    while (const auto event = server.next_event({})) {
        if (event->kind == Kind::up && event->client) {
            CHECK(up.insert(event->link).second);
            ++ups;
        } else if (event->kind == Kind::down)
            CHECK(up.erase(event->link) == 1);
    }
    CHECK(up.size() == 1); // the last one
    CHECK(ups > 4000);
    CHECK(ups < 4200);
}

TEST_CASE("server: the close of a listener also closes clients that are on their way")
{
    MockClients clients;
    MockServer server{{.clients = clients, .handshake_timeout = 10s}, silenced({})};
    REQUIRE(server.start(1s));
    auto there = clients.connect();
    (void)next_client(server);
    MockPeer slow;
    slow.delay_connect(300ms);
    clients.connect(slow);
    (void)server.sleep_for(100ms);
    auto late = clients.connect(); // at the moment of the close
    auto listener = server.listener().value();
    REQUIRE(listener.close(1s));
    CHECK(listener.client_count() == 0);
    CHECK(there.close_code() == 1001);
    (void)server.sleep_for(1s);
    CHECK(listener.client_count() == 0);
    while (const auto event = server.next_event({}))
        CHECK_FALSE(event->kind == Kind::up);
    CHECK(server.stats().clients_refused == 0);
    CHECK(listener.close(1s)); // again
    CHECK(server.stop().clean());
    CHECK(listener.close(1s)); // it is closed
    CHECK(listener.clients().empty());
    CHECK(listener.broadcast("x").has_error());
    CHECK(listener.retain("k", "x").has_error());
    CHECK_FALSE(listener.forget("k"));
}

TEST_CASE("server: a broadcast in a coroutine, in a predicate, and for a gap")
{
    MockClients clients;
    MockServer* self = nullptr;
    int gaps = 0;
    const auto on_gap = [&](std::uint64_t missing) {
        if (++gaps == 1)
            (void)self->broadcast("from on_gap");
        return "gap " + std::to_string(missing);
    };
    MockServer server{{.clients = clients,
                       .outbox = {.bytes = 4096, .messages = 2},
                       .overflow = {.on_gap = on_gap}},
                      silenced({})};
    self = &server;
    REQUIRE(server.start(1s));
    auto peer = clients.connect();
    auto link = next_client(server);
    const auto on_loop = [](MockServer& its, Context) -> Task<std::size_t> {
        CHECK(its.listener().value().close(1s).error() == Error::misuse);
        co_return its.broadcast("in a coroutine").value();
    };
    CHECK(server.call("broadcast", [&](Context ctx) { return on_loop(server, ctx); }).value() == 1);
    REQUIRE(link.flush(1s));
    const auto nested = [&](LinkId) { return server.broadcast("in a predicate").value() == 1; };
    CHECK(server.broadcast("outside", {.to = nested}).value() == 1);
    REQUIRE(link.flush(1s));
    peer.hold_writes();
    for (const auto* text : {"1", "2", "3", "4"})
        CHECK(server.broadcast(text).value() == 1);
    (void)server.sleep_for(1ms);
    peer.release_writes();
    (void)server.sleep_for(1ms);
    CHECK(peer.sent()
          == Texts{"in a coroutine", "in a predicate", "outside", "gap 2", "gap 1", "4",
                   "from on_gap"});
}

TEST_CASE("server: an on_gap that throws ends its client, and no other")
{
    MockClients clients;
    MockServer server{{.clients = clients,
                       .outbox = {.bytes = 4096, .messages = 1},
                       .overflow = {.on_gap = [](std::uint64_t) -> std::string { throw 1; }}},
                      silenced({})};
    REQUIRE(server.start(1s));
    auto slow = clients.connect();
    slow.hold_writes();
    auto slow_link = next_client(server);
    auto quick = clients.connect();
    auto quick_link = next_client(server);
    for (const auto* text : {"1", "2", "3"}) {
        CHECK(server.broadcast(text));
        REQUIRE(quick_link.flush(1s));
    }
    slow.release_writes();
    (void)server.sleep_for(1s);
    CHECK_FALSE(slow_link.is_up());
    CHECK(quick_link.is_up());
    CHECK(quick.sent() == Texts{"1", "2", "3"});
    CHECK(server.stop().joined);
}

TEST_CASE("server: a client that is too slow while it is closed, or while all stop, ends once")
{
    for (const bool stops : {false, true}) {
        CAPTURE(stops);
        MockClients clients;
        MockServer server{{.clients = clients,
                           .outbox = {.bytes = 4096, .messages = 1},
                           .overflow = {.policy = OverflowPolicy::fail, .fail_after = 0s}},
                          silenced({})};
        REQUIRE(server.start(1s));
        auto peer = clients.connect();
        peer.hold_writes();
        peer.delay_close(Duration::max());
        auto link = next_client(server);
        CHECK(server.broadcast("1"));
        (void)server.sleep_for(1ms);
        CHECK(server.broadcast("2").value() == 0); // too slow: its end is posted
        if (stops) {
            CHECK(server.stop().joined);
        } else {
            (void)link.close(100ms);
            const auto down = server.next_event(5s);
            REQUIRE(down);
            CHECK(down->kind == Kind::down);
            CHECK(server.client_count() == 0);
            CHECK(server.next_event({}).error() == Error::timed_out);
        }
        const auto stats = server.stats();
        CHECK(stats.messages_accepted == stats.messages_sent + stats.unsent);
    }
}

TEST_CASE("server: a hundred restarts, each with other clients")
{
    MockClients clients;
    MockServer server{{.clients = clients}, silenced({})};
    Link before = [&] {
        REQUIRE(server.start(1s));
        auto peer = clients.connect();
        return next_client(server);
    }();
    for (int i = 0; i < 100; ++i) {
        CHECK(server.stop().clean());
        CHECK(before.send("late").error() == Error::stopped);
        CHECK(before.join("g").has_error());
        REQUIRE(server.start(1s));
        auto peer = clients.connect();
        before = next_client(server);
        CHECK(server.broadcast("x").value() == 1);
        REQUIRE(before.flush(1s));
        CHECK(peer.sent() == Texts{"x"});
    }
}

} // namespace server_ends_test
