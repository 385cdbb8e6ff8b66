// Histogram and Latency: durations in the stats.
#pragma once

#include <sidecar/clock.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace sidecar {

/// Counts durations by range.
struct Histogram {
    /// The upper bounds of the ranges; each belongs to its range.
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

    /// One count for each range; the last is for durations above the last bound.
    std::array<std::uint64_t, bounds.size() + 1> counts{};
    Duration sum{}; ///< of all durations; keeps its largest value instead of overflowing

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
    Duration min{};
    Duration max{};
    Duration p50{}; ///< exact, or at most an eighth too large; from `min` to `max`
    Duration p99{}; ///< as p50
    Histogram histogram{};
};

} // namespace sidecar
