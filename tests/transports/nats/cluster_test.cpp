// A cluster of three real servers, of which some leave.
#include "nats_feed.hpp"
#include "support/sanitized.hpp"

#include <cstdint>
#include <set>

namespace nats_cluster_test {

using namespace nats_tests;

std::string urls_of(NatsCluster& cluster)
{
    std::string urls;
    for (std::size_t i = 0; i < cluster.size(); ++i)
        urls += (i == 0 ? "" : ",") + cluster[i].url();
    return urls;
}

std::size_t index_of(NatsCluster& cluster, NatsFeed& feed)
{
    const auto peer = feed.link().value().connection_info().peer;
    return cluster.index_of(
        static_cast<std::uint16_t>(std::stoi(peer.substr(peer.rfind(':') + 1))));
}

TEST_CASE("NATS cluster: after kill -9 another server that was learnt takes over within a second")
{
    NatsCluster cluster;
    NatsFeed feed{{.url = cluster[0].url(), .subscriptions = {{.subject = "news.*"}}},
                  silenced({.reconnect = Reconnect{.random = [] { return UINT64_MAX; }}})};
    REQUIRE(feed.start(20s).has_value());
    CHECK(next(feed, Event::Kind::up).continuity == Continuity::first);
    CHECK(server_name(feed) == "n0");
    for (int round = 0; round < 2; ++round) {
        const auto before = index_of(cluster, feed);
        const auto began = std::chrono::steady_clock::now();
        cluster[before].kill();
        CHECK(next(feed, Event::Kind::down).failure->will_retry());
        const auto up = next(feed, Event::Kind::up);
        const auto took = std::chrono::steady_clock::now() - began;
        if (!is_sanitized && round == 0) // after a second outage the back-off has grown
            CHECK(took < 1s);
        CHECK(up.continuity == Continuity::unknown); // not silence: something may be missing
        const auto after = index_of(cluster, feed);
        CHECK(after != before);
        CHECK(server_name(feed) == "n" + std::to_string(after));
        // The subscriptions are there again, on the other server
        REQUIRE(feed.send("again", SendOptions{.timeout = 10s, .topic = "news.now"}).has_value());
        CHECK(text_of(feed.receive(20s)) == "again");
        cluster[before].restart();
    }
}

TEST_CASE("NATS cluster: servers that do not answer are passed over at the start")
{
    NatsCluster cluster;
    cluster[0].kill();
    cluster[1].pause();
    NatsFeed feed{{.url = urls_of(cluster), .keep_order = true}, silent_options()};
    const auto started = feed.start(20s);
    REQUIRE_MESSAGE(started.has_value(), started.error().message());
    CHECK(server_name(feed) == "n2");
}

TEST_CASE("NATS cluster: without any server the failure names one of them, and no secret")
{
    NatsCluster cluster;
    const auto urls = "nats://me:pass-word@" + cluster[0].address() + "," + cluster[1].url();
    cluster[0].kill();
    cluster[1].kill();
    NatsFeed feed{{.url = urls, .keep_order = true}, silent_options()};
    const auto started = feed.start(20s);
    REQUIRE_FALSE(started.has_value());
    CHECK(started.error().message().find(cluster[1].address()) != std::string::npos);
    CHECK(started.error().message().find("pass-word") == std::string::npos);
}

TEST_CASE("NATS cluster: links spread over the servers")
{
    NatsCluster cluster;
    std::set<std::string> used;
    for (int i = 0; i < 40 && used.size() < cluster.size(); ++i) {
        NatsFeed feed{{.url = urls_of(cluster)}, silent_options()};
        REQUIRE(feed.start(20s).has_value());
        used.insert(server_name(feed));
    }
    CHECK(used.size() == cluster.size());
}

TEST_CASE("NATS cluster: a paused server is detected, and another one takes over")
{
    NatsCluster cluster;
    auto options = coming_back();
    options.ping_interval = 100ms;
    options.ping_timeout = is_sanitized ? 2s : 200ms;
    NatsFeed feed{{.url = cluster[0].url()}, std::move(options)};
    REQUIRE(feed.start(20s).has_value());
    cluster[0].pause();
    CHECK(*next(feed, Event::Kind::down).failure == Error::unresponsive);
    (void)next(feed, Event::Kind::up);
    CHECK(server_name(feed) != "n0");
    wait_for_echo(feed);
}

/// Waits until each server of the cluster knows that somebody has subscribed to "n".
void wait_for_interest(NatsCluster& cluster)
{
    for (std::size_t i = 0; i < cluster.size(); ++i) {
        NatsFeed feed{{.url = cluster[i].url()}, silent_options()};
        REQUIRE(feed.start(20s).has_value());
        while (feed.request("n", "", 1ms).error() == Error::no_responders)
            ;
    }
}

/// Publishes numbers while a server leaves, until `mover` has another and 1000 numbers more; takes
/// what the listeners have meanwhile. Returns how often each number was taken.
std::vector<int> publish(NatsFeed& publisher, NatsServer& leaving, NatsFeed& mover,
                         const std::vector<NatsFeed*>& listeners)
{
    std::vector<int> counts;
    std::size_t taken = 0;
    const auto take = [&](const MessageView& message) {
        if (message.topic() != "n" || message.size() == 0) // of wait_for_interest()
            return;
        ++counts.at(static_cast<std::size_t>(std::stoi(std::string{message.text()})));
        ++taken;
    };
    const auto give_up = std::chrono::steady_clock::now() + 20s;
    const auto take_all = [&] {
        for (NatsFeed* const listener : listeners)
            (void)listener->poll(take);
        if (std::chrono::steady_clock::now() < give_up)
            return;
        std::string lost;
        for (std::size_t i = 0; i < counts.size() && lost.size() < 200; ++i)
            if (counts[i] != 1)
                lost += std::to_string(i) + " ";
        FAIL("of ", counts.size(), " sent, lost or twice: ", lost, to_table(publisher.stats()));
    };
    for (std::size_t end = SIZE_MAX; counts.size() < end;) {
        if (counts.size() == 1000)
            leaving.enter_lame_duck();
        if (end == SIZE_MAX && mover.stats().connections == 2)
            end = counts.size() + 1000;
        const auto sent = publisher.send(std::to_string(counts.size()),
                                         SendOptions{.timeout = 20s, .topic = "n"});
        REQUIRE_MESSAGE(sent.has_value(), sent.error().message());
        counts.push_back(0);
        take_all();
    }
    while (taken < counts.size())
        take_all();
    return counts;
}

TEST_CASE("NATS cluster: a publisher leaves a lame duck before it cuts, and loses nothing")
{
    NatsCluster cluster{"lame_duck_grace_period: \"10s\""};
    NatsFeed listener{{.url = cluster[1].url(), .subscriptions = {{.subject = "n"}}},
                      silent_options()};
    NatsFeed publisher{{.url = cluster[0].url()},
                       coming_back({.on_disconnect = OnDisconnect::keep})};
    REQUIRE(listener.start(20s).has_value());
    REQUIRE(publisher.start(20s).has_value());
    wait_for_interest(cluster);
    const auto counts = publish(publisher, cluster[0], publisher, {&listener});
    CHECK(counts == std::vector(counts.size(), 1));
    CHECK(publisher.stats().unsent == 0);
    const auto down = next(publisher, Event::Kind::down);
    CHECK(down.failure->message().find("lame duck") != std::string::npos);
    CHECK(server_name(publisher) != "n0");
}

TEST_CASE("NATS cluster: a member of a queue group leaves a lame duck, and the group loses nothing")
{
    NatsCluster cluster{"lame_duck_grace_period: \"10s\""};
    const auto member = [&](std::size_t server) {
        return Nats::Options{.url = cluster[server].url(),
                             .subscriptions = {{.subject = "n", .queue = "workers"}}};
    };
    NatsFeed leaving{member(0), coming_back()};
    NatsFeed staying{member(1), silent_options()};
    NatsFeed publisher{{.url = cluster[2].url()}, silent_options()};
    for (NatsFeed* const feed : {&leaving, &staying, &publisher})
        REQUIRE(feed->start(20s).has_value());
    wait_for_interest(cluster);
    const auto counts = publish(publisher, cluster[0], leaving, {&leaving, &staying});
    CHECK(counts == std::vector(counts.size(), 1));
}

} // namespace nats_cluster_test
