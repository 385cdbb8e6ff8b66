#include "queue/memory_budget.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <thread>

namespace memory_budget_test {

using namespace sidecar;
using detail::MemoryBudget;

TEST_CASE("MemoryBudget: grants free bytes, lends only while half stays free, and refuses without "
          "taking")
{
    struct Row {
        std::size_t used, bytes;
        bool is_granted, is_lent;
    };
    for (const auto& row : {
             Row{0, 0, true, true},
             Row{0, 50, true, true},
             Row{0, 51, true, false},
             Row{0, 100, true, false},
             Row{0, 101, false, false},
             Row{30, 20, true, true},
             Row{30, 21, true, false},
             Row{60, 40, true, false},
             Row{60, 41, false, false},
             Row{100, 0, true, false},
             Row{100, 1, false, false},
             Row{0, SIZE_MAX, false, false},
         }) {
        CAPTURE(row.used);
        CAPTURE(row.bytes);
        MemoryBudget budget{100}, lender{100};
        REQUIRE(budget.take(row.used));
        REQUIRE(lender.take(row.used));
        CHECK(budget.take(row.bytes) == row.is_granted);
        CHECK(budget.used() == row.used + (row.is_granted ? row.bytes : 0));
        CHECK(lender.lend(row.bytes) == row.is_lent);
        CHECK(lender.used() == row.used + (row.is_lent ? row.bytes : 0));
    }
}

TEST_CASE("MemoryBudget: what is put back is free at once, what is given back once it is published")
{
    MemoryBudget budget{100};
    REQUIRE(budget.take(100));
    budget.put_back(30);
    CHECK(budget.has(30));
    CHECK_FALSE(budget.has(31));
    budget.release(70);
    CHECK_FALSE(budget.has(31));
    budget.publish();
    CHECK(budget.has(100));
    CHECK_FALSE(budget.has(101));
}

TEST_CASE("MemoryBudget: one thread takes while another gives back, and the limit holds")
{
    constexpr std::uint64_t count = 100'000, limit = 64;
    MemoryBudget budget{limit};
    std::atomic<std::uint64_t> taken{0};
    std::atomic<bool> is_within{true};
    std::thread producer{[&] {
        for (std::uint64_t i = 0; i < count; ++i) {
            while (!budget.take(1))
                std::this_thread::yield();
            taken.fetch_add(1);
        }
    }};
    for (std::uint64_t given = 0; given < count;) {
        const auto ready = taken.load() - given;
        if (ready > limit)
            is_within = false;
        if (ready == 0)
            std::this_thread::yield();
        given += ready;
        budget.release(ready);
        budget.publish();
    }
    producer.join();
    CHECK(is_within);
    CHECK(budget.has(limit));
}

TEST_CASE("QueueLimits: what is 0 is the default, or what the largest message needs")
{
    struct Row {
        QueueLimits given;
        std::size_t max_message_bytes;
        QueueLimits inbox, outbox;
    };
    constexpr std::size_t k = 1u << 10, m = 1u << 20;
    for (const auto& row : {
             Row{{}, m, {8 * m, m / 8}, {2 * m, m / 32}},
             Row{{}, 1, {8 * m, m / 8}, {2 * m, m / 32}},
             Row{{}, 2 * m, {8 * m, m / 8}, {2 * m, m / 32}},
             Row{{}, 64 * m, {256 * m, 4 * m}, {64 * m, m}},
             Row{{},
                 UINT32_MAX,
                 {4ull * UINT32_MAX, UINT32_MAX / 16},
                 {UINT32_MAX, UINT32_MAX / 64}},
             Row{{}, SIZE_MAX, {4ull * UINT32_MAX, UINT32_MAX / 16}, {UINT32_MAX, UINT32_MAX / 64}},
             Row{{.bytes = 4 * m}, 64 * m, {4 * m, 64 * k}, {4 * m, 64 * k}},
             Row{{.messages = 7}, 64 * m, {256 * m, 7}, {64 * m, 7}},
             Row{{.bytes = 1000, .messages = 3}, m, {1000, 3}, {1000, 3}},
             Row{{.bytes = 10}, m, {10, 1}, {10, 1}},
         }) {
        CAPTURE(row.given.bytes);
        CAPTURE(row.max_message_bytes);
        const auto is_same = [](const QueueLimits& a, const QueueLimits& b) {
            return a.bytes == b.bytes && a.messages == b.messages;
        };
        CHECK(is_same(detail::inbox_limits(row.given, row.max_message_bytes), row.inbox));
        CHECK(is_same(detail::outbox_limits(row.given, {}, row.max_message_bytes), row.outbox));
        CHECK(is_same(detail::outbox_limits({}, row.given, row.max_message_bytes), row.outbox));
        CHECK(is_same(detail::outbox_limits(row.given, {.bytes = 5, .messages = 6}, 1),
                      {row.given.bytes != 0 ? row.given.bytes : 5,
                       row.given.messages != 0 ? row.given.messages : 6}));
    }
}

} // namespace memory_budget_test
