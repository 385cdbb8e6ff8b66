// Tests of a program with two feeds and a loop: its market and its exchange are mocks on one clock.
#include "trader.hpp"

#include <sidecar/mock_clock.hpp>
#include <sidecar/transports/mock.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <string>

using namespace std::chrono_literals;

namespace {

/// The exchange's side: fills each order after a moment, and knows the true position.
class Exchange {
public:
    Exchange()
    {
        peer.on_message(
            [this](sidecar::MockConnection& connection, const sidecar::MessageView& message) {
                take(connection, message.text());
            });
    }
    void take(sidecar::MockConnection& connection, std::string_view text)
    {
        if (text == "position?") {
            connection.deliver(fmt::format("position {} {}", position, last_number));
            return;
        }
        const auto number = text.substr(text.find(' ') + 1);
        std::from_chars(number.data(), number.data() + number.size(), last_number);
        position += text.starts_with("buy") ? 1 : -1;
        connection.deliver_after(10ms, fmt::format("filled {}", number));
    }
    sidecar::MockPeer peer;
    int position = 0; // the loop's thread; the test's while that waits for its turn
    std::uint64_t last_number = 0;
};

struct World {
    explicit World(std::uint64_t seed = 0, sidecar::Faults faults = {})
        : clock{{.interleaving = seed}},
          market{{.peer = market_peer, .clock = clock, .faults = with_seed(faults, seed)},
                 Trader::market_options()},
          orders{{.peer = exchange.peer, .clock = clock, .faults = with_seed(faults, seed + 1)},
                 Trader::order_options()}
    {
    }
    static sidecar::Faults with_seed(sidecar::Faults faults, std::uint64_t seed)
    {
        faults.seed = seed;
        return faults;
    }
    /// Runs the loop. Checks in each frame what must always hold.
    void run(int frames)
    {
        static constexpr std::array prices{100, 101, 103, 102, 99, 98, 97, 99, 100, 104};
        for (; frames > 0; --frames) {
            market_peer.deliver(std::to_string(prices[frame++ % prices.size()]));
            REQUIRE(trader.frame());
            if (!trader.has_open_order())
                CHECK(trader.position() == exchange.position);
            CHECK(std::abs(exchange.position) <= Trader::max_position);
            clock.advance(50ms);
        }
    }

    sidecar::MockClock clock;
    sidecar::MockPeer market_peer;
    Exchange exchange;
    sidecar::Sidecar<sidecar::Mock> market, orders;
    Trader trader{market, orders};
    std::size_t frame = 0;
};

TEST_CASE("trader: buys low and sells high")
{
    World world;
    REQUIRE(world.market.start(1s));
    REQUIRE(world.orders.start(1s));
    world.run(20);
    CHECK(world.trader.fills() > 5);
    CHECK(world.trader.doubts() == 0);
}

TEST_CASE(
    "trader: an order whose connection breaks is in doubt until the exchange says what it owns")
{
    World world;
    REQUIRE(world.market.start(1s));
    REQUIRE(world.orders.start(1s));
    world.run(3);
    world.exchange.peer.on_message(
        [&](sidecar::MockConnection& connection, const sidecar::MessageView& message) {
            world.exchange.take(connection, message.text());
            if (message.text() != "position?")
                connection.reset(); // it has taken the order, and says nothing
        });
    world.run(40);
    CHECK(world.trader.doubts() > 0);
}

TEST_CASE("trader: in a thousand worlds with faults, its position is the exchange's")
{
    std::uint64_t fills = 0, doubts = 0;
    for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
        CAPTURE(seed);
        World world{seed,
                    {.latency = 0.1,
                     .short_read = 0.1,
                     .short_write = 0.1,
                     .pause = 0.01,
                     .reset = 0.03,
                     .refuse = 0.3,
                     .stall = 0.01,
                     .late_pong = 0.1}};
        REQUIRE(world.market.start(30s));
        REQUIRE(world.orders.start(30s));
        world.run(40);
        fills += world.trader.fills();
        doubts += world.trader.doubts();
    }
    CHECK(fills > 1000);
    CHECK(doubts > 100);
}

} // namespace
