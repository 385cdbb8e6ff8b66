#include "queue/block_pool.hpp"

#include <algorithm>
#include <bit>

namespace sidecar::detail {

namespace {

/// Sizes that messages share, so that a block fits the next one too: an eighth more than needed at
/// most.
std::size_t capacity_for(std::size_t bytes) noexcept
{
    const auto step = std::max<std::size_t>(std::bit_floor(bytes) / 8, 64);
    return (bytes + step - 1) / step * step;
}

} // namespace

Block BlockPool::take(std::size_t bytes)
{
    const auto wanted = capacity_for(bytes);
    {
        std::lock_guard lock{mutex_};
        // The latest first: its memory is the likeliest to be in the cache.
        ++given_out_;
        const auto found = std::find_if(free_.rbegin(), free_.rend(), [&](const Free& entry) {
            return entry.capacity == wanted;
        });
        if (found != free_.rend()) {
            Block block{found->block.release(), BlockReturn{shared_from_this(), wanted}};
            free_bytes_ -= wanted;
            free_.erase(std::next(found).base());
            return block;
        }
        // So that giving back needs no memory.
        if (free_.capacity() < free_.size() + given_out_)
            free_.reserve(2 * (free_.size() + given_out_));
    }
    return Block{new std::byte[wanted], BlockReturn{shared_from_this(), wanted}};
}

void BlockPool::give_back(std::byte* block, std::size_t capacity) noexcept
{
    std::unique_ptr<std::byte[]> owned{block};
    std::lock_guard lock{mutex_};
    --given_out_;
    if (free_bytes_ + capacity > limit_)
        return;
    free_bytes_ += capacity;
    free_.push_back({std::move(owned), capacity});
}

} // namespace sidecar::detail
