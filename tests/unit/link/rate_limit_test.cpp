// The token buckets, by table.
#include "link/rate_limit.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace rate_limit_test {

using namespace sidecar;
using detail::validate_rate_limit, detail::RateLimiter, detail::TokenBucket;
using namespace std::chrono_literals;

TimePoint at(Duration when) { return TimePoint{when}; }

/// How many messages of this size go, if one is always waiting, until `end`.
std::vector<Duration> sent_times(RateLimit limit, std::size_t bytes, Duration end)
{
    RateLimiter limiter{limit};
    std::vector<Duration> times;
    for (TimePoint now{}; now <= at(end);) {
        if (limiter.take(bytes, now)) {
            times.push_back(now.time_since_epoch());
            continue;
        }
        REQUIRE(limiter.next_at() > now); // it would turn in a circle otherwise
        now = limiter.next_at();
    }
    return times;
}

TEST_CASE("rate limit: a burst goes at once, and then one message each time that one is due")
{
    const auto times = sent_times({.messages = 4, .per = 1s, .burst_messages = 3}, 10, 1s);
    CHECK(times == std::vector<Duration>{0s, 0s, 0s, 250ms, 500ms, 750ms, 1s});
}

TEST_CASE("rate limit: in no window go more than the burst and what the window brings")
{
    struct Row {
        RateLimit limit;
        std::size_t bytes;
    };
    const std::vector<Row> rows{
        {{.messages = 3, .per = 1s}, 1},
        {{.messages = 7, .per = 1s, .burst_messages = 1}, 1},
        {{.messages = 1000, .per = 1min, .burst_messages = 20}, 1},
        {{.bytes = 1000, .per = 1s}, 33},
        {{.messages = 10, .bytes = 100, .per = 1s}, 30},
        {{.messages = 2, .bytes = 1u << 20, .per = 300ms, .burst_bytes = 64}, 64},
    };
    for (const auto& row : rows) {
        const auto limit = row.limit; // clang 14 captures no structured binding
        const auto bytes = row.bytes;
        CAPTURE(limit.messages);
        CAPTURE(limit.bytes);
        const auto times = sent_times(limit, bytes, 20s);
        REQUIRE(times.size() > 3);
        const auto check = [&](std::uint64_t rate, std::uint64_t burst, std::uint64_t each) {
            if (rate == 0)
                return;
            const bool has_burst = burst != 0;
            for (std::size_t first = 0; first < times.size(); ++first)
                for (auto last = first; last < times.size(); ++last) {
                    const auto window = static_cast<double>((times[last] - times[first]).count());
                    if (!has_burst) { // never more in any window
                        if (times[last] - times[first] < limit.per)
                            REQUIRE((last - first + 1) * each <= rate);
                        continue;
                    }
                    const auto most = static_cast<double>(burst)
                                      + window * static_cast<double>(rate)
                                            / static_cast<double>(limit.per.count());
                    REQUIRE(static_cast<double>((last - first + 1) * each) <= most + 1e-6);
                }
        };
        check(limit.messages, limit.burst_messages, 1);
        check(limit.bytes, limit.burst_bytes, bytes);
    }
}

TEST_CASE("rate limit: nothing is lost by rounding, however often the bucket is filled")
{
    // 3 in a second have no whole number of nanoseconds between them
    const auto times = sent_times({.messages = 3, .per = 1s, .burst_messages = 2}, 1, 1000s);
    CHECK(times.size() == 3002);
    CHECK(times.back() == 1000s);

    TokenBucket bucket{7, 1s, 7};
    (void)bucket.when(0, TimePoint{});
    bucket.take(7);
    for (Duration t{}; t < 1s; t += 1009ns * 1000)
        (void)bucket.when(0, at(t));
    CHECK(bucket.when(7, at(1s - 1ns)) == at(1s));
    CHECK(bucket.when(7, at(1s)) == TimePoint::min());
}

