// Links that lose messages and lose their connections: what the stream says of each connection is all
// that came on it.
#include "support/next_text.hpp"
#include "support/silent_options.hpp"

#include <sidecar/transports/mock.hpp>

#include <doctest/doctest.h>

#include <array>
#include <charconv>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace overflow_reconnect_test {

using namespace sidecar;
using namespace std::chrono_literals;
using Policy = OverflowPolicy;

/// "k3=17": the key and the number within its connection; "17": without a key.
std::optional<std::string_view> key_of(const MessageView& message)
{
    const auto equals = message.text().find('=');
    return equals == std::string_view::npos ? std::nullopt
                                            : std::optional{message.text().substr(0, equals)};
}

std::uint64_t number_of(std::string_view text)
{
    const auto digits = text.substr(text.find('=') + 1);
    std::uint64_t number = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), number);
    return number;
}

/// The peer of one link, which counts what it has sent on each connection.
struct Peer {
    MockPeer mock;
    std::map<std::uint32_t, std::uint64_t> sent; // the loop's thread, until that has stopped

    void send(std::mt19937& random, std::uint64_t count)
    {
        auto connection = mock.connection();
        if (!connection || !connection->is_open())
            return;
        for (std::uint64_t i = 0; i < count; ++i) {
            const auto number = ++sent[connection->number()];
            const auto key = random() % 8;
            connection->deliver(key == 0 ? fmt::format("{}", number)
                                         : fmt::format("k{}={}", key, number));
        }
    }
};

/// What the stream has said of one link; it checks that as it comes.
struct Heard {
    Policy policy{};
    bool is_up = false;
    bool is_high = false;
    std::uint32_t connection = 0;
    TimePoint at{};
    std::map<std::uint32_t, std::uint64_t> accounted; // by connection: taken, missing or replaced
    std::uint64_t last = 0, last_without_key = 0;     // of this connection
    std::map<std::string, std::uint64_t, std::less<>> last_of_key;

    void take(const Event& event)
    {
        CAPTURE(to_string(event.kind));
        CAPTURE(event.connection);
        const bool is_level =
            event.kind == Event::Kind::high_water || event.kind == Event::Kind::low_water;
        if (is_level) { // which comes before what waits
            CHECK(is_high == (event.kind == Event::Kind::low_water));
            is_high = !is_high;
            return;
        }
        CHECK(event.connection >= connection);
        switch (event.kind) {
        case Event::Kind::up:
            CHECK_FALSE(is_up);
            CHECK(event.connection == connection + 1);
            is_up = true;
            connection = event.connection;
            last = last_without_key = 0;
            last_of_key.clear();
            break;
        case Event::Kind::down:
            CHECK(is_up);
            is_up = false;
            break;
        case Event::Kind::gap:
            CHECK(is_up);
            CHECK(event.missing > 0);
            accounted[event.connection] += event.missing;
            break;
        case Event::Kind::message: take_message(event); break;
        default: break;
        }
    }
    void take_message(const Event& event)
    {
        CHECK(is_up);
        CHECK(event.connection == connection);
        CHECK(event.message.connection() == connection);
        accounted[connection] += 1 + event.message.replaced();
        const auto number = number_of(event.message.text());
        const auto key = key_of(event.message.view());
        CHECK((key || event.message.replaced() == 0)); // never conflated
        auto& before = !key                         ? last_without_key
                       : policy == Policy::conflate ? last_of_key[std::string{*key}]
                                                    : last;
        CHECK(number > before);
        before = number;
    }
};

Overflow overflow_of(Policy policy, std::mt19937& random)
{
    Overflow overflow{.policy = policy, .queue_messages = 3 + random() % 20};
    if (policy == Policy::conflate)
        overflow.key = key_of;
    if (random() % 3 == 0)
        overflow.max_age = 1ms * (1 + random() % 50);
    if (random() % 2 == 0)
        overflow.high = {.messages = 1 + overflow.queue_messages / 2};
    return overflow;
}

