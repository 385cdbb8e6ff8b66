#include "record_ring.hpp"

#include <algorithm>
#include <bit>

namespace sidecar::detail {
namespace {

/// From here on copying a message costs more than a block of its own does.
constexpr std::size_t largest_in_ring = 32u << 10;

} // namespace

RecordRing::RecordRing(const QueueLimits& limits)
    : ring_bytes_{std::bit_floor(std::max<std::size_t>(limits.bytes / 2, 256))},
      block_bytes_{limits.bytes > ring_bytes_ ? limits.bytes - ring_bytes_ : 0},
      message_limit_{limits.messages},
      large_{std::min(ring_bytes_ / 8, largest_in_ring)}
{
}

RecordRing::~RecordRing()
{
    while (head_local_ != tail_local_)
        pop();
}

bool RecordRing::make_way_slowly(std::size_t record)
{
    if (!fits(record))
        return false;
    if (!ring_)
        ring_.reset(new std::byte[ring_bytes_]); // not touched: the system gives pages as the ring comes by
    if (room_needed(record) != record) {
        ::new (header(tail_local_)) Header{.size = 0, .what = Header::gap_bit};
        tail_local_ = end_of_lap(tail_local_);
    }
    plain_until_ = std::min(end_of_lap(tail_local_), head_seen_ + ring_bytes_);
    pushes_until_ = popped_seen_ + message_limit_;
    return true;
}

void RecordRing::look_at_consumer() const noexcept
{
    // The counters are written before head_ is: after this load they are at least as new as it.
    head_seen_ = head_.load(std::memory_order_seq_cst);
    popped_seen_ = popped();
    blocks_popped_seen_ = blocks_popped_.load(std::memory_order_relaxed);
}

bool RecordRing::block_fits(std::size_t payload_bytes) const noexcept
{
    if (blocks_pushed_ - blocks_popped_seen_ + payload_bytes <= block_bytes_)
        return true;
    look_at_consumer();
    return blocks_pushed_ - blocks_popped_seen_ + payload_bytes <= block_bytes_;
}

bool RecordRing::has_room(std::size_t payload_bytes) const noexcept
{
    // The largest that stands in the ring needs the most of it: with the gap before it more than any smaller one.
    const auto in_ring = std::min(payload_bytes, large_);
    const bool may_be_large = payload_bytes > large_;
    const auto record = record_bytes(may_be_large ? std::max(in_ring, sizeof(LargeRecord)) : in_ring);
    return fits(record) && (!may_be_large || block_fits(payload_bytes));
}

BlockPool& RecordRing::pool()
{
    if (!pool_)
        pool_ = std::make_shared<BlockPool>(block_bytes_);
    return *pool_;
}

bool RecordRing::push_large(LinkId link, MessageKind kind, std::span<const std::byte> payload)
{
    if (!fits(record_bytes(sizeof(LargeRecord))) || !block_fits(payload.size()))
        return false;
    auto block = pool().take(payload.size());
    std::memcpy(block.get(), payload.data(), payload.size());
    blocks_pushed_ += payload.size();
    return push_reserved(link, kind, block, payload.size());
}

Block RecordRing::reserve(std::size_t payload_bytes, std::size_t spare_bytes)
{
    if (payload_bytes <= large_ || !block_fits(payload_bytes + spare_bytes))
        return {};
    auto block = pool().take(payload_bytes);
    blocks_pushed_ += payload_bytes;
    return block;
}

bool RecordRing::push_reserved(LinkId link, MessageKind kind, Block& block, std::size_t payload_bytes)
{
    const auto record = record_bytes(sizeof(LargeRecord));
    if (!make_way(record))
        return false;
    auto* body = append(link, kind, record, payload_bytes, true);
    const LargeRecord large{.block = block.get(), .capacity = block.get_deleter().capacity};
    std::memcpy(body, &large, sizeof large);
    (void)block.release();
    return true;
}

void RecordRing::publish() noexcept
{
    pushed_.store(pushed_local_, std::memory_order_relaxed);
    pushed_bytes_.store(pushed_bytes_local_, std::memory_order_relaxed);
    published_local_ = tail_local_;
    tail_.store(tail_local_, std::memory_order_seq_cst);
}

Message RecordRing::take(std::uint64_t position)
{
    const auto v = view(position);
    auto* h = header(position);
    if (!h->is_block())
        return Message{v};
    auto* body = reinterpret_cast<std::byte*>(h) + sizeof(Header);
    LargeRecord large;
    std::memcpy(&large, body, sizeof large);
    Block block{std::exchange(large.block, nullptr), BlockReturn{pool_, large.capacity}};
    std::memcpy(body, &large, sizeof large); // what pop() will find
    return Message{v.link, v.kind, std::move(block), v.size()};
}

void RecordRing::free_block(std::uint64_t position) noexcept
{
    const auto* h = header(position);
    LargeRecord large;
    std::memcpy(&large, reinterpret_cast<const std::byte*>(h) + sizeof(Header), sizeof large);
    if (large.block)
        pool_->give_back(large.block, large.capacity);
    blocks_popped_local_ += h->size;
}

void RecordRing::publish_reads() noexcept
{
    popped_.store(popped_local_, std::memory_order_relaxed);
    popped_bytes_.store(popped_bytes_local_, std::memory_order_relaxed);
    blocks_popped_.store(blocks_popped_local_, std::memory_order_relaxed);
    head_.store(head_local_, std::memory_order_seq_cst);
}

bool RecordRing::half_free() const noexcept
{
    const auto used = tail_.load(std::memory_order_acquire) - head_.load(std::memory_order_acquire);
    return used <= ring_bytes_ / 2 && pushed() - popped() <= message_limit_ / 2
        && (pushed_bytes() - popped_bytes() <= (ring_bytes_ + block_bytes_) / 2);
}

} // namespace sidecar::detail
