#include "link/rate_limit.hpp"

#include "base/failures.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace sidecar::detail {
namespace {

__extension__ using Wide = __int128;

TimePoint later(TimePoint from, Wide nanoseconds) noexcept
{
    constexpr Wide longest = Duration::max().count();
    return deadline_after(
        from, Duration{static_cast<Duration::rep>(std::min<Wide>(nanoseconds, longest))});
}

} // namespace

// --- a bucket

TokenBucket::TokenBucket(std::uint64_t rate, Duration per, std::uint64_t burst) noexcept
    : rate_{rate}, per_{std::max<Duration::rep>(per.count(), 1)}, full_{burst * per_}, level_{full_}
{
}

void TokenBucket::fill(TimePoint now) noexcept
{
    if (!std::exchange(has_begun_, true))
        filled_at_ = now;
    if (now <= filled_at_)
        return;
    const Parts passed = (now - filled_at_).count();
    filled_at_ = now;
    // The product of a long time and a high rate would overflow
    level_ = passed >= (full_ - level_ + rate_ - 1) / rate_ ? full_ : level_ + passed * rate_;
}

TimePoint TokenBucket::when(std::uint64_t tokens, TimePoint now) noexcept
{
    fill(now);
    const auto missing = std::min(tokens * per_, full_) - level_;
    return missing <= 0 ? TimePoint::min() : later(filled_at_, (missing + rate_ - 1) / rate_);
}

// --- a window

/// A take that is larger than the limit stays for as many windows as it fills.
TimePoint SlidingWindow::end_of(const Taken& taken) const noexcept
{
    const Wide per = per_.count();
    return later(taken.last,
                 taken.tokens <= limit_ ? per : (per * taken.tokens + limit_ - 1) / limit_);
}

TimePoint SlidingWindow::when(std::uint64_t tokens, TimePoint now) noexcept
{
    now_ = std::max(now_, now);
    while (!taken_.empty() && end_of(taken_.front()) <= now_) {
        used_ -= taken_.front().tokens;
        taken_.pop_front();
    }
    auto used = used_;
    const auto fits = [&] {
        return used == 0 || tokens == 0 || (used <= limit_ && tokens <= limit_ - used);
    };
    auto when = TimePoint::min();
    for (auto at = taken_.begin(); !fits(); ++at) {
        used -= at->tokens;
        when = end_of(*at);
    }
    return when;
}

void SlidingWindow::take(std::uint64_t tokens)
{
    if (tokens == 0)
        return;
    if (!taken_.empty() && now_ - taken_.back().first <= per_ / 64) {
        taken_.back().tokens += tokens;
        taken_.back().last = now_;
    } else {
        taken_.push_back({tokens, now_, now_});
    }
    used_ += tokens;
}

// --- both

RateLimiter::Quota::Quota(std::uint64_t limit, Duration per, std::uint64_t burst)
{
    if (limit != 0 && burst != 0)
        bucket.emplace(limit, per, burst);
    else if (limit != 0)
        window.emplace(limit, per);
}

TimePoint RateLimiter::Quota::when(std::uint64_t tokens, TimePoint now) noexcept
{
    return bucket   ? bucket->when(tokens, now)
           : window ? window->when(tokens, now)
                    : TimePoint::min();
}

void RateLimiter::Quota::take(std::uint64_t tokens)
{
    if (bucket)
        bucket->take(tokens);
    if (window)
        window->take(tokens);
}

bool RateLimiter::take(std::size_t payload_bytes, TimePoint now)
{
    next_at_ = std::max(messages_.when(1, now), bytes_.when(payload_bytes, now));
    if (next_at_ != TimePoint::min())
        return false;
    messages_.take(1);
    bytes_.take(payload_bytes);
    return true;
}

Result<void> validate_rate_limit(const RateLimit& limit)
{
    if ((limit.messages == 0 && limit.burst_messages != 0)
        || (limit.bytes == 0 && limit.burst_bytes != 0))
        return bad_options("rate limit: a burst without a rate would go once, and never again");
    if (limit.messages == 0 && limit.bytes == 0)
        return bad_options(
            "rate limit: it limits neither messages nor bytes; leave it out for no limit");
    if (limit.per <= Duration{} || limit.per > std::chrono::hours{24})
        return bad_options("rate limit: `per` must be positive, and a day at most");
    return {};
}

} // namespace sidecar::detail
