#include "queue/receive_memory.hpp"

#include <utility>

namespace sidecar::detail {

std::span<std::byte> ReceiveMemory::buffer(std::size_t at_least)
{
    if (buffer_bytes_ < smallest_buffer || at_least > buffer_bytes_)
        return {};
    if (buffer_ && ring_.is_all_read())
        // Nobody reads in it; what was written last is the likeliest to be in the cache
        free_ = {buffer_.get(), buffer_bytes_};
    if (free_.size() >= at_least)
        return free_;
    if (!ring_.budget().lend(buffer_bytes_))
        return {};
    auto next = ring_.take_block(buffer_bytes_, buffer_bytes_);
    if (buffer_)
        ring_.free_later(std::exchange(buffer_, {}), buffer_bytes_);
    buffer_ = std::move(next);
    free_ = {buffer_.get(), buffer_bytes_};
    return free_;
}

} // namespace sidecar::detail
