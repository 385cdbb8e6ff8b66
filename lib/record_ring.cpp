#include "record_ring.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace sidecar::detail {

struct RecordRing::Header {
    std::uint32_t size; // of the payload
    std::uint32_t link;
    MessageKind kind;
    bool is_block; // the payload is a pointer to the block that holds it
    bool is_gap;   // nothing here; go on at the ring's start
};

namespace {

constexpr std::size_t alignment = 16;

constexpr std::size_t record_bytes(std::size_t inline_payload) noexcept
{
    return (alignment + inline_payload + alignment - 1) & ~(alignment - 1);
}

void raise(std::atomic<std::uint64_t>& peak, std::uint64_t value) noexcept
{
    if (value > peak.load(std::memory_order_relaxed))
        peak.store(value, std::memory_order_relaxed);
}

void add(std::atomic<std::uint64_t>& counter, std::uint64_t value) noexcept
{
    // One writer: a plain load and store is enough, and cheaper than a locked addition.
    counter.store(counter.load(std::memory_order_relaxed) + value, std::memory_order_relaxed);
}

} // namespace

RecordRing::RecordRing(const QueueLimits& limits)
    : ring_bytes_{std::bit_floor(std::max<std::size_t>(limits.bytes / 2, 256))},
      block_bytes_{limits.bytes > ring_bytes_ ? limits.bytes - ring_bytes_ : 0},
      message_limit_{limits.messages},
      large_{ring_bytes_ / 8}
{
    static_assert(sizeof(Header) <= alignment);
}

RecordRing::~RecordRing()
{
    const auto end = published();
    for (auto at = head_local_; at != end; at = after(at)) {
        at = settle(at);
        (void)take(at);
    }
}

RecordRing::Header* RecordRing::header(std::uint64_t position) const noexcept
{
    return std::launder(reinterpret_cast<Header*>(ring_.get() + (position & (ring_bytes_ - 1))));
}

std::uint64_t RecordRing::room_needed(std::size_t record) const noexcept
{
    const auto to_end = ring_bytes_ - (tail_local_ & (ring_bytes_ - 1));
    return record <= to_end ? record : to_end + record;
}

bool RecordRing::has_room(std::size_t payload_bytes) const noexcept
{
    const bool is_block = payload_bytes > large_;
    const auto needed = room_needed(record_bytes(is_block ? sizeof(std::byte*) : payload_bytes));
    const auto fits = [&] {
        return tail_local_ + needed - head_seen_ <= ring_bytes_ && pushed() - popped() < message_limit_
            && (!is_block
                || blocks_pushed_ - blocks_popped_.load(std::memory_order_relaxed) + payload_bytes <= block_bytes_);
    };
    if (fits())
        return true;
    // The counters are written before head_ is: after this load they are at least as new as it.
    head_seen_ = head_.load(std::memory_order_seq_cst);
    return fits();
}

bool RecordRing::push(LinkId link, MessageKind kind, std::span<const std::byte> payload)
{
    if (!has_room(payload.size()))
        return false;
    if (!ring_)
        ring_.reset(new std::byte[ring_bytes_]); // not touched: the system gives pages as the ring comes by
    const bool is_block = payload.size() > large_;
    std::byte* block = nullptr;
    if (is_block) {
        block = new std::byte[payload.size()];
        std::memcpy(block, payload.data(), payload.size());
        blocks_pushed_ += payload.size();
    }
    const auto record = record_bytes(is_block ? sizeof block : payload.size());
    if (room_needed(record) != record) {
        ::new (header(tail_local_)) Header{.size = 0, .link = 0, .kind = {}, .is_block = false, .is_gap = true};
        tail_local_ += ring_bytes_ - (tail_local_ & (ring_bytes_ - 1));
    }
    auto* h = ::new (header(tail_local_)) Header{.size = static_cast<std::uint32_t>(payload.size()),
                                                 .link = static_cast<std::uint32_t>(link),
                                                 .kind = kind,
                                                 .is_block = is_block,
                                                 .is_gap = false};
    auto* body = reinterpret_cast<std::byte*>(h) + alignment;
    if (is_block)
        std::memcpy(body, &block, sizeof block);
    else if (!payload.empty())
        std::memcpy(body, payload.data(), payload.size());
    tail_local_ += record;
    add(pushed_, 1);
    add(pushed_bytes_, payload.size());
    raise(peak_messages_, pushed() - popped());
    raise(peak_bytes_, pushed_bytes() - popped_bytes());
    tail_.store(tail_local_, std::memory_order_release);
    return true;
}

std::uint64_t RecordRing::settle(std::uint64_t position) const noexcept
{
    if (header(position)->is_gap)
        position += ring_bytes_ - (position & (ring_bytes_ - 1));
    return position;
}

MessageView RecordRing::view(std::uint64_t position) const noexcept
{
    const auto* h = header(position);
    const auto* body = reinterpret_cast<const std::byte*>(h) + alignment;
    if (h->is_block) {
        std::byte* block;
        std::memcpy(&block, body, sizeof block);
        body = block;
    }
    return {static_cast<LinkId>(h->link), h->kind, {body, h->size}};
}

std::uint64_t RecordRing::after(std::uint64_t position) const noexcept
{
    const auto* h = header(position);
    return position + record_bytes(h->is_block ? sizeof(std::byte*) : h->size);
}

Message RecordRing::take(std::uint64_t position)
{
    const auto v = view(position);
    auto* h = header(position);
    if (!h->is_block)
        return Message{v};
    std::byte* none = nullptr; // what pop() will find and free
    std::memcpy(reinterpret_cast<std::byte*>(h) + alignment, &none, sizeof none);
    return Message{v.link, v.kind, std::unique_ptr<std::byte[]>{const_cast<std::byte*>(v.data.data())}, v.size()};
}

void RecordRing::pop() noexcept
{
    head_local_ = settle(head_local_);
    const auto v = view(head_local_);
    const auto* h = header(head_local_);
    head_local_ = after(head_local_);
    if (h->is_block) {
        delete[] v.data.data();
        blocks_popped_.store(blocks_popped_.load(std::memory_order_relaxed) + v.size(), std::memory_order_release);
    }
    add(popped_, 1);
    add(popped_bytes_, v.size());
}

std::size_t RecordRing::largest_message() const noexcept
{
    return std::max(large_, block_bytes_);
}

bool RecordRing::half_free() const noexcept
{
    const auto used = tail_.load(std::memory_order_acquire) - head_.load(std::memory_order_acquire);
    return used <= ring_bytes_ / 2 && pushed() - popped() <= message_limit_ / 2
        && (pushed_bytes() - popped_bytes() <= (ring_bytes_ + block_bytes_) / 2);
}

} // namespace sidecar::detail
