// Handles of links that outlive what they belong to, in any order and on any thread.
#include "support/fixture.hpp"
#include "support/quiet.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using namespace sidecar;
using namespace std::chrono_literals;

TEST_CASE("link: a handle that is assigned over may be the last to hold its run")
{
    std::optional<Link> link;
    for (int i = 0; i < 3; ++i) {
        MockPeer peer, other;
        Sidecar<Mock> feed{{.peer = peer}, quiet()};
        REQUIRE(feed.start(1s));
        auto opened = feed.open({.peer = other}, 1s).value();
        if (link)
            *link = std::move(opened); // the sidecar that the old one belongs to is gone
        else
            link = std::move(opened);
        CHECK(link->send("x"));
    }
    CHECK(link->send("x").error() == Error::stopped);
    CHECK_FALSE(link->is_up());
    const auto copy = *link;
    link.reset();
    CHECK(copy.id() == LinkId{1});
}

TEST_CASE(
    "link: handles are erased from the middle of a list, and restarted sidecars let go of runs")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer}, quiet()};
    std::vector<Link> links;
    for (int i = 0; i < 6; ++i) {
        REQUIRE(feed.start(1s));
        links.push_back(feed.link().value());
        CHECK(feed.stop().joined);
    }
    while (!links.empty())
        links.erase(links.begin() + static_cast<std::ptrdiff_t>(links.size() / 2));
}

TEST_CASE("link: application threads let go of ended links while others wait for room")
{
    constexpr std::size_t size = 1000;
    constexpr int messages = 2000;
    Fixture f{{.inbox = {.bytes = 8 * size, .messages = 4}}, size};
    MockPeer second;
    REQUIRE(f.feed.start(10s));
    REQUIRE(f.feed.open({.peer = second, .max_message_bytes = size}, 10s));
    const std::string message(size, 'x');
    for (int i = 0; i < messages / 2; ++i) {
        f.peer.deliver(message);
        second.deliver(message);
    }
    std::atomic<bool> is_done{false};
    std::thread opener{[&] {
        MockPeer refusing;
        refusing.refuse_connect(boost::asio::error::connection_refused);
        while (!is_done)
            CHECK_FALSE(f.feed.open({.peer = refusing, .max_message_bytes = size}, 10s));
    }};
    for (int i = 0; i < messages; ++i)
        REQUIRE(f.feed.receive(10s).has_value());
    is_done = true;
    opener.join();
    CHECK(f.feed.stats().reading_pauses != 0);
    CHECK(f.feed.stop().joined);
}
