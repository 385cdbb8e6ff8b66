// Feed::topic_stats(): what arrived, by topic.
#include "support/fixture.hpp"
#include "support/real_mock.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <thread>
#include <utility>

namespace topic_stats_test {

using namespace sidecar;
using namespace std::chrono_literals;

TEST_CASE("topic_stats: counts so many topics one by one, and the others together")
{
    TopicFixture run{{.counted_topics = 2}};
    CHECK(run.feed.topic_stats().empty());
    run.peer.deliver("12345", {.topic = "usd"});
    run.peer.deliver("no topic");
    run.peer.deliver("1", {.topic = "eur"});
    REQUIRE(run.feed.sleep_for(1ms));
    const auto first = run.feed.now();
    REQUIRE(run.feed.sleep_for(1s));
    run.peer.deliver("123", {.topic = "eur"});
    run.peer.deliver("1234567", {.topic = "chf"});
    run.peer.deliver("", {.reply_to = "box", .headers = {}});
    REQUIRE(run.feed.sleep_for(1ms));
    const auto stats = run.feed.topic_stats();
    REQUIRE(stats.size() == 3);
    CHECK(stats[0].topic == "eur");
    CHECK(stats[0].messages == 2);
    CHECK(stats[0].bytes == 4);
    CHECK(stats[0].last_arrival > first);
    CHECK(stats[1].topic == "usd");
    CHECK(stats[1].bytes == 5);
    CHECK(stats[1].last_arrival <= first);
    CHECK(stats[2].topic.empty());
    CHECK(stats[2].messages == 2);
    CHECK(stats[2].bytes == 7);
    (void)run.feed.stop();
    CHECK(run.feed.topic_stats().size() == 3);
    TopicFixture without;
    without.peer.deliver("1", {.topic = "eur"});
    REQUIRE(without.feed.receive(1s));
    CHECK(without.feed.topic_stats().empty());
}

TEST_CASE("topic_stats: another thread may ask while messages arrive")
{
    MockPeer peer;
    Sidecar<RealMock> feed{{.peer = peer, .topics = true}, silenced({.counted_topics = 8})};
    REQUIRE(feed.start(10s));
    std::jthread asks{[&](const std::stop_token& is_over) {
        while (!is_over.stop_requested())
            for (const auto& each : feed.topic_stats())
                CHECK(each.bytes == each.messages);
    }};
    for (int i = 0; i < 500; ++i)
        peer.deliver("1", {.topic = i % 2 == 0 ? "even" : "odd"});
    for (int i = 0; i < 500; ++i)
        REQUIRE(feed.receive(10s));
    CHECK(feed.topic_stats().at(0).messages == 250);
}

} // namespace topic_stats_test
