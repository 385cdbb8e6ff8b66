#include "queue/partial_message.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sidecar::detail {

void PartialMessage::begin(std::size_t bytes, Size size) noexcept
{
    most_bytes_ = bytes;
    size_ = size;
}

bool PartialMessage::make_space(std::size_t bytes)
{
    const auto needed = come_bytes_ + std::min(bytes, missing_bytes());
    if (needed <= capacity_ || reserve_all())
        return true;
    // To twice the size, so that each byte is moved once on average; where that is too much, to what
    // is needed.
    const auto ample = std::min(std::max(2 * capacity_, needed), most_bytes_);
    return grow_to(std::max(ample, std::min(uncounted_bytes, most_bytes_))) || grow_to(needed);
}

bool PartialMessage::reserve_all()
{
    if (size_ != Size::known || capacity_ != 0)
        return false;
    block_ = inbox_.reserve(most_bytes_);
    if (!block_)
        return false;
    capacity_ = most_bytes_;
    is_reserved_ = true;
    return true;
}

bool PartialMessage::grow_to(std::size_t capacity)
{
    const auto more = counted(capacity) - counted();
    if (more != 0 && !inbox_.hold(more, counted(most_bytes_) - counted()))
        return false;
    Block larger;
    try {
        larger = inbox_.take_block(capacity);
    } catch (...) {
        inbox_.release(more);
        throw;
    }
    if (come_bytes_ != 0)
        std::memcpy(larger.get(), block_.get(), come_bytes_);
    block_ = std::move(larger);
    capacity_ = capacity;
    return true;
}

bool PartialMessage::push(LinkId link, MessageKind kind)
{
    // A small one does not keep a block, and costs the consumer less in the ring.
    const bool is_copied = !is_reserved_ && counted() == 0;
    const bool is_pushed = is_copied ? inbox_.push(link, kind, come())
                           : is_reserved_
                               ? inbox_.push_reserved(link, kind, block_, come_bytes_)
                               : inbox_.push_held(link, kind, block_, come_bytes_, counted());
    if (!is_pushed)
        return false;
    if (is_copied)
        drop();
    else
        clear();
    return true;
}

void PartialMessage::drop() noexcept
{
    block_.reset();
    if (is_reserved_)
        inbox_.cancel_reserved(capacity_);
    else
        inbox_.release(counted());
    clear();
}

void PartialMessage::clear() noexcept
{
    block_ = {};
    capacity_ = come_bytes_ = most_bytes_ = 0;
    is_reserved_ = false;
}

} // namespace sidecar::detail
