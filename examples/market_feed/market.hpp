// The application's job: a small book of instruments, and the age of messages when it took them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

class Market {
public:
    /// Takes one message of the feed, JSON.
    void take(std::string_view text);
    /// Recomputes every instrument's volatility from its recent prices.
    void revalue();

    [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }
    /// Counts messages that are neither a trade nor a quote.
    [[nodiscard]] std::uint64_t strangers() const noexcept { return strangers_; }
    /// Returns a quantile of the messages' age, in microseconds.
    [[nodiscard]] double latency(double quantile) const;
    [[nodiscard]] std::string table() const;
    [[nodiscard]] std::string histogram() const;
    /// The table as a JSON array.
    [[nodiscard]] std::string json() const;

private:
    struct Instrument {
        double bid = 0, ask = 0, last = 0, turnover = 0, volume = 0, volatility = 0;
        std::uint64_t trades = 0;
        std::array<double, 256> recent{};
        std::size_t recent_count = 0;
    };
    void record_age(std::int64_t sent_ns);

    std::map<std::string, Instrument, std::less<>> instruments_;
    std::uint64_t messages_ = 0, strangers_ = 0;
    std::array<std::uint64_t, 40> ages_{}; // by powers of two of microseconds
};
