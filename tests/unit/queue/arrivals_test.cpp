#include "queue/arrivals.hpp"

#include <doctest/doctest.h>

#include <chrono>

namespace arrivals_test {

using namespace sidecar;
using namespace std::chrono_literals;
using detail::Arrivals;

TEST_CASE("Arrivals: a time holds from its position on")
{
    Arrivals arrivals{true};
    CHECK(arrivals.of(0) == TimePoint{});
    arrivals.note(0, TimePoint{1ms});
    CHECK(arrivals.of(0) == TimePoint{1ms});
    CHECK(arrivals.of(8) == TimePoint{1ms});
    arrivals.note(16, TimePoint{2ms});
    arrivals.note(32, TimePoint{3ms});
    CHECK(arrivals.of(8) == TimePoint{1ms});
    CHECK(arrivals.of(16) == TimePoint{2ms});
    CHECK(arrivals.of(24) == TimePoint{2ms});
    CHECK(arrivals.of(40) == TimePoint{3ms});
    arrivals.note(48, TimePoint{4ms}); // the last one that was known does not hold for ever
    CHECK(arrivals.of(40) == TimePoint{3ms});
    CHECK(arrivals.of(48) == TimePoint{4ms});
}

TEST_CASE("Arrivals: moments close together share the first one's time")
{
    Arrivals arrivals{false};
    arrivals.note(0, TimePoint{1ms});
    arrivals.note(8, TimePoint{1ms + 99us});
    arrivals.note(16, TimePoint{1ms + 100us});
    CHECK(arrivals.of(8) == TimePoint{1ms});
    CHECK(arrivals.of(16) == TimePoint{1ms + 100us});
}

TEST_CASE("Arrivals: whoever looks ahead changes nothing")
{
    Arrivals arrivals{true};
    CHECK_FALSE(arrivals.peek(0));
    arrivals.note(0, TimePoint{1ms});
    arrivals.note(16, TimePoint{2ms});
    CHECK(arrivals.peek(0) == TimePoint{1ms});
    CHECK(arrivals.peek(15) == TimePoint{1ms});
    CHECK(arrivals.peek(16) == TimePoint{2ms});
    CHECK(arrivals.of(0) == TimePoint{1ms});
}

TEST_CASE("Arrivals: the further behind the consumer, the coarser; never too late, never unbounded")
{
    Arrivals arrivals{false};
    constexpr std::uint64_t count = 200'000; // a minute and more, one each 400 us
    const auto time_of = [](std::uint64_t i) { return TimePoint{1s + i * 400us}; };
    for (std::uint64_t i = 0; i < count; ++i)
        arrivals.note(8 * i, time_of(i));
    const auto span = time_of(count) - time_of(0);
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto told = arrivals.of(8 * i);
        REQUIRE(told <= time_of(i));
        REQUIRE(time_of(i) - told <= span / 250);
    }
    // Once it has caught up they are fine again
    arrivals.note(8 * count, time_of(count) + 1s);
    CHECK(arrivals.of(8 * count) == time_of(count) + 1s);
    arrivals.note(8 * count + 8, time_of(count) + 1s + 200us);
    CHECK(arrivals.of(8 * count + 8) == time_of(count) + 1s + 200us);
}

} // namespace arrivals_test
