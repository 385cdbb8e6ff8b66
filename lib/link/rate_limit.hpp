// How much may be sent now, and when more may, as a pure pair of token buckets.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/rate_limit.hpp>

#include <cstddef>
#include <cstdint>

namespace sidecar::detail {

/// One bucket: begins full, fills evenly, may owe. Counts whole numbers, in parts of a token that
/// one nanosecond adds a number of, so nothing is lost by rounding however often it is filled.
/// Invariant: never fuller than its burst.
class TokenBucket {
public:
    /// `rate` tokens in each `per`; zero: no limit. `burst` zero: as `rate`.
    TokenBucket(std::uint64_t rate, Duration per, std::uint64_t burst) noexcept;

    /// Adds what time has brought. The first call begins the time.
    void fill(TimePoint now) noexcept;
    /// Whether so many may be taken now. More than a burst may when it is full.
    [[nodiscard]] bool has(std::uint64_t tokens) const noexcept;
    void take(std::uint64_t tokens) noexcept;
    /// When has() will be true. Not before the first fill().
    [[nodiscard]] TimePoint when(std::uint64_t tokens) const noexcept;

private:
    __extension__ using Parts = __int128;
    /// What there must be in the bucket.
    [[nodiscard]] Parts needed(std::uint64_t tokens) const noexcept;

    std::uint64_t rate_;     // sidecar side; parts for each nanosecond
    Parts per_;              // sidecar side; parts of a token
    Parts full_;             // sidecar side
    Parts level_;            // sidecar side; below zero: it owes
    TimePoint filled_at_{};  // sidecar side
    bool has_begun_ = false; // sidecar side
};

/// Decides for a link's writer which messages of the outbox may go now. Owned by the link, over all
/// its connections.
class RateLimiter {
public:
    explicit RateLimiter(const RateLimit& limit) noexcept;

    [[nodiscard]] bool is_off() const noexcept { return is_off_; }
    /// True: the message counts as sent. False: it has to wait until next_at().
    [[nodiscard]] bool take(std::size_t payload_bytes, TimePoint now) noexcept;
    /// After a refusal.
    [[nodiscard]] TimePoint next_at() const noexcept { return next_at_; }

private:
    const bool is_off_;    // sidecar side
    TokenBucket messages_; // sidecar side
    TokenBucket bytes_;    // sidecar side
    TimePoint next_at_{};  // sidecar side
};

/// Errors: bad_options. Pure.
[[nodiscard]] Result<void> check_rate_limit(const RateLimit& limit);

} // namespace sidecar::detail
