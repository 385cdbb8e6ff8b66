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

TEST_CASE("QueueLimits: what is left open is derived")
{
    struct Row {
        QueueLimits given, meant;
    };
    constexpr std::size_t default_bytes = 8u << 20;
    for (const auto& row : {
             Row{{}, {8u << 20, 1u << 17}},
             Row{{.bytes = 4u << 20}, {4u << 20, 1u << 16}},
             Row{{.messages = 7}, {8u << 20, 7}},
             Row{{.bytes = 1000, .messages = 3}, {1000, 3}},
             Row{{.bytes = 10}, {10, 1}},
         }) {
        CAPTURE(row.given.bytes);
        const auto limits = detail::resolved(row.given, default_bytes);
        CHECK(limits.bytes == row.meant.bytes);
        CHECK(limits.messages == row.meant.messages);
    }
    // So leaving the count open changes nothing for an application with the default sizes.
    const Options defaults;
    CHECK(detail::message_limit({.bytes = defaults.inbox.bytes}) == defaults.inbox.messages);
    CHECK(detail::message_limit({.bytes = defaults.outbox.bytes}) == defaults.outbox.messages);
}

} // namespace memory_budget_test
