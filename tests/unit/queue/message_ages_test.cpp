#include "queue/message_ages.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>

namespace message_ages_test {

using namespace sidecar;
using namespace std::chrono_literals;
using detail::MessageAges;

/// Takes messages, `apart` one from the next, each of them `age` old.
struct Taker {
    void take(std::uint64_t count, Duration apart, Duration age)
    {
        for (std::uint64_t i = 0; i < count; ++i) {
            now += apart;
            ++taken;
            if (!ages.count_one())
                continue;
            ++measured;
            ages.note(now - age, now);
        }
    }
    MessageAges ages{false};
    TimePoint now{1s};
    std::uint64_t taken = 0, measured = 0;
};

TEST_CASE("MessageAges: nothing was taken, so there is nothing to tell")
{
    const MessageAges ages{false};
    CHECK(ages.latency().count == 0);
    CHECK(ages.latency().histogram.total() == 0);
}

TEST_CASE("MessageAges: what is taken slowly, or on virtual time, is measured each")
{
    Taker slow;
    slow.take(1000, 10us, 3ms);
    CHECK(slow.measured == 1000);
    MessageAges ages{true};
    for (int i = 1; i <= 1000; ++i) {
        REQUIRE(ages.count_one());
        ages.note(TimePoint{}, TimePoint{1ms * i});
    }
    const auto latency = ages.latency();
    CHECK(latency.count == 1000);
    CHECK(latency.min == 1ms);
    CHECK(latency.max == 1s);
    CHECK(latency.last == 1s);
    CHECK(latency.histogram.sum == 1ms * (1000 * 1001 / 2));
}

TEST_CASE("MessageAges: what is taken fast is measured now and then, and all of it counted")
{
    Taker t;
    t.take(100'000, 50ns, 2ms);
    CHECK(t.measured < 100'000 / 60); // each 4 us, or a little more
    CHECK(t.ages.latency().count == 100'000);
    CHECK(t.ages.latency().histogram.total() == 100'000);
    CHECK(t.ages.latency().histogram.sum == 2ms * 100'000);
    // Who becomes slow is measured each time again, after one stride at most
    const auto before = t.measured;
    t.take(1000, 1ms, 5s);
    CHECK(t.measured - before >= 1000 - MessageAges::max_stride);
    CHECK(t.ages.latency().count == t.taken);
    CHECK(t.ages.latency().last == 5s);
}

TEST_CASE("MessageAges: after nothing was there the next one is measured")
{
    Taker t;
    t.take(10'000, 50ns, 2ms);
    const auto before = t.measured;
    t.ages.ran_dry();
    t.take(1, 50ns, 0ns);
    CHECK(t.measured == before + 1);
    CHECK(t.ages.latency().min == 0ns);
}

TEST_CASE("MessageAges: no range becomes less, whenever one looks")
{
    Taker t;
    Histogram last;
    for (std::uint64_t i = 0; i < 5000; ++i) {
        t.take(1, i % 1000 < 500 ? 50ns : 20us, 1ms * static_cast<Duration::rep>(i % 70));
        const auto now = t.ages.latency();
        REQUIRE(now.count == t.taken);
        for (std::size_t range = 0; range < now.histogram.counts.size(); ++range)
            REQUIRE(now.histogram.counts[range] >= last.counts[range]);
        last = now.histogram;
    }
}

} // namespace message_ages_test
