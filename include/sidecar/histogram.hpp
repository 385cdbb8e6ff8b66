// Histogram and Latency: how durations are told in the stats.
#pragma once

#include <sidecar/clock.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace sidecar {

/// How many durations fell into which range.
struct Histogram {
    /// Upper ends of the ranges, themselves within.
    static constexpr std::array<Duration, 21> bounds{
        std::chrono::microseconds{10},   std::chrono::microseconds{25},
        std::chrono::microseconds{50},   std::chrono::microseconds{100},
        std::chrono::microseconds{250},  std::chrono::microseconds{500},
        std::chrono::milliseconds{1},    std::chrono::microseconds{2500},
        std::chrono::milliseconds{5},    std::chrono::milliseconds{10},
        std::chrono::milliseconds{25},   std::chrono::milliseconds{50},
        std::chrono::milliseconds{100},  std::chrono::milliseconds{250},
        std::chrono::milliseconds{500},  std::chrono::seconds{1},
        std::chrono::milliseconds{2500}, std::chrono::seconds{5},
        std::chrono::seconds{10},        std::chrono::seconds{30},
        std::chrono::seconds{60}};

    /// Of each range; the last is for all above the last bound.
    std::array<std::uint64_t, bounds.size() + 1> counts{};
    Duration sum{}; ///< of all; stays at its largest value rather than overflow

    [[nodiscard]] std::uint64_t total() const noexcept
    {
        std::uint64_t total = 0;
        for (const auto count : counts)
            total += count;
        return total;
    }
};

/// Durations of one kind. All zero: there was none.
struct Latency {
    std::uint64_t count = 0;
    Duration last{};
    Duration least{};
    Duration most{};
    Duration p50{}; ///< not below the true one, and at most an eighth above; between least and most
    Duration p99{}; ///< likewise
    Histogram histogram{};
};

} // namespace sidecar
