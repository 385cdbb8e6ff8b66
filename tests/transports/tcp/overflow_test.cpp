// Overflow on a real socket: an application that sleeps while a peer floods.
#include "support/silent_options.hpp"
#include "tcp_peer.hpp"

#include <sidecar/sidecar.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace sidecar;
using namespace std::chrono_literals;
using Policy = OverflowPolicy;

namespace {

using Framed = Tcp<LengthPrefix>;

/// Sends this many messages, numbered, in chunks, and waits for the other side to end.
RawPeer::Script flood(int count)
{
    return [count](RawConnection& c) {
        std::string chunk;
        for (int i = 0; i < count; ++i) {
            chunk += framed(std::to_string(i) + std::string(50, '.'));
            if (chunk.size() > 60'000 || i + 1 == count) {
                c.send(chunk);
                chunk.clear();
            }
        }
        c.wait_for_end();
    };
}

int number(const Message& message) { return std::atoi(std::string{message.text()}.c_str()); }

bool wait_for(const Feed& feed, std::uint64_t received)
{
    for (int i = 0; i < 2000; ++i) {
        if (feed.stats().messages_received >= received)
            return true;
        std::this_thread::sleep_for(10ms);
    }
    return false;
}

struct Sum {
    std::uint64_t taken = 0, missing = 0, replaced = 0;
    int first = -1, last = -1;
    bool in_order = true;

    void take_all(Feed& feed)
    {
        while (auto event = feed.next_event(0s)) {
            if (event->kind == Event::Kind::gap)
                missing += event->missing;
            if (event->kind != Event::Kind::message)
                continue;
            const auto n = number(event->message);
            if (taken++ == 0)
                first = n;
            in_order &= n > last;
            last = n;
            replaced += event->message.replaced();
        }
    }
};

} // namespace

TEST_CASE("tcp: with each policy a flood costs no more than its bound, and what is missing adds up")
{
    constexpr int count = 300'000; // 19 MB
    RawPeer peer{flood(count)};
    struct Row {
        Overflow overflow;
        int first, last;
    };
    const Row rows[] = {
        {{.policy = Policy::drop_oldest, .queue_messages = 1000}, count - 1000, count - 1},
        {{.policy = Policy::drop_newest, .queue_messages = 1000}, 0, 999},
        {{.policy = Policy::conflate,
          .key = [](const MessageView&) { return std::optional<std::string_view>{"one"}; }},
         count - 1,
         count - 1},
    };
    for (const auto& row : rows) {
        INFO(to_string(row.overflow.policy));
        Sidecar<Framed> feed{to(peer), silenced({.overflow = row.overflow})};
        REQUIRE(feed.start(5s));
        REQUIRE(wait_for(feed, count));
        Sum sum;
        sum.take_all(feed);
        CHECK(sum.in_order);
        CHECK(sum.first == row.first);
        CHECK(sum.last == row.last);
        CHECK(sum.taken + sum.missing + sum.replaced == count);
        const auto stats = feed.stats();
        CHECK(stats.messages_received == count);
        CHECK(stats.messages_taken + stats.lost() + stats.conflated == count);
        CHECK(stats.reading_pauses == 0);
        CHECK(stats.inbox_peak_messages <= 1000);
        CHECK(feed.stop().clean());
    }
}

TEST_CASE("tcp: with `fail` a flood ends the link, and pausing loses nothing of it")
{
    constexpr int count = 20'000;
    RawPeer peer{flood(count)};
    {
        Sidecar<Framed> feed{
            to(peer), silenced({.overflow = {.policy = Policy::fail, .queue_messages = 1000}})};
        REQUIRE(feed.start(5s));
        for (int i = 0; i < 1000; ++i) {
            if (i == 0)
                REQUIRE(wait_for(feed, 1000));
            REQUIRE(number(feed.receive(5s).value()) == i);
            if (feed.state() == State::connected)
                std::this_thread::yield();
        }
        auto end = feed.receive(5s);
        for (int i = 1000; end && i < count; ++i) // what found room since
            end = feed.receive(5s);
        CHECK(end.error() == Error::overflow);
    }
    Sidecar<Framed> feed{to(peer), silenced({.overflow = {.queue_messages = 100}})};
    REQUIRE(feed.start(5s));
    for (int i = 0; i < count; ++i)
        REQUIRE(number(feed.receive(5s).value()) == i);
    CHECK(feed.stats().lost() == 0);
}

