#include "queue/block_pool.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <thread>
#include <vector>

using namespace sidecar;
using detail::Block;
using detail::BlockPool;

namespace {

constexpr std::size_t kib = 1024;

std::shared_ptr<BlockPool> make_pool()
{
    return std::make_shared<BlockPool>(
        BlockPool::Limits{.total = 4096 * kib, .kept_when_idle = 128 * kib});
}

} // namespace

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

TEST_CASE("BlockPool: after a burst little is kept, however the blocks come back")
{
    for (const std::size_t size : {4 * kib, 33 * kib, 64 * kib, 1024 * kib}) {
        for (const bool is_last_first : {false, true}) {
            CAPTURE(size);
            CAPTURE(is_last_first);
            const auto pool = make_pool();
            std::vector<Block> burst;
            for (std::size_t bytes = 0; bytes < 16'384 * kib; bytes += size)
                burst.push_back(pool->take(size));
            for (auto left = burst.size(); left != 0; --left) {
                CHECK(pool->kept_bytes() <= 4096 * kib);
                burst.erase(is_last_first ? burst.end() - 1 : burst.begin());
            }
            CHECK(pool->kept_bytes() <= 128 * kib);
        }
    }
}

TEST_CASE("BlockPool: while as much is out, a stream's blocks are used again")
{
    const auto pool = make_pool();
    const auto stays = pool->take(1024 * kib);
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
    CHECK(pool->kept_bytes() <= 128 * kib);
}
