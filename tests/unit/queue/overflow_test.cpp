#include "queue/overflow.hpp"

#include "queue/link_queue.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace overflow_test {

using namespace sidecar;
using namespace std::chrono_literals;
using namespace detail;
using Policy = OverflowPolicy;

const ConflationKey any_key = [](const MessageView&) { return std::optional{std::string_view{}}; };

TEST_CASE("is_plain: anything set needs a queue of the link's own")
{
    CHECK(is_plain({}));
    CHECK_FALSE(is_plain({.policy = Policy::drop_oldest}));
    CHECK_FALSE(is_plain({.queue_bytes = 1}));
    CHECK_FALSE(is_plain({.queue_messages = 1}));
    CHECK_FALSE(is_plain({.max_age = 1s}));
    CHECK_FALSE(is_plain({.high = {.messages = 1}}));
    CHECK_FALSE(is_plain({.high = {.bytes = 1}}));
}

TEST_CASE("resolved: leaves nothing open")
{
    const auto small = resolved(Overflow{.high = {.messages = 100, .bytes = 8000}}, 1000);
    CHECK(small.queue_bytes == 1u << 20);
    CHECK(small.queue_messages == SIZE_MAX);
    CHECK(small.low.messages == 50);
    CHECK(small.low.bytes == 4000);
    CHECK(resolved(Overflow{}, 1u << 20).queue_bytes > 4u << 20);
    const auto set = resolved(Overflow{.queue_bytes = 5000,
                                       .queue_messages = 7,
                                       .high = {.messages = 10},
                                       .low = {.messages = 2}},
                              1000);
    CHECK(set.queue_bytes == 5000);
    CHECK(set.queue_messages == 7);
    CHECK(set.low.messages == 2);
}

TEST_CASE("validate_overflow: what makes no sense is refused and says why")
{
    struct Row {
        Overflow overflow;
        std::string_view why; // empty: it is good
    };
    const Row rows[] = {
        {{}, ""},
        {{.policy = Policy::conflate, .key = any_key}, ""},
        {{.policy = Policy::conflate}, "needs a key"},
        {{.policy = Policy::drop_oldest, .key = any_key}, "for conflating only"},
        {{.max_age = -1s}, "negative"},
        {{.queue_bytes = entry_cost(1000)}, ""},
        {{.queue_bytes = entry_cost(1000) - 1}, "cannot hold a message of 1000"},
        {{.high = {.messages = 10}, .low = {.messages = 9}}, ""},
        {{.high = {.messages = 10}, .low = {.messages = 10}}, "below the high"},
        {{.high = {.messages = 10}, .low = {.bytes = 1}}, "below the high"},
        {{.high = {.bytes = 10}, .low = {.bytes = 11}}, "below the high"},
    };
    for (const auto& row : rows) {
        const auto result = validate_overflow(row.overflow, 1000);
        CAPTURE(row.why);
        CHECK(result.has_value() == row.why.empty());
        if (row.why.empty())
            continue;
        CHECK(result.error() == Error::bad_options);
        CHECK(result.error().message().find(row.why) != std::string::npos);
    }
}

TEST_CASE("WaterLevel: tells each crossing once, with the space between the marks to itself")
{
    using Change = WaterLevel::Change;
    WaterLevel level{{.messages = 10}, {.messages = 4}};
    const std::vector<std::pair<std::size_t, Change>> steps{
        {0, Change::none},  {9, Change::none}, {10, Change::rose}, {11, Change::none},
        {10, Change::none}, {5, Change::none}, {10, Change::none}, {4, Change::fell},
        {5, Change::none},  {9, Change::none}, {20, Change::rose}, {0, Change::fell},
    };
    for (const auto& step : steps) {
        CAPTURE(step.first);
        CHECK(level.update(step.first, 1u << 20) == step.second);
    }
}

TEST_CASE("WaterLevel: either measure raises it, and only both lower it")
{
    using Change = WaterLevel::Change;
    WaterLevel level{{.messages = 10, .bytes = 1000}, {.messages = 5, .bytes = 500}};
    CHECK(level.update(1, 1000) == Change::rose);
    CHECK(level.update(10, 100) == Change::none); // high still, by the messages
    CHECK(level.update(5, 501) == Change::none);
    CHECK(level.update(6, 500) == Change::none);
    CHECK(level.update(5, 500) == Change::fell);
    CHECK(level.update(10, 0) == Change::rose);
}

TEST_CASE("WaterLevel: without marks nothing is told")
{
    WaterLevel level{{}, {}};
    CHECK(level.update(SIZE_MAX, SIZE_MAX) == WaterLevel::Change::none);
    CHECK(level.update(0, 0) == WaterLevel::Change::none);
}

} // namespace overflow_test
