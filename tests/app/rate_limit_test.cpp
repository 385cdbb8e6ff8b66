// A link that keeps to its rate, on virtual time.
#include "support/fixture.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

namespace rate_limit_test {

using namespace sidecar;
using namespace std::chrono_literals;

Options with(RateLimit limit)
{
    Options options;
    options.rate_limit = limit;
    return options;
}

std::vector<std::string> writes(const MockPeer& peer)
{
    std::vector<std::string> lines;
    for (const auto& line : peer.trace())
        if (line.find("write") != line.npos)
            lines.push_back(line);
    return lines;
}

TEST_CASE("rate limit: a burst goes at once, the rest waits in the outbox in its order")
{
    Fixture f{with({.messages = 10, .per = 1s, .burst_messages = 3})};
    REQUIRE(f.feed.start(1s));
    std::vector<std::string> wanted;
    for (int i = 0; i < 6; ++i) {
        wanted.push_back(fmt::format("{}", i));
        REQUIRE(f.feed.send(wanted.back()));
    }
    CHECK(f.feed.flush(99ms).error() == Error::timed_out);
    CHECK(f.peer.sent().size() == 3);
    CHECK(f.feed.stats().outbox_messages == 3);
    REQUIRE(f.feed.flush(1s));
    CHECK(f.peer.sent() == wanted);
    const auto lines = writes(f.peer);
    CHECK(std::vector(lines.end() - 3, lines.end())
          == std::vector<std::string>{"0.100 write 1", "0.200 write 1", "0.300 write 1"});
    const auto stats = f.feed.stats();
    CHECK(stats.rate_limit_waits == 3);
    CHECK(stats.rate_limited == 300ms);
}

TEST_CASE("rate limit: send refuses only once the outbox is full, and may wait for room")
{
    auto options = with({.messages = 1, .per = 1s});
    options.outbox = {.bytes = 1u << 10, .messages = 4};
    Fixture f{options};
    REQUIRE(f.feed.start(1s));
    REQUIRE(f.feed.send("x"));
    REQUIRE(f.feed.flush(1s)); // the next one must wait
    int accepted = 1;
    while (f.feed.send("x"))
        ++accepted;
    CHECK(accepted == 5);
    CHECK(f.feed.send("x").error() == Error::full);
    CHECK(f.feed.send("y", 5s));
    REQUIRE(f.feed.flush(1min));
    CHECK(f.peer.sent().size() == static_cast<std::size_t>(accepted) + 1);
    CHECK(f.feed.link()->stats().messages_sent == static_cast<std::size_t>(accepted) + 1);
}

TEST_CASE("rate limit: bytes count too, and a message larger than the burst still goes")
{
    Fixture f{with({.bytes = 1000, .per = 1s, .burst_bytes = 100})};
    REQUIRE(f.feed.start(1s));
    REQUIRE(f.feed.send(std::string(500, 'x')));
    REQUIRE(f.feed.send("y"));
    REQUIRE(f.feed.flush(1s));
    CHECK(f.feed.stats().rate_limited == 401ms); // 400 owed, and one
}

TEST_CASE("rate limit: the drain of a stop obeys it, and its time wins")
{
    Fixture f{with({.messages = 10, .per = 1s, .burst_messages = 1})};
    REQUIRE(f.feed.start(1s));
    for (int i = 0; i < 20; ++i)
        REQUIRE(f.feed.send("x"));
    const auto report = f.feed.stop();
    CHECK(report.drain.verdict == Verdict::timed_out);
    CHECK(report.drain.elapsed == 500ms);
    const auto sent = f.peer.sent().size(); // at 0, 100, ... and perhaps just at 500 ms
    CHECK((sent == 5 || sent == 6));
    CHECK(report.unsent_messages == 20 - sent);
    CHECK(report.close.verdict == Verdict::ok);
    CHECK(report.cancelled.empty());
}

TEST_CASE("rate limit: pings and heartbeats are not held up by it")
{
    auto options = with({.messages = 1, .per = 1h});
    options.ping_interval = 10s;
    options.ping_timeout = 20s;
    options.heartbeat = Heartbeat{.message = "hb"};
    Fixture f{options};
    REQUIRE(f.feed.start(1s));
    REQUIRE(f.feed.send("a"));
    REQUIRE(f.feed.send("b"));
    CHECK(f.feed.receive(15s).error() == Error::timed_out);
    CHECK(f.peer.sent() == std::vector<std::string>{"a", "hb"});
}

TEST_CASE("rate limit: a reconnect fills no bucket, and a subscription obeys too")
{
    auto options = with({.messages = 10, .per = 1s, .burst_messages = 2});
    options.reconnect = Reconnect{};
    Fixture f{options};
    REQUIRE(f.feed.start(1s));
    auto link = f.feed.link().value();
    for (int i = 0; i < 5; ++i)
        REQUIRE(link.subscribe(fmt::format("{}", i), fmt::format("subscribe {}", i)));
    REQUIRE(f.feed.flush(1s));
    CHECK(f.feed.receive(10s).error() == Error::timed_out); // the bucket fills
    f.peer.forget();
    f.peer.drop();
    CHECK(f.feed.receive(1s).error() == Error::disconnected);
    CHECK(f.feed.receive(1min).error() == Error::timed_out);
    CHECK(f.peer.sent().size() == 5);
    std::vector<double> times;
    for (const auto& line : writes(f.peer))
        times.push_back(std::stod(line));
    REQUIRE(times.size() >= 4); // two at once, then one each 100 ms
    CHECK(times.back() - times.front() >= 0.299);
}

TEST_CASE(
    "rate limit: messages that a slow peer takes late count from then, not from when they began")
{
    for (const bool by_bytes : {false, true}) {
        CAPTURE(by_bytes);
        Fixture f{with(by_bytes ? RateLimit{.bytes = 10} : RateLimit{.messages = 10})};
        REQUIRE(f.feed.start(1s));
        f.peer.hold_writes();
        for (int i = 0; i < 30; ++i)
            REQUIRE(f.feed.send("x"));
        CHECK(f.feed.receive(990ms).error() == Error::timed_out);
        f.peer.release_writes(); // ten arrive now
        REQUIRE(f.feed.flush(1min));
        std::vector<double> times;
        for (const auto& line : writes(f.peer)) {
            const auto count = std::stoi(line.substr(line.rfind(' ')));
            times.insert(times.end(), static_cast<std::size_t>(count), std::stod(line));
        }
        REQUIRE(times.size() == 30);
        times[0] = times[9]; // a trace has when the write began
        std::fill(times.begin(), times.begin() + 10, 0.99);
        for (std::size_t i = 10; i < times.size(); ++i)
            CHECK(times[i] - times[i - 10] >= 0.999);
        CHECK(f.feed.stop().clean());
    }
}

} // namespace rate_limit_test
