// When a link tries again, and whether at all. Pure.
#pragma once

#include <sidecar/message.hpp>
#include <sidecar/reconnect.hpp>

#include <cstdint>
#include <optional>

namespace sidecar::detail {

/// Decides about the attempts of one link, which owns it. An outage begins with the first failure
/// and ends only with a connection that was up for long enough; over an outage the window grows and
/// the limits count. Asks no clock and sleeps nowhere. Side: sidecar.
class Backoff {
public:
    /// `seed`: for the generator that is used if the options bring none.
    Backoff(const Reconnect& options, std::uint64_t seed);

    /// The link is up.
    void up(TimePoint now) noexcept { up_since_ = now; }
    /// A connection or an attempt failed, or ended. Gives the time of the next attempt; empty: there
    /// will be none, since trying cannot help or a limit is reached. Passes on what the
    /// application's predicate and generator throw.
    [[nodiscard]] std::optional<TimePoint> next(const Failure& why, TimePoint now);
    /// Of the next attempt, counted from the beginning of the outage; 1 before the first failure.
    [[nodiscard]] std::uint32_t attempt() const noexcept { return attempts_ + 1; }

private:
    [[nodiscard]] bool is_worth_it(const Failure& why, TimePoint now) const;
    [[nodiscard]] Duration draw(Duration window);

    const Reconnect options_;             // sidecar side
    std::uint64_t generator_;             // sidecar side
    Duration window_;                     // sidecar side; of the next attempt
    std::uint32_t attempts_ = 0;          // sidecar side; of this outage
    std::optional<TimePoint> began_;      // sidecar side; the outage
    std::optional<TimePoint> up_since_{}; // sidecar side
};

/// A seed that differs from process to process and from link to link.
[[nodiscard]] std::uint64_t make_seed(LinkId link);

/// Errors: bad_options.
[[nodiscard]] Result<void> validate_reconnect(const Reconnect& options);

} // namespace sidecar::detail
