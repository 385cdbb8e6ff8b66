// Faults: faults of a network, drawn from a seed.
#pragma once

#include <sidecar/clock.hpp>

#include <chrono>
#include <cstdint>

namespace sidecar {

/// Faults of a network, drawn from a seed: the same seed and the same operations give the same
/// faults. The rates are probabilities for each operation, from 0 (never, the default) to 1
/// (always). An operation is one connect, or one read or write of the transport below its protocol.
struct Faults {
    std::uint64_t seed = 0;
    double latency = 0; ///< operations that end late, by up to max_latency
    Duration max_latency = std::chrono::milliseconds{20};
    double short_read = 0; ///< reads that return a part of the data (Mock: fewer messages, or none)
    double short_write = 0; ///< writes that take a part of the data before the rest
    double pause = 0;       ///< reads before which the peer sends nothing for up to max_pause
    Duration max_pause = std::chrono::seconds{1};
    double reset = 0;  ///< operations at which the connection is reset
    double refuse = 0; ///< connects that are refused
    /// Operations after which nothing moves in either direction; the connection seems to be up.
    double stall = 0;
    double late_pong = 0; ///< pongs that arrive late, by up to max_pong_delay (Mock only)
    Duration max_pong_delay = std::chrono::seconds{30};

    /// Whether a rate is above zero.
    [[nodiscard]] constexpr bool any() const noexcept
    {
        return latency > 0 || short_read > 0 || short_write > 0 || pause > 0 || reset > 0
               || refuse > 0 || stall > 0 || late_pong > 0;
    }
};

} // namespace sidecar
