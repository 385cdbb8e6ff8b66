#include "queue/block_pool.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <thread>
#include <vector>

namespace block_pool_test {

using namespace sidecar;
using detail::Block;
using detail::BlockPool;

constexpr std::size_t kib = 1024;

std::shared_ptr<BlockPool> make_pool()
{
    return std::make_shared<BlockPool>(
        BlockPool::Limits{.total = 4096 * kib, .kept_when_idle = 128 * kib});
}

TEST_CASE("BlockPool: gives the block that came back last to the next of its size")
{
    const auto pool = make_pool();
    auto first = pool->take(64 * kib), second = pool->take(64 * kib), other = pool->take(80 * kib);
    const auto* where = second.get();
    first.reset();
    second.reset();
    other.reset();
    CHECK(pool->take(63 * kib).get() == where);
}

TEST_CASE("BlockPool: what is out and what is kept is within the limit, and trim() leaves little")
{
    for (const std::size_t size : {4 * kib, 33 * kib, 64 * kib, 1024 * kib}) {
        for (const bool is_last_first : {false, true}) {
            CAPTURE(size);
            CAPTURE(is_last_first);
            const auto pool = make_pool();
            std::vector<Block> burst;
            for (std::size_t bytes = 0; bytes < 16'384 * kib; bytes += size)
                burst.push_back(pool->take(size));
            while (!burst.empty()) {
                burst.erase(is_last_first ? burst.end() - 1 : burst.begin());
                CHECK((pool->kept_bytes() == 0
                       || burst.size() * size + pool->kept_bytes() <= 4096 * kib));
            }
            CHECK(pool->has_surplus() == (size >= 33 * kib || pool->kept_bytes() > 128 * kib));
            pool->trim();
            CHECK(pool->kept_bytes() <= 128 * kib);
            CHECK_FALSE(pool->has_surplus());
        }
    }
}

TEST_CASE("BlockPool: blocks of another size make way")
{
    const auto pool = make_pool();
    std::vector<Block> blocks;
    for (int i = 0; i < 4; ++i)
        blocks.push_back(pool->take(1000 * kib));
    blocks.clear();
    const auto kept = pool->kept_bytes();
    CHECK(kept >= 3000 * kib);
    blocks.push_back(pool->take(2000 * kib));
    CHECK(pool->kept_bytes() <= 2096 * kib);
}

TEST_CASE("BlockPool: a stream's blocks are used again")
{
    const auto pool = make_pool();
    auto block = pool->take(1024 * kib);
    const auto* where = block.get();
    for (int i = 0; i < 100; ++i) {
        block.reset();
        CHECK(pool->kept_bytes() == 1024 * kib);
        block = pool->take(1024 * kib);
        REQUIRE(block.get() == where);
    }
}

TEST_CASE("BlockPool: a block may outlive who took it, and be given back by another thread")
{
    std::vector<Block> blocks;
    {
        const auto pool = make_pool();
        for (int i = 0; i < 100; ++i)
            blocks.push_back(pool->take(40 * kib));
    }
    std::thread other{[taken = std::move(blocks)]() mutable { taken.clear(); }};
    other.join();
}

TEST_CASE("BlockPool: several threads take and give back")
{
    const auto pool = make_pool();
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
        threads.emplace_back([&, t] {
            std::vector<Block> mine;
            for (int i = 0; i < 2000; ++i) {
                mine.push_back(pool->take((1 + static_cast<std::size_t>(t + i) % 7) * 8 * kib));
                std::memset(mine.back().get(), t, 8 * kib);
                if (mine.size() > 5)
                    mine.erase(mine.begin());
            }
        });
    for (auto& thread : threads)
        thread.join();
    pool->trim();
    CHECK(pool->kept_bytes() <= 128 * kib);
}

} // namespace block_pool_test
