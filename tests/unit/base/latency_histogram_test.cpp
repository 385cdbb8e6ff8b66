// Quantiles in bounded memory.
#include "base/latency_histogram.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace latency_histogram_test {

using namespace sidecar;
using detail::LatencyHistogram;
using namespace std::chrono_literals;

TEST_CASE("latencies: none are all zero")
{
    const auto none = LatencyHistogram{}.latency();
    CHECK(none.count == 0);
    CHECK(none.p99 == 0s);
    CHECK(none.histogram.total() == 0);
}

TEST_CASE("latencies: of one all quantiles are that one")
{
    for (const auto one : std::vector<Duration>{0ns, 1ns, 10us, 123'456ns, 1ms, 59s, 100s, 3h}) {
        LatencyHistogram latencies;
        latencies.add(one);
        const auto latency = latencies.latency();
        CHECK(latency.last == one);
        CHECK(latency.min == one);
        CHECK(latency.p50 == one);
        CHECK(latency.p99 == one);
        CHECK(latency.histogram.sum == one);
        CHECK(latency.histogram.total() == 1);
    }
}

TEST_CASE("latencies: quantiles are at most an eighth above the true ones, never below")
{
    std::mt19937 random{7};
    for (const double spread : {0.1, 1.0, 3.0}) {
        std::lognormal_distribution<double> distribution{15.0, spread}; // around 3 ms
        LatencyHistogram latencies;
        std::vector<Duration> all;
        for (int i = 0; i < 10'000; ++i) {
            all.emplace_back(std::clamp(static_cast<Duration::rep>(distribution(random)),
                                        Duration::rep{10'000}, Duration::rep{99'000'000'000}));
            latencies.add(all.back());
        }
        std::sort(all.begin(), all.end());
        const auto latency = latencies.latency();
        CHECK(latency.min == all.front());
        CHECK(latency.max == all.back());
        const auto check = [&](Duration told, Duration real) {
            CHECK(told >= real);
            CHECK(told <= real + real / 8);
        };
        check(latency.p50, all[4999]);
        check(latency.p99, all[9899]);
    }
}

TEST_CASE("latencies: a range of the histogram has what is not above its bound")
{
    LatencyHistogram latencies;
    for (const auto bound : Histogram::bounds) {
        latencies.add(bound);
        latencies.add(bound + 1ns);
    }
    const auto& counts = latencies.latency().histogram.counts;
    CHECK(counts.front() == 1);
    CHECK(counts.back() == 1);
    for (std::size_t i = 1; i + 1 < counts.size(); ++i)
        CHECK(counts[i] == 2);
}

TEST_CASE("latencies: of two histograms the sum is as if one had counted all")
{
    LatencyHistogram one, other, both;
    for (int i = 1; i <= 100; ++i) {
        (i % 3 == 0 ? one : other).add(i * 1ms);
        both.add(i * 1ms);
    }
    one.add(other);
    one.add(LatencyHistogram{});
    const auto sum = one.latency(), all = both.latency();
    CHECK(sum.count == all.count);
    CHECK(sum.min == all.min);
    CHECK(sum.max == all.max);
    CHECK(sum.p50 == all.p50);
    CHECK(sum.p99 == all.p99);
    CHECK(sum.last == 100ms);
    CHECK(sum.histogram.sum == all.histogram.sum);
    CHECK(sum.histogram.counts == all.histogram.counts);
}

TEST_CASE("latencies: a clock that went backwards, and the longest times, break nothing")
{
    LatencyHistogram latencies;
    latencies.add(-5s);
    latencies.add(Duration::max());
    latencies.add(Duration::max());
    const auto latency = latencies.latency();
    CHECK(latency.min == 0s);
    CHECK(latency.histogram.sum == Duration::max());
    CHECK(latency.p50 == Duration::max());
}

} // namespace latency_histogram_test
