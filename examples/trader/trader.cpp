#include "trader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <string_view>

using namespace std::chrono_literals;

namespace {

/// Removes the first word of `text` and returns it.
std::string_view next_word(std::string_view& text)
{
    const auto word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    return word;
}

template <class Number>
Number next_number(std::string_view& text)
{
    Number number{};
    const auto word = next_word(text);
    std::from_chars(word.data(), word.data() + word.size(), number);
    return number;
}

sidecar::Options reconnecting()
{
    return {.reconnect =
                sidecar::Reconnect{.window = 200ms, .connect_timeout = 1s, .at_start = true},
            .ping_interval = 500ms,
            .ping_timeout = 500ms};
}

} // namespace

sidecar::Options Trader::market_options()
{
    auto options = reconnecting();
    // Only the latest price matters.
    options.overflow = {.policy = sidecar::OverflowPolicy::conflate,
                        .key = [](const sidecar::MessageView&) { return "price"; }};
    return options;
}

sidecar::Options Trader::order_options()
{
    auto options = reconnecting();
    options.subscriptions = {{.key = "position",
                              .message = "position?",
                              .is_answer = [](const sidecar::MessageView& message) {
                                  return message.text().starts_with("position ");
                              }}};
    return options;
}

bool Trader::frame()
{
    move_ = 0;
    (void)market_.poll([this](const sidecar::MessageView& message) { on_price(message); });
    const auto taken =
        orders_.poll([this](const sidecar::MessageView& message) { on_answer(message); });
    if (!taken && !taken.error().will_retry())
        return false;
    if (move_ != 0)
        order();
    if (open_ && orders_.now() - open_->asked_at > 1s
        && orders_.send("position?", {.connection = connection_}))
        open_->asked_at = orders_.now();
    return true;
}

void Trader::on_price(const sidecar::MessageView& message)
{
    auto text = message.text();
    const auto price = next_number<int>(text);
    move_ = last_price_ != 0 ? price - last_price_ : 0;
    last_price_ = price;
}

void Trader::on_answer(const sidecar::MessageView& message)
{
    auto text = message.text();
    const auto what = next_word(text);
    if (what == "position") {
        position_ = next_number<int>(text);
        connection_ = message.connection();
        doubts_ += open_.has_value();
        open_.reset(); // taken or not, the position says it
    } else if (const auto number = next_number<std::uint64_t>(text);
               what == "filled" && open_ && open_->number == number) {
        position_ += open_->change;
        open_.reset();
        ++fills_;
    }
}

void Trader::order()
{
    const int change = move_ < 0 ? 1 : -1;
    if (open_ || !connection_ || std::abs(position_ + change) > max_position)
        return;
    const Order order{++last_number_, change, orders_.now()};
    // Only on the connection whose position we know, and not later than the price is worth.
    if (orders_.send(fmt::format("{} {}", change > 0 ? "buy" : "sell", order.number),
                     {.connection = connection_, .expires_after = 100ms}))
        open_ = order;
}
