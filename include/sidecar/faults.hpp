// Faults: faults of a network, drawn from a seed, and their text form.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

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

    friend bool operator==(const Faults&, const Faults&) = default;
};

/// Checks the values. Errors: bad_options for a rate that is not from 0 to 1, a duration
/// that is negative or above a year.
/// Side: any thread; pure.
[[nodiscard]] SIDECAR_API Result<void> check_faults(const Faults& faults);

/// Parses the text form: "seed=7,reset=0.001,max_pause=200ms". The keys are the members' names, in
/// any order; a key that is missing has the member's default, and an empty text gives no faults. A
/// duration has a unit: ns, us, ms or s. Errors: bad_options; the explanation names the key, and
/// shows nothing else of the text. Side: any thread; pure.
[[nodiscard]] SIDECAR_API Result<Faults> parse_faults(std::string_view text);

/// Returns the text form, without members that have their defaults. parse_faults() returns
/// the same faults for it. Side: any thread; pure.
[[nodiscard]] SIDECAR_API std::string to_string(const Faults& faults);

} // namespace sidecar
