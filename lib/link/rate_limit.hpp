// How much may be sent now, and when more may. Pure.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/rate_limit.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace sidecar::detail {

/// One bucket: begins full, fills evenly, may owe. Counts whole numbers, in parts of a token that
/// one nanosecond adds a number of, so nothing is lost by rounding however often it is filled.
/// Invariant: never fuller than its burst.
class TokenBucket {
public:
    /// `rate` tokens in each `per`; at most `burst` at once.
    TokenBucket(std::uint64_t rate, Duration per, std::uint64_t burst) noexcept;

    /// When so many may be taken; min(): at once. More than a burst may when it is full. The first
    /// call begins the time.
    [[nodiscard]] TimePoint when(std::uint64_t tokens, TimePoint now) noexcept;
    void take(std::uint64_t tokens) noexcept { level_ -= tokens * per_; }

private:
    __extension__ using Parts = __int128;
    void fill(TimePoint now) noexcept;

    std::uint64_t rate_;     // sidecar side; parts for each nanosecond
    Parts per_;              // sidecar side; parts of a token
    Parts full_;             // sidecar side
    Parts level_;            // sidecar side; below zero: it owes
    TimePoint filled_at_{};  // sidecar side
    bool has_begun_ = false; // sidecar side
};

/// The tokens that were taken within the last `per`. Those taken within a sixty-fourth of it count
/// as taken at the latest of their times, so that it holds few entries. Invariant: in no window of
/// `per` are more than `limit` taken, but for a single larger take, which goes alone and is paid
/// with as many windows.
class SlidingWindow {
public:
    SlidingWindow(std::uint64_t limit, Duration per) : limit_{limit}, per_{per} {}

    /// When so many may be taken; min(): at once.
    [[nodiscard]] TimePoint when(std::uint64_t tokens, TimePoint now) noexcept;
    /// At the time of the latest when(). Throws bad_alloc.
    void take(std::uint64_t tokens);
    /// The latest take was written until now.
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
    TimePoint now_{};         // sidecar side; never goes back
    std::uint64_t used_ = 0;  // sidecar side
    std::deque<Taken> taken_; // sidecar side; oldest first
};

/// Decides for a link's writer which messages of the outbox may go now. Owned by the link, over all
/// its connections.
class RateLimiter {
public:
    explicit RateLimiter(const RateLimit& limit)
        : messages_{limit.messages, limit.per, limit.burst_messages},
          bytes_{limit.bytes, limit.per, limit.burst_bytes}
    {
    }

    /// True: the message counts as sent. False: it has to wait until next_at().
    [[nodiscard]] bool take(std::size_t payload_bytes, TimePoint now);
    /// What was taken last has been written, as far as it was. A peer counts from when it arrives.
    void written(TimePoint now) noexcept
    {
        for (auto* quota : {&messages_, &bytes_})
            if (quota->window)
                quota->window->written(now);
    }
    /// After a refusal.
    [[nodiscard]] TimePoint next_at() const noexcept { return next_at_; }

private:
    /// A bucket where a burst was asked for, else a window; nothing where the limit is zero.
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

/// Errors: bad_options. Pure.
[[nodiscard]] Result<void> validate_rate_limit(const RateLimit& limit);

} // namespace sidecar::detail
