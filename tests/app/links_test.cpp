// Handles of links that outlive what they belong to, in any order and on any thread.
#include "support/fixture.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace links_test {

using namespace sidecar;
using namespace std::chrono_literals;

/// Its peer talks on for ever; nothing can be sent to it. On virtual time.
struct Deaf {
    using Clock = VirtualClock;
    struct Options {};
    explicit Deaf(const Options&) {}
    Task<> connect(Context) { co_return; }
    Task<> read(Context ctx, Sink& sink)
    {
        co_await ctx.sleep_for(10ms);
        if (is_aborted_)
            throw std::runtime_error{"aborted"};
        (void)sink.put_text("still talking");
    }
    Task<> write(Context, Batch)
    {
        throw std::runtime_error{"nobody listens"};
        co_return;
    }
    Task<> close(Context, CloseReason) { co_return; }
    void abort() noexcept { is_aborted_ = true; }

private:
    bool is_aborted_ = false;
};

TEST_CASE("link: one whose sending failed is not up, and its peer is not listened to for ever")
{
    Sidecar<Deaf> feed{{}, silent_options()};
    REQUIRE(feed.start(1s));
    REQUIRE(feed.send("x"));
    std::size_t messages = 0;
    auto message = feed.receive(1s);
    for (; message && messages < 10'000; message = feed.receive(1s))
        ++messages;
    REQUIRE_FALSE(message);
    CHECK(message.error().message().find("nobody listens") != std::string::npos);
    CHECK(messages > 10);
    CHECK(messages <= 600); // 5 s of one message each 10 ms, and a little
    CHECK_FALSE(feed.link().value().is_up());
    CHECK(feed.send("y").error() == Error::not_connected);
    CHECK(feed.stop().unsent_messages == 1);
}

TEST_CASE("link: a handle that is assigned over may be the last to hold its run")
{
    std::optional<Link> link;
    for (int i = 0; i < 3; ++i) {
        MockPeer peer, other;
        Sidecar<Mock> feed{{.peer = peer}, silent_options()};
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
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
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

} // namespace links_test
