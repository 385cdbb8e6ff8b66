// A program with two feeds and a loop: it reads prices, and sends orders to an exchange.
#pragma once

#include <sidecar/sidecar.hpp>

#include <cstdint>
#include <optional>

/// Buys when the price falls and sells when it rises, one order at a time. Call frame() in a loop.
///
/// The exchange answers "position?" with "position P LAST": what we own, and the number of the last
/// order that it has taken. It answers "buy N" and "sell N" with "filled N". An order is in doubt if
/// its connection breaks, or if it has no answer for a second: it may have expired here. Each
/// connection begins with "position?", and frame() asks again after that second; the answer ends the
/// doubt. So whenever no order is open, our position is the exchange's.
class Trader {
public:
    static constexpr int max_position = 3;

    /// Options of the two feeds that make this work; main() and the test pass them.
    [[nodiscard]] static sidecar::Options market_options();
    [[nodiscard]] static sidecar::Options order_options();

    Trader(sidecar::Feed& market, sidecar::Feed& orders) : market_{market}, orders_{orders} {}

    /// Takes what came, and sends an order if there is a reason. Never waits. False: the exchange is
    /// gone for good.
    [[nodiscard]] bool frame();

    [[nodiscard]] int position() const noexcept { return position_; }
    [[nodiscard]] bool has_open_order() const noexcept { return open_.has_value(); }
    [[nodiscard]] std::uint64_t fills() const noexcept { return fills_; }
    [[nodiscard]] std::uint64_t doubts() const noexcept { return doubts_; }

private:
    struct Order {
        std::uint64_t number = 0;
        int change = 0;
        sidecar::TimePoint asked_at{};
    };
    void on_price(const sidecar::MessageView& message);
    void on_answer(const sidecar::MessageView& message);
    void order();

    sidecar::Feed& market_;
    sidecar::Feed& orders_;
    int position_ = 0;
    int last_price_ = 0, move_ = 0;
    std::optional<Order> open_{};
    std::optional<std::uint32_t> connection_{}; // whose position we know
    std::uint64_t last_number_ = 0, fills_ = 0, doubts_ = 0;
};
