// A link that comes back and is stuck half-way, in each of the phases that an attempt has: it is given
// up in time, and a stop or a close beats it.
#include "support/next_text.hpp"
#include "support/silent_options.hpp"

#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

namespace phases_test {

using namespace sidecar;
using namespace std::chrono_literals;

enum class Hang { backing_off, making_options, connecting, on_connected, subscribing };

/// Its first connection is good, and breaks; what follows hangs in this phase.
struct Stuck {
    explicit Stuck(Hang phase) : feed{{.peer = peer}, options(phase), fresh(phase)}
    {
        REQUIRE(feed.start(1s));
        link = feed.link().value();
        if (phase == Hang::subscribing)
            REQUIRE(link->subscribe("a", "sub a", [](const MessageView&) { return false; }));
        CHECK(next_text(feed) == "up 1 first");
        if (phase == Hang::on_connected)
            CHECK(next_text(feed) == "ready 1");
        if (phase == Hang::connecting)
            peer.delay_connect(1000h);
        peer.drop();
        CHECK(next_text(feed) == "down 1 more (the connection broke)");
        const auto until = phase == Hang::backing_off ? 500ms : 2s;
        REQUIRE(feed.call("wait", [until](Context ctx) { return ctx.sleep_for(until); }));
    }
    Options options(Hang phase)
    {
        Options options{.reconnect = Reconnect{.window = 1s,
                                               .max_window = 1s,
                                               .connect_timeout = 7s,
                                               .random = [] { return UINT64_MAX; }},
                        .on_connected_timeout = 7s,
                        .ack_timeout = 7s};
        if (phase == Hang::on_connected)
            options.on_connected = [](Context, Session& session) -> Task<> {
                if (session.connection() != 1)
                    (void)co_await session.receive();
            };
        return silenced(std::move(options));
    }
    OptionsProvider<Mock> fresh(Hang phase)
    {
        if (phase != Hang::making_options)
            return {};
        return [this](Context ctx, Attempt attempt) -> Task<Mock::Options> {
            if (++attempts != 1)
                co_await ctx.sleep_for(1000h);
            CHECK(attempt.connection == 1);
            co_return Mock::Options{.peer = peer};
        };
    }
    /// All that still comes.
    std::vector<std::string> rest()
    {
        std::vector<std::string> rest;
        while (rest.size() < 100) {
            rest.push_back(next_text(feed, 1000h));
            if (rest.back().starts_with("stopped") || rest.back().starts_with("down"))
                break;
        }
        return rest;
    }

