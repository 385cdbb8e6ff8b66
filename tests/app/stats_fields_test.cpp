// Every number of the stats is reported in each form.
#include <sidecar/json.hpp>
#include <sidecar/prometheus.hpp>
#include <sidecar/stats.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace stats_fields_test {

using namespace sidecar;
using namespace std::chrono_literals;

/// Gives each number a value of its own, and looks for all of them in a text. What is neither a count
/// nor a time has tests of its own.
class Numbers {
public:
    template <class Field>
    void set(Field& field)
    {
        if constexpr (std::is_same_v<Field, std::uint64_t>)
            field = next_++;
        else if constexpr (std::is_same_v<Field, Duration>)
            field = Duration{next_++};
        else if constexpr (std::is_same_v<Field, std::optional<Duration>>)
            field = Duration{next_++};
        else if constexpr (std::is_same_v<Field, Latency>)
            field = {.count = next_, .histogram = {.counts = {next_++}, .sum = {}}};
        if constexpr (std::is_same_v<Field, std::uint64_t> || std::is_same_v<Field, Latency>)
            counts_.push_back(next_ - 1);
    }
    /// Times are rounded there; each has a line.
    void check_table(const std::string& text) const
    {
        for (const auto count : counts_)
            CHECK_MESSAGE(text.find(fmt::format("{}", count)) != text.npos, count);
        for (const char* line :
             {"oldest in the inbox   1.00 ms\n", "times, 1.00 ms\n",
              "connect time          1.00 ms\n", "age of the data       1.00 ms\n",
              "longest busy          1.00 ms (no task)\n"})
            CHECK_MESSAGE(text.find(line) != text.npos, line);
    }
    void check(const std::string& text) const
    {
        for (auto value = first; value < next_; ++value) {
            const auto as_count = fmt::format("{}", value);
            auto as_seconds = fmt::format("0.00{}", value);
            as_seconds.erase(as_seconds.find_last_not_of('0') + 1);
            CAPTURE(value);
            CHECK((text.find(as_count) != text.npos || text.find(as_seconds) != text.npos));
        }
    }
    [[nodiscard]] std::uint64_t count() const noexcept { return next_ - first; }

private:
    static constexpr std::uint64_t first = 1'000'001; // so none is a part of another
    std::uint64_t next_ = first;
    std::vector<std::uint64_t> counts_;
};

/// All fields by position: who adds one to Stats has to come here.
template <class Visit>
void for_each_field(Stats& stats, Visit visit)
{
    auto& [a1, a2, a3, a4, a5, a6, a7, a8, a9, b1, b2, b3, b4, b5, b6, b7, b8, b9, c1, c2, c3, c4,
           c5, c6, c7, c8, c9, d1, d2, d3, d4, d5, d6, d7, d8, d9, e1, e2, e3, e4, e5, e6, e7, e8,
           e9, f1, f2, f3, f4, f5, f6, f7] = stats;
    const auto visit_all = [&](auto&... fields) { (visit(fields), ...); };
    visit_all(a1, a2, a3, a4, a5, a6, a7, a8, a9, b1, b2, b3, b4, b5, b6, b7, b8, b9, c1, c2, c3,
              c4, c5, c6, c7, c8, c9, d1, d2, d3, d4, d5, d6, d7, d8, d9, e1, e2, e3, e4, e5, e6,
              e7, e8, e9, f1, f2, f3, f4, f5, f6, f7);
}

TEST_CASE("stats: each number is in the JSON, in the exposition and in the table")
{
    Stats stats;
    Numbers numbers;
    for_each_field(stats, [&](auto& field) { numbers.set(field); });
    REQUIRE(numbers.count() >= 50);
    SUBCASE("JSON") { numbers.check(to_json(stats)); }
    SUBCASE("Prometheus") { numbers.check(to_prometheus(stats)); }
    SUBCASE("table") { numbers.check_table(to_table(stats)); }
}

} // namespace stats_fields_test