TEST_CASE("tcp: messages that are read late are too old, those that come then are not")
{
    RawPeer peer{[](RawConnection& c) {
        c.send(framed("1") + framed("2"));
        (void)c.read(1);
        c.send(framed("3"));
        c.wait_for_end();
    }};
    Sidecar<Framed> feed{to(peer), silenced({.overflow = {.max_age = 1s}})};
    REQUIRE(feed.start(5s));
    REQUIRE(wait_for(feed, 2));
    std::this_thread::sleep_for(1100ms); // which is what is tested
    REQUIRE(feed.send("go"));
    REQUIRE(wait_for(feed, 3));
    const auto gap = feed.receive(5s);
    CHECK(gap.error() == Error::gap);
    const auto message = feed.receive(5s);
    REQUIRE(message);
    CHECK(message->text() == "3");
    const auto age = std::chrono::steady_clock::now() - message->arrival();
    CHECK(age >= 0ms);
    CHECK(age < 5s);
}

TEST_CASE("tcp: floods and outages together, all that came on each connection adds up")
{
    constexpr int each = 20'000;
    constexpr std::uint32_t connections = 4;
    struct Row {
        Overflow overflow;
        bool is_slow;
    };
    const auto last_digit = [](const MessageView& message) -> std::optional<std::string_view> {
        const auto end = message.text().find('.');
        return message.text().substr(end - 1, 1);
    };
    const Row rows[] = {
        {{}, false},
        {{.queue_messages = 100}, false},
        {{.policy = Policy::drop_oldest, .queue_messages = 100}, true},
        {{.policy = Policy::drop_newest, .queue_messages = 100}, true},
        {{.policy = Policy::conflate, .key = last_digit}, true},
        {{.policy = Policy::conflate, .key = last_digit, .queue_messages = 5}, true},
        {{.policy = Policy::drop_oldest, .queue_messages = 500, .max_age = 2ms}, true},
    };
    for (const auto& row : rows) {
        INFO(to_string(row.overflow.policy));
        RawPeer peer{[served = std::uint32_t{0}](RawConnection& c) mutable {
            std::string all;
            for (int i = 1; i <= each; ++i)
                all += framed(std::to_string(i) + std::string(20, '.'));
            c.send(all);
            if (++served < connections)
                c.half_close();
            c.wait_for_end();
        }};
        Options options{.reconnect = Reconnect{.window = 5ms, .max_window = 5ms},
                        .overflow = row.overflow};
        Sidecar<Framed> feed{to(peer), silenced(std::move(options))};
        REQUIRE(feed.start(5s));
        std::vector<std::uint64_t> accounted(connections + 1);
        std::uint32_t connection = 0;
        TimePoint last{};
        while (accounted[connections] < each) {
            const auto event = feed.next_event(10s);
            REQUIRE(event);
            CHECK(event->at >= last - (row.overflow.key ? 10s : 0s)); // in the place of older ones
            last = event->at;
            if (event->kind == Event::Kind::up)
                CHECK(event->connection == ++connection);
            REQUIRE(event->connection == connection);
            if (event->kind == Event::Kind::message)
                accounted[connection] += 1 + event->message.replaced();
            if (event->kind == Event::Kind::gap)
                accounted[connection] += event->missing;
            if (row.is_slow && event->kind == Event::Kind::message
                && number(event->message) % 50 == 0)
                std::this_thread::sleep_for(1ms); // an application that does not keep up
        }
        for (std::uint32_t i = 1; i <= connections; ++i)
            CHECK(accounted[i] == each);
        const auto stats = feed.stats();
        CHECK(stats.messages_received == std::uint64_t{each} * connections);
        CHECK(stats.messages_received == stats.messages_taken + stats.lost() + stats.conflated);
        CHECK(stats.inbox_messages == 0);
        CHECK(stats.message_ages.count == stats.messages_taken);
        CHECK(feed.stop().joined);
    }
}
