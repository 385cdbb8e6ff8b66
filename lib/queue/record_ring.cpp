#include "queue/record_ring.hpp"

#include <algorithm>
#include <bit>

namespace sidecar::detail {
namespace {

/// From here on copying a message costs more than a block of its own does.
constexpr std::size_t largest_in_ring = 32u << 10;

constexpr std::size_t largest_buffer = 256u << 10, smallest_buffer = 16u << 10;

} // namespace

RecordRing::RecordRing(const QueueLimits& limits)
    : ring_bytes_{std::bit_floor(std::max<std::size_t>(limits.bytes / 2, 256))},
      block_bytes_{limits.bytes > ring_bytes_ ? limits.bytes - ring_bytes_ : 0},
      message_limit_{limits.messages},
      large_{std::min(ring_bytes_ / 8, largest_in_ring)},
      // Two of them, one in use and one used up, may stay when all is read: half of it is left for
      // the largest message.
      buffer_bytes_{std::min(std::bit_floor(block_bytes_ / 4), largest_buffer)}
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
        // Not touched: the system gives pages as the ring comes by
        ring_.reset(new std::byte[ring_bytes_]);
    if (used_up_)
        push_used_up();
    fill_gap(record);
    plain_until_ = std::min(end_of_lap(tail_local_), head_seen_ + ring_bytes_);
    pushes_until_ = popped_seen_ + message_limit_;
    return true;
}

void RecordRing::fill_gap(std::size_t record)
{
    const auto to = place(tail_local_, record);
    if (to != tail_local_)
        ::new (header(tail_local_)) Header{.size = 0, .what = Header::gap_bit};
    tail_local_ = to;
}

void RecordRing::push_used_up()
{
    constexpr auto record = record_bytes(sizeof(BlockRecord));
    fill_gap(record);
    auto* h = ::new (header(tail_local_)) Header{.size = 0, .what = Header::used_up_bit};
    const BlockRecord used_up{.block = used_up_.get(), .capacity = used_up_.get_deleter().capacity};
    std::memcpy(h + 1, &used_up, sizeof used_up);
    (void)used_up_.release();
    tail_local_ += record;
    used_up_until_ = tail_local_;
}

std::span<std::byte> RecordRing::receive_room(std::size_t at_least, std::size_t spare_bytes)
{
    if (buffer_bytes_ < smallest_buffer || at_least > buffer_bytes_)
        return {};
    if (buffer_ && head_.load(std::memory_order_seq_cst) == tail_local_)
        // Nobody reads in it; what was written last is the likeliest to be in the cache
        room_ = {buffer_.get(), buffer_bytes_};
    if (room_.size() >= at_least)
        return room_;
    if (!block_fits(buffer_bytes_ + spare_bytes))
        return {};
    auto next = pool().take(buffer_bytes_);
    blocks_pushed_ += buffer_bytes_;
    used_up_ = std::exchange(buffer_, std::move(next));
    room_ = {buffer_.get(), buffer_bytes_};
    plain_until_ = 0; // the next push tells the consumer about the used-up one
    return room_;
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
    // The largest that stands in the ring needs the most of it: with the gap before it more than
    // any smaller one.
    const auto in_ring = std::min(payload_bytes, large_);
    const bool may_be_large = payload_bytes > large_;
    const auto record =
        record_bytes(may_be_large ? std::max(in_ring, sizeof(BlockRecord)) : in_ring);
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
    if (!fits(record_bytes(sizeof(BlockRecord))) || !block_fits(payload.size()))
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

bool RecordRing::push_reserved(LinkId link, MessageKind kind, Block& block,
                               std::size_t payload_bytes)
{
    const auto record = record_bytes(sizeof(BlockRecord));
    if (!make_way(record))
        return false;
    auto* body = append(link, kind, record, payload_bytes, Header::block_bit);
    const BlockRecord large{.block = block.get(), .capacity = block.get_deleter().capacity};
    std::memcpy(body, &large, sizeof large);
    (void)block.release();
    return true;
}

void RecordRing::publish() noexcept
{
    pushed_.store(pushed_local_, std::memory_order_relaxed);
    pushed_bytes_.store(pushed_bytes_local_, std::memory_order_relaxed);
    published_local_ = tail_local_;
    published_bytes_local_ = pushed_bytes_local_;
    tail_.store(tail_local_, std::memory_order_seq_cst);
}

Message RecordRing::take(std::uint64_t position)
{
    const auto v = view(position);
    auto* h = header(position);
    if (!h->is_block())
        return Message{v};
    auto* body = reinterpret_cast<std::byte*>(h) + sizeof(Header);
    BlockRecord large;
    std::memcpy(&large, body, sizeof large);
    Block block{std::exchange(large.block, nullptr), BlockReturn{pool_, large.capacity}};
    std::memcpy(body, &large, sizeof large); // what pop() will find
    return Message{v.link(), v.kind(), std::move(block), v.size()};
}

void RecordRing::pop_other() noexcept
{
    if (header(head_local_)->is_gap()) {
        head_local_ = end_of_lap(head_local_);
        return;
    }
    free_block(head_local_, buffer_bytes_);
    head_local_ += record_bytes(sizeof(BlockRecord));
}

void RecordRing::free_block(std::uint64_t position, std::size_t counted_bytes) noexcept
{
    BlockRecord record;
    std::memcpy(&record, header(position) + 1, sizeof record);
    if (record.block)
        pool_->give_back(record.block, record.capacity);
    blocks_popped_local_ += counted_bytes;
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
