#include "link/rate_limit.hpp"

#include <algorithm>

namespace sidecar::detail {

TokenBucket::TokenBucket(std::uint64_t rate, Duration per, std::uint64_t burst) noexcept
    : rate_{rate},
      per_{std::max<Duration::rep>(per.count(), 1)},
      full_{(burst != 0 ? burst : rate) * per_},
      level_{full_}
{
}

void TokenBucket::fill(TimePoint now) noexcept
{
    if (rate_ == 0)
        return;
    if (!has_begun_) {
        has_begun_ = true;
        filled_at_ = now;
        return;
    }
    if (now <= filled_at_)
        return;
    const Parts passed = (now - filled_at_).count();
    filled_at_ = now;
    // The product of a long time and a high rate has no place
    level_ = passed >= (full_ - level_ + rate_ - 1) / rate_ ? full_ : level_ + passed * rate_;
}

TokenBucket::Parts TokenBucket::needed(std::uint64_t tokens) const noexcept
{
    return std::min(tokens * per_, full_);
}

bool TokenBucket::has(std::uint64_t tokens) const noexcept
{
    return rate_ == 0 || level_ >= needed(tokens);
}

void TokenBucket::take(std::uint64_t tokens) noexcept
{
    if (rate_ != 0)
        level_ -= tokens * per_;
}

TimePoint TokenBucket::when(std::uint64_t tokens) const noexcept
{
    if (has(tokens))
        return filled_at_;
    const Parts nanoseconds = (needed(tokens) - level_ + rate_ - 1) / rate_;
    constexpr Parts longest = Duration::max().count();
    return deadline_after(
        filled_at_, Duration{static_cast<Duration::rep>(std::min<Parts>(nanoseconds, longest))});
}

RateLimiter::RateLimiter(const RateLimit& limit) noexcept
    : is_off_{limit.messages == 0 && limit.bytes == 0},
      messages_{limit.messages, limit.per, limit.burst_messages},
      bytes_{limit.bytes, limit.per, limit.burst_bytes}
{
}

bool RateLimiter::take(std::size_t payload_bytes, TimePoint now) noexcept
{
    if (is_off_)
        return true;
    messages_.fill(now);
    bytes_.fill(now);
    if (!messages_.has(1) || !bytes_.has(payload_bytes)) {
        next_at_ = std::max({messages_.when(1), bytes_.when(payload_bytes)});
        return false;
    }
    messages_.take(1);
    bytes_.take(payload_bytes);
    return true;
}

Result<void> check_rate_limit(const RateLimit& limit)
{
    const auto refuse = [](const char* why) -> Result<void> {
        return Failure{Error::bad_options,
                       {.attempted = "start", .explanation = std::string{"rate limit: "} + why}};
    };
    const bool is_off = limit.messages == 0 && limit.bytes == 0;
    if (!is_off && (limit.per <= Duration{} || limit.per > std::chrono::hours{24}))
        return refuse("`per` must be positive, and a day at most");
    if ((limit.messages == 0 && limit.burst_messages != 0)
        || (limit.bytes == 0 && limit.burst_bytes != 0))
        return refuse("a burst without a rate would go once, and never again");
    return {};
}

} // namespace sidecar::detail
