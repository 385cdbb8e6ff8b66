// RateLimiter: decides how much may be sent now, and when more. Reads no clock.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/rate_limit.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace sidecar::detail {

/// A token bucket: begins full, fills evenly, may go into debt. It counts integers: a token has
/// `per` parts and each nanosecond adds `rate` of them, so rounding loses nothing. Invariant: never
/// fuller than its burst.
class TokenBucket {
public:
    /// `rate` tokens in each `per`; at most `burst` at once.
    TokenBucket(std::uint64_t rate, Duration per, std::uint64_t burst) noexcept;

    /// Returns when so many may be taken; min(): at once. A full bucket allows more than a burst.
    /// The first call begins the time.
    [[nodiscard]] TimePoint when(std::uint64_t tokens, TimePoint now) noexcept;
    void take(std::uint64_t tokens) noexcept { level_ -= tokens * per_; }

private:
    __extension__ using Parts = __int128;
    void fill(TimePoint now) noexcept;

    std::uint64_t rate_;     // sidecar side; parts per nanosecond
    Parts per_;              // sidecar side; parts per token
    Parts full_;             // sidecar side
    Parts level_;            // sidecar side; below zero: debt
    TimePoint filled_at_{};  // sidecar side
    bool has_begun_ = false; // sidecar side
};

/// Counts the tokens taken within the last `per`. Those taken within a sixty-fourth of it count as
/// taken at the latest of their times, which keeps the entries few. Invariant: no window of `per`
/// has more than `limit`, except a single larger take: it goes alone, and is paid with as many
/// windows as it fills.
class SlidingWindow {
public:
    SlidingWindow(std::uint64_t limit, Duration per) : limit_{limit}, per_{per} {}

    /// Returns when so many may be taken; min(): at once.
    [[nodiscard]] TimePoint when(std::uint64_t tokens, TimePoint now) noexcept;
    /// Takes them at the time of the latest when(). Throws bad_alloc.
    void take(std::uint64_t tokens);
    /// Moves the latest take's end to now: its write took until now.
    void written(TimePoint now) noexcept
    {
        if (!taken_.empty())
            taken_.back().last = std::max(taken_.back().last, now);
    }

private:
    struct Taken {
        std::uint64_t tokens;
        TimePoint first, last;
    };
    [[nodiscard]] TimePoint end_of(const Taken& taken) const noexcept;

    std::uint64_t limit_;     // sidecar side
    Duration per_;            // sidecar side
    TimePoint now_{};         // sidecar side; never decreases
    std::uint64_t used_ = 0;  // sidecar side
    std::deque<Taken> taken_; // sidecar side; oldest first
};

/// Decides which messages of the outbox a link's writer may send now. Messages over the limit wait
/// in the outbox: one bound, one order, one count. Owned by the link, over all its connections.
class RateLimiter {
public:
    explicit RateLimiter(const RateLimit& limit)
        : messages_{limit.messages, limit.per, limit.burst_messages},
          bytes_{limit.bytes, limit.per, limit.burst_bytes}
    {
    }

    /// Returns true if the message may go, which then counts as sent; false: it must wait until
    /// next_at().
    [[nodiscard]] bool take(std::size_t payload_bytes, TimePoint now);
    /// The latest take was written, perhaps in part. A peer counts a message when it arrives.
    void written(TimePoint now) noexcept
    {
        for (auto* quota : {&messages_, &bytes_})
            if (quota->window)
                quota->window->written(now);
    }
    /// Valid after a refusal.
    [[nodiscard]] TimePoint next_at() const noexcept { return next_at_; }

private:
    /// A bucket if a burst is set, otherwise a window; neither if the limit is zero.
    struct Quota {
        Quota(std::uint64_t limit, Duration per, std::uint64_t burst);
        [[nodiscard]] TimePoint when(std::uint64_t tokens, TimePoint now) noexcept;
        void take(std::uint64_t tokens);

        std::optional<TokenBucket> bucket;   // sidecar side
        std::optional<SlidingWindow> window; // sidecar side
    };

    Quota messages_;      // sidecar side
    Quota bytes_;         // sidecar side
    TimePoint next_at_{}; // sidecar side
};

/// Checks the limit. Errors: bad_options. Pure.
[[nodiscard]] Result<void> validate_rate_limit(const RateLimit& limit);

} // namespace sidecar::detail
