#include "queue/memory_budget.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <thread>

namespace memory_budget_test {

using namespace sidecar;
using detail::MemoryBudget;

TEST_CASE("MemoryBudget: grants what is free beside the spare, and refuses without taking")
{
    struct Row {
        std::size_t used, bytes, spare;
        bool is_granted;
    };
    for (const auto& row : {
             Row{0, 0, 0, true},
             Row{0, 100, 0, true},
             Row{0, 101, 0, false},
             Row{0, 60, 40, true},
             Row{0, 60, 41, false},
             Row{60, 40, 0, true},
             Row{60, 41, 0, false},
             Row{100, 0, 0, true},
             Row{100, 1, 0, false},
             Row{0, SIZE_MAX, 1, false},
             Row{0, 1, SIZE_MAX, false},
         }) {
        CAPTURE(row.used);
        CAPTURE(row.bytes);
        CAPTURE(row.spare);
        MemoryBudget budget{100};
        REQUIRE(budget.take(row.used));
        CHECK(budget.take(row.bytes, row.spare) == row.is_granted);
        CHECK(budget.used() == row.used + (row.is_granted ? row.bytes : 0));
    }
}

TEST_CASE("MemoryBudget: what is put back is free at once, what is given back once it is published")
{
    MemoryBudget budget{100};
    REQUIRE(budget.take(100));
    budget.put_back(30);
    CHECK(budget.has(30));
    CHECK_FALSE(budget.has(31));
    budget.give_back(70);
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
        budget.give_back(ready);
        budget.publish();
    }
    producer.join();
    CHECK(is_within);
    CHECK(budget.has(limit));
}

} // namespace memory_budget_test