TEST_CASE("overflow and reconnect: all that came on each connection is taken, missing or replaced")
{
    constexpr std::array policies{Policy::pause_reading, Policy::drop_oldest, Policy::drop_newest,
                                  Policy::conflate, Policy::pause_reading};
    for (std::uint32_t seed = 1; seed <= 60; ++seed) {
        CAPTURE(seed);
        std::mt19937 random{seed};
        std::array<Peer, policies.size()> peers;
        std::array<Heard, policies.size()> heard;
        const auto options = [&](std::size_t i) {
            Options link{.inbox = {.bytes = 1u << 15, .messages = 64},
                         .reconnect = Reconnect{.window = 20ms,
                                                .max_window = 20ms,
                                                .random = std::mt19937_64{seed + i}}};
            if (i != 0) // the first one has the inbox that all share
                link.overflow = overflow_of(policies[i], random);
            heard[i].policy = policies[i];
            return link;
        };
        Sidecar<Mock> feed{{.peer = peers[0].mock, .max_message_bytes = 100}, silenced(options(0))};
        REQUIRE(feed.start(1s));
        for (std::size_t i = 1; i < peers.size(); ++i)
            REQUIRE(feed.open({.peer = peers[i].mock, .max_message_bytes = 100}, 1s,
                              options(i).link_options()));
        REQUIRE(feed.spawn("the peers", [&peers, random](Context ctx) mutable -> Task<> {
            for (int step = 0; step < 300; ++step) {
                co_await ctx.sleep_for(1ms * (random() % 5));
                auto& peer = peers[random() % peers.size()];
                peer.send(random, random() % 30);
                if (auto connection = peer.mock.connection(); connection && random() % 6 == 0)
                    connection->drop();
            }
        }));
        const auto listen = [&](Duration timeout) {
            for (auto event = feed.next_event(timeout); event; event = feed.next_event(timeout)) {
                heard[static_cast<std::size_t>(event->link)].take(*event);
                if (random() % 4 == 0) // it is slow
                    (void)feed.call("work", [time = 1ms * (random() % 8)](Context ctx) {
                        return ctx.sleep_for(time);
                    });
                const auto stats = feed.stats();
                CHECK(stats.messages_received
                      == stats.messages_taken + stats.lost() + stats.conflated
                             + stats.inbox_messages);
            }
        };
        listen(5s);
        for (std::size_t i = 0; i < peers.size(); ++i) {
            CAPTURE(i);
            for (const auto& [number, count] : peers[i].sent) {
                const auto connection = number; // clang 14 captures no structured binding
                CAPTURE(connection);
                CHECK(heard[i].accounted[connection] == count);
            }
        }
        const auto stats = feed.stats();
        CHECK(stats.inbox_messages == 0);
        CHECK(stats.messages_received == stats.messages_taken + stats.lost() + stats.conflated);
        CHECK(stats.message_ages.count == stats.messages_taken);
        CHECK(feed.stop().clean());
    }
}

TEST_CASE("overflow and reconnect: with `fail` each connection gives a beginning without a hole")
{
    Peer peer;
    Sidecar<Mock> feed{{.peer = peer.mock},
                       silenced({.reconnect = Reconnect{.window = 20ms, .max_window = 20ms},
                                 .overflow = {.policy = Policy::fail, .queue_messages = 10}})};
    REQUIRE(feed.start(1s));
    REQUIRE(feed.spawn("the peer", [&peer](Context ctx) -> Task<> {
        std::mt19937 random{7};
        for (int step = 0; step < 500; ++step) {
            co_await ctx.sleep_for(2ms);
            peer.send(random, random() % 8);
        }
    }));
    std::uint64_t expected = 1, ends = 0;
    std::uint32_t connection = 0;
    for (auto event = feed.next_event(1s); event; event = feed.next_event(1s)) {
        CHECK(event->kind != Event::Kind::gap);
        if (event->kind == Event::Kind::up) {
            CHECK(event->connection == ++connection);
            expected = 1;
        } else if (event->kind == Event::Kind::down) {
            CHECK(*event->failure == Error::overflow);
            CHECK(event->next_attempt);
            ++ends;
        } else if (event->kind == Event::Kind::message) {
            CHECK(number_of(event->message.text()) == expected++);
            (void)feed.call("work", [](Context ctx) { return ctx.sleep_for(3ms); });
        }
    }
    CHECK(ends > 3);
    CHECK(connection == ends + 1);
    const auto stats = feed.stats();
    CHECK(stats.messages_received == stats.messages_taken);
    CHECK(stats.lost() == 0);
}

TEST_CASE("overflow and reconnect: a key is not conflated across a seam, however short")
{
    Peer peer;
    Sidecar<Mock> feed{{.peer = peer.mock},
                       silenced({.reconnect = Reconnect{.window = 1ms, .max_window = 1ms},
                                 .overflow = {.policy = Policy::conflate, .key = key_of}})};
    REQUIRE(feed.start(1s));
    for (int i = 0; i < 3; ++i) {
        peer.mock.deliver("a=1");
        peer.mock.deliver("a=2");
        peer.mock.drop();
        (void)feed.call("wait", [](Context ctx) { return ctx.sleep_for(1s); });
    }
    for (std::uint32_t connection = 1; connection <= 3; ++connection) {
        CHECK(next_text(feed).substr(0, 4) == fmt::format("up {}", connection));
        const auto message = feed.next_event(0s);
        CHECK(text_of(message) == fmt::format("message {} a=2", connection));
        CHECK(message->message.replaced() == 1);
        CHECK(next_text(feed).substr(0, 6) == fmt::format("down {}", connection));
    }
    CHECK(feed.stats().conflated == 3);
}

} // namespace overflow_reconnect_test