    MockPeer peer;
    int attempts = 0; // the loop's thread
    Sidecar<Mock> feed;
    std::optional<Link> link;
};

constexpr Hang all_phases[] = {Hang::backing_off, Hang::making_options, Hang::connecting,
                               Hang::on_connected, Hang::subscribing};

TEST_CASE("phases: what hangs in an attempt is given up at its deadline, and the next one follows")
{
    for (const auto phase : {Hang::making_options, Hang::connecting, Hang::on_connected}) {
        CAPTURE(static_cast<int>(phase));
        Stuck t{phase};
        for (int i = 0; i < 5; ++i) {
            const auto retry = t.feed.next_event(1000h);
            CHECK(text_of(retry) == "retry 1 more (timed out)");
            CHECK(*retry->next_attempt == retry->at + 1s);
            CHECK((retry->at.time_since_epoch() - 500ms) % 8s < 8s);
        }
        CHECK(t.feed.stats().failed_attempts == 5);
        CHECK(t.feed.stop().joined);
    }
    Stuck t{Hang::subscribing}; // which is up meanwhile
    CHECK(next_text(t.feed) == "up 2 unknown");
    CHECK(next_text(t.feed) == "ready 2 (not all subscriptions were answered)");
    CHECK(t.feed.next_event(1h).error() == Error::timed_out); // once
}

TEST_CASE("phases: a stop beats reconnecting in each, and no attempt and no event follows it")
{
    for (const auto phase : all_phases) {
        CAPTURE(static_cast<int>(phase));
        Stuck t{phase};
        REQUIRE(t.link->send("waits").has_value() == (phase == Hang::subscribing));
        if (phase == Hang::subscribing)
            CHECK(next_text(t.feed) == "up 2 unknown");
        const auto connects = t.peer.connect_count();
        const auto attempts = t.attempts;
        const auto report = t.feed.stop();
        CAPTURE(to_string(report));
        CHECK(report.joined);
        CHECK(report.total <= 2s);
        CHECK(report.stuck.empty());
        if (phase == Hang::backing_off || phase == Hang::making_options
            || phase == Hang::connecting)
            CHECK(report.total == Duration{});
        CHECK(t.rest() == std::vector<std::string>{fmt::format("stopped {}", 0)});
        CHECK(t.peer.connect_count() == connects);
        CHECK(t.attempts == attempts);
        CHECK(t.feed.stats().messages_accepted
              == t.feed.stats().messages_sent + t.feed.stats().unsent);
    }
}

TEST_CASE("phases: a close of the link beats it likewise, and the feed runs on")
{
    for (const auto phase : all_phases) {
        CAPTURE(static_cast<int>(phase));
        Stuck t{phase};
        if (phase == Hang::subscribing)
            CHECK(next_text(t.feed) == "up 2 unknown");
        const auto connects = t.peer.connect_count();
        CHECK(t.link->close(1s));
        const auto rest = t.rest();
        REQUIRE(rest.size() == 1);
        CHECK(rest[0].ends_with("last (the link was closed by the application)"));
        CHECK(t.feed.next_event(1000h).error() == Error::link_closed);
        CHECK(t.peer.connect_count() == connects);
        CHECK(t.link->send("x").error() == Error::link_closed);
        CHECK(t.feed.stop().clean());
    }
}

TEST_CASE("phases: what makes the options may throw anything, and never leaves the thread")
{
    int attempts = 0;
    MockPeer peer;
    const OptionsProvider<Mock> fresh = [&](Context, Attempt) -> Task<Mock::Options> {
        switch (++attempts) {
        case 1: break;
        case 2: throw 42;
        case 3: throw std::bad_alloc{};
        case 4: throw Exception{Failure{Error::disconnected}};
        case 5: throw boost::system::system_error{boost::asio::error::operation_aborted};
        default: throw Exception{Failure{Error::bad_address}};
        }
        co_return Mock::Options{.peer = peer};
    };
    Sidecar<Mock> feed{{.peer = peer}, silenced({.reconnect = Reconnect{}}), fresh};
    REQUIRE(feed.start(1s));
    peer.drop();
    CHECK(next_text(feed) == "up 1 first");
    CHECK(next_text(feed) == "down 1 more (the connection broke)");
    for (int i = 0; i < 4; ++i)
        CHECK(next_text(feed).starts_with("retry 1 more"));
    CHECK(next_text(feed) == "retry 1 last (the address cannot be understood)");
    CHECK(attempts == 6);
    CHECK(feed.stop().joined);
}

TEST_CASE("phases: 200 feeds that lose their server in one moment come back spread over the window")
{
    constexpr std::size_t count = 200;
    struct One {
        MockPeer peer;
        std::unique_ptr<Sidecar<Mock>> feed;
    };
    std::vector<One> all(count);
    std::mt19937_64 random{1};
    for (auto& one : all) {
        one.feed = std::make_unique<Sidecar<Mock>>(
            Mock::Options{.peer = one.peer},
            silenced({.reconnect = Reconnect{.window = 1s, .max_window = 1s, .random = [&random] {
                                                 return random();
                                             }}}));
        REQUIRE(one.feed->start(1s));
    }
    for (auto& one : all)
        one.peer.drop();
    std::vector<int> tenths(10);
    for (auto& one : all) {
        CHECK(next_text(*one.feed) == "up 1 first");
        const auto down = one.feed->next_event(1h);
        const auto up = one.feed->next_event(1h);
        REQUIRE(up);
        const auto waited = up->at - down->at;
        CHECK(waited <= 1s);
        ++tenths[std::min<std::size_t>(static_cast<std::size_t>(waited / 100ms), 9)];
    }
    for (const auto n : tenths) { // 20 each, give or take 4.2
        CHECK(n > 1);
        CHECK(n < 45);
    }
}

} // namespace phases_test
