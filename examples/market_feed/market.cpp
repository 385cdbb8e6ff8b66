#include "market.hpp"

#include <boost/json/src.hpp> // header-only: no library to install

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <numeric>

namespace json = boost::json;

void Market::take(std::string_view text)
{
    ++messages_;
    std::array<unsigned char, 2048> memory;
    json::monotonic_resource resource{memory.data(), memory.size()};
    json::error_code ec;
    const auto value = json::parse(json::string_view{text.data(), text.size()}, ec, &resource);
    const auto* object = ec ? nullptr : value.if_object();
    const auto field = [&](const char* name) {
        return object ? object->if_contains(name) : nullptr;
    };
    const auto real = [&](const char* name) {
        const auto* found = field(name);
        return found && found->is_number() ? found->to_number<double>() : 0.0;
    };
    const auto* type = field("type");
    const auto* symbol = field("symbol");
    if (!type || !type->is_string() || !symbol || !symbol->is_string()) {
        ++strangers_;
        return;
    }
    const std::string_view key{symbol->get_string().data(), symbol->get_string().size()};
    auto at = instruments_.find(key);
    if (at == instruments_.end()) {
        if (instruments_.size() == 64) { // a stranger's feed must not make this grow
            ++strangers_;
            return;
        }
        at = instruments_.emplace(key, Instrument{}).first;
    }
    auto& instrument = at->second;
    if (type->get_string() == "trade") {
        instrument.last = real("price");
        instrument.turnover += instrument.last * real("size");
        instrument.volume += real("size");
        instrument.recent[instrument.trades++ % instrument.recent.size()] = instrument.last;
        instrument.recent_count = std::min(instrument.recent_count + 1, instrument.recent.size());
    } else {
        instrument.bid = real("bid");
        instrument.ask = real("ask");
    }
    if (const auto* sent = field("sent_ns"); sent && sent->is_int64())
        record_age(sent->get_int64());
}

void Market::record_age(std::int64_t sent_ns)
{
    const auto age = std::chrono::steady_clock::now().time_since_epoch().count() - sent_ns;
    const auto us = static_cast<std::uint64_t>(std::max<std::int64_t>(age, 0)) / 1000;
    ++ages_[std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(us)), ages_.size() - 1)];
}

void Market::revalue()
{
    for (auto& [name, instrument] : instruments_) {
        const auto n = static_cast<double>(instrument.recent_count);
        if (n < 2)
            continue;
        const auto end =
            instrument.recent.begin() + static_cast<std::ptrdiff_t>(instrument.recent_count);
        const auto mean = std::accumulate(instrument.recent.begin(), end, 0.0) / n;
        const auto sum =
            std::accumulate(instrument.recent.begin(), end, 0.0, [&](double s, double price) {
                return s + (price - mean) * (price - mean);
            });
        instrument.volatility = std::sqrt(sum / (n - 1));
    }
}

double Market::latency(double quantile) const
{
    const auto total = std::accumulate(ages_.begin(), ages_.end(), std::uint64_t{0});
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < ages_.size(); ++i) {
        seen += ages_[i];
        if (seen != 0 && static_cast<double>(seen) >= quantile * static_cast<double>(total))
            return std::ldexp(1.0, static_cast<int>(i)); // the bucket's upper end
    }
    return 0;
}

std::string Market::table() const
{
    auto text = fmt::format("{:<8}{:>10}{:>10}{:>10}{:>10}{:>12}{:>10}\n", "symbol", "bid", "ask",
                            "last", "vwap", "volume", "stddev");
    for (const auto& [name, i] : instruments_)
        text += fmt::format("{:<8}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}{:>12.0f}{:>10.3f}\n", name,
                            i.bid, i.ask, i.last, i.volume > 0 ? i.turnover / i.volume : 0,
                            i.volume, i.volatility);
    return text;
}

std::string Market::histogram() const
{
    const auto most = *std::max_element(ages_.begin(), ages_.end());
    std::string text = "latency\n";
    for (std::size_t i = 0; i < ages_.size(); ++i) {
        if (ages_[i] != 0)
            text += fmt::format(
                "{:>9.0f} us {:<40} {}\n", std::ldexp(1.0, static_cast<int>(i)),
                std::string(static_cast<std::size_t>(1 + 39 * ages_[i] / most), '#'), ages_[i]);
    }
    return text;
}

std::string Market::json() const
{
    std::string text;
    for (const auto& [name, i] : instruments_)
        text +=
            fmt::format(R"({}{{"symbol":{},"bid":{:.2f},"ask":{:.2f},"last":{:.2f},"vwap":{:.2f},)"
                        R"("volume":{:.0f},"stddev":{:.3f}}})",
                        text.empty() ? "" : ",", json::serialize(json::string{name}), i.bid, i.ask,
                        i.last, i.volume > 0 ? i.turnover / i.volume : 0, i.volume, i.volatility);
    return fmt::format("[{}]", text);
}