TEST_CASE("rate limit: a message larger than the burst goes when the bucket is full, and is paid")
{
    RateLimiter limiter{{.bytes = 100, .per = 1s, .burst_bytes = 50}};
    CHECK(limiter.take(10, at(0s)));
    CHECK_FALSE(limiter.take(300, at(0s)));
    CHECK(limiter.next_at() == at(100ms)); // full again
    CHECK(limiter.take(300, at(100ms)));
    CHECK_FALSE(limiter.take(1, at(100ms)));
    CHECK(limiter.next_at() == at(2610ms)); // 250 owed, and one
    CHECK_FALSE(limiter.take(1, at(2609ms)));
    CHECK(limiter.take(1, at(2610ms)));
}

TEST_CASE(
    "rate limit: without a burst each window of that time has as many as allowed, and no more")
{
    const auto times = sent_times({.messages = 10, .per = 1s}, 1, 2s);
    REQUIRE(times.size() == 30);
    CHECK(std::count(times.begin(), times.end(), 0s) == 10);
    CHECK(std::count(times.begin(), times.end(), 1s) == 10);

    RateLimiter limiter{{.messages = 3, .per = 1s}};
    for (const auto when : {0ms, 300ms, 900ms})
        CHECK(limiter.take(1, at(when)));
    CHECK_FALSE(limiter.take(1, at(999ms)));
    CHECK(limiter.next_at() == at(1s));
    CHECK(limiter.take(1, at(1s)));
    CHECK_FALSE(limiter.take(1, at(1s)));
    CHECK(limiter.next_at() == at(1300ms));
}

TEST_CASE("rate limit: without a burst a message larger than the limit goes alone, and is paid")
{
    RateLimiter limiter{{.bytes = 100, .per = 1s}};
    CHECK(limiter.take(10, at(0s)));
    CHECK_FALSE(limiter.take(250, at(0s)));
    CHECK(limiter.next_at() == at(1s));
    CHECK(limiter.take(250, at(1s)));
    CHECK_FALSE(limiter.take(1, at(2s)));
    CHECK(limiter.next_at() == at(3500ms));
    CHECK(limiter.take(100, at(3500ms)));
}

TEST_CASE("rate limit: an empty message costs no bytes")
{
    RateLimiter limiter{{.bytes = 10, .per = 1s}};
    CHECK(limiter.take(10, at(0s)));
    CHECK(limiter.take(0, at(0s)));
    CHECK_FALSE(limiter.take(1, at(0s)));
}

TEST_CASE("rate limit: after a long silence there is a burst and no more")
{
    RateLimiter limiter{{.messages = 1'000'000'000, .per = 1ns, .burst_messages = 2}};
    CHECK(limiter.take(1, at(0s)));
    CHECK(limiter.take(1, TimePoint::max()));
    CHECK(limiter.take(1, TimePoint::max()));
    CHECK_FALSE(limiter.take(1, TimePoint::max()));
}

TEST_CASE("rate limit: a clock that stands still, or the largest numbers, break nothing")
{
    RateLimiter limiter{{.messages = UINT64_MAX, .bytes = UINT64_MAX, .per = 24h}};
    for (int i = 0; i < 10; ++i)
        CHECK(limiter.take(SIZE_MAX / 16, at(0s)));
    RateLimiter slow{{.messages = 1, .per = 24h}};
    CHECK(slow.take(1, at(5s)));
    CHECK_FALSE(slow.take(1, at(5s)));
    CHECK_FALSE(slow.take(1, at(1s))); // not backwards
    CHECK(slow.next_at() == at(24h + 5s));
}

TEST_CASE("rate limit: what makes no sense is bad_options")
{
    CHECK(validate_rate_limit({.messages = 1}));
    CHECK(validate_rate_limit({.bytes = 1, .per = 24h, .burst_bytes = 9}));
    for (const auto& limit : std::vector<RateLimit>{{},
                                                    {.per = 0s},
                                                    {.messages = 1, .per = 0s},
                                                    {.messages = 1, .per = -1s},
                                                    {.bytes = 1, .per = 25h},
                                                    {.burst_messages = 1},
                                                    {.messages = 1, .burst_bytes = 1}})
        CHECK(validate_rate_limit(limit).error() == Error::bad_options);
}

} // namespace rate_limit_test
