#include "queue/block_pool.hpp"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

namespace sidecar::detail {

namespace {

/// Rounds a size up, by an eighth or 64 bytes at most, so that a block also fits the next message.
std::size_t capacity_for(std::size_t bytes) noexcept
{
    const auto step = std::max<std::size_t>(std::bit_floor(bytes) / 8, 64);
    return (bytes + step - 1) / step * step;
}

} // namespace

void BlockReturn::operator()(std::byte* block) const noexcept
{
    if (pool)
        pool->release(block, capacity);
    else
        delete[] block;
}

Block BlockPool::take(std::size_t bytes)
{
    const auto capacity = capacity_for(bytes);
    std::unique_ptr<std::byte[]> block;
    {
        std::lock_guard lock{mutex_};
        out_bytes_ += capacity;
        block = find(capacity);
        // Frees blocks of other sizes until it fits into the limit
        while (!block && !kept_.empty() && out_bytes_ + kept_bytes_ > limits_.total)
            (void)remove(kept_.begin());
    }
    Block owned{nullptr, BlockReturn{shared_from_this(), capacity}};
    try {
        if (!block)
            block.reset(new std::byte[capacity]);
    } catch (...) {
        std::lock_guard lock{mutex_};
        out_bytes_ -= capacity;
        throw;
    }
    owned.reset(block.release());
    return owned;
}

void BlockPool::release(std::byte* block, std::size_t capacity) noexcept
{
    std::unique_ptr<std::byte[]> owned{block};
    std::lock_guard lock{mutex_};
    out_bytes_ -= capacity;
    if (kept_.size() < max_kept && out_bytes_ + kept_bytes_ + capacity <= limits_.total) {
        kept_.push_back({std::move(owned), capacity});
        kept_bytes_ += capacity;
    }
}

/// The latest first: its memory is the likeliest to be in the cache.
std::unique_ptr<std::byte[]> BlockPool::find(std::size_t capacity) noexcept
{
    const auto found = std::find_if(kept_.rbegin(), kept_.rend(),
                                    [&](const Kept& kept) { return kept.capacity == capacity; });
    return found == kept_.rend() ? nullptr : remove(std::prev(found.base()));
}

std::unique_ptr<std::byte[]> BlockPool::remove(std::vector<Kept>::iterator at) noexcept
{
    auto block = std::move(at->block);
    kept_bytes_ -= at->capacity;
    kept_.erase(at);
    return block;
}

void BlockPool::trim() noexcept
{
    for (;;) {
        std::unique_ptr<std::byte[]> oldest; // freed without the lock
        std::lock_guard lock{mutex_};
        if (!has_surplus())
            return;
        oldest = remove(kept_.begin());
    }
}

} // namespace sidecar::detail
