// Backoff: decides whether a link tries again, and when.
#pragma once

#include "base/virtual_time.hpp"

#include <sidecar/message.hpp>
#include <sidecar/reconnect.hpp>

#include <cstdint>
#include <optional>

namespace sidecar::detail {

/// Decides about the attempts of one link, which owns it. An outage begins with the first failure.
/// During it the window grows and the limits count. A wait is drawn from the whole window. Only a
/// connection that was up for `stable_after` ends the outage: one that is accepted and dropped is
/// no success. Reads no clock and never sleeps. Side: sidecar.
class Backoff {
public:
    /// `seed`: for the generator that is used if the options have none.
    Backoff(const Reconnect& options, std::uint64_t seed);

    /// The link is up.
    void up(TimePoint now) noexcept { up_since_ = now; }
    /// A connection or an attempt failed or ended. Returns the time of the next attempt; empty:
    /// there is none, since trying cannot help or a limit is reached. Throws Exception
    /// (callback_failed or its own failure) if the application's predicate or generator throws.
    [[nodiscard]] std::optional<TimePoint> next(const Failure& why, TimePoint now);
    /// Returns the next attempt's number in the outage; 1 before the first failure.
    [[nodiscard]] std::uint32_t attempt() const noexcept { return attempts_ + 1; }

private:
    [[nodiscard]] bool is_worth_it(const Failure& why, TimePoint now) const;
    [[nodiscard]] Duration draw(Duration window);

    const Reconnect options_;             // sidecar side
    std::uint64_t generator_;             // sidecar side
    Duration window_;                     // sidecar side; of the next attempt
    std::uint32_t attempts_ = 0;          // sidecar side; of this outage
    std::optional<TimePoint> began_;      // sidecar side; of this outage
    std::optional<TimePoint> up_since_{}; // sidecar side
};

/// Returns a seed that differs from process to process and from link to link; on virtual time from
/// link to link of the clock only, so that each run of a test gives the same result. `time`: null
/// on real time.
[[nodiscard]] std::uint64_t make_seed(LinkId link, VirtualTime* time);

/// Checks the options. Errors: bad_options.
[[nodiscard]] Result<void> validate_reconnect(const Reconnect& options);

} // namespace sidecar::detail
