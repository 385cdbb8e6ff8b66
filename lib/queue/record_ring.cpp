#include "queue/record_ring.hpp"

#include <algorithm>
#include <bit>
#include <sys/mman.h>
#include <unistd.h>

namespace sidecar::detail {
namespace {

/// Above this, copying a message costs more than a separate block.
constexpr std::size_t largest_in_ring = 32u << 10;

/// Releases whole pages to the system; they read as zeros afterwards.
void release_pages(std::span<std::byte> memory) noexcept
{
    static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    void* begin = memory.data();
    auto bytes = memory.size();
    if (std::align(page, page, begin, bytes))
        (void)::madvise(begin, bytes / page * page, MADV_DONTNEED); // if it fails, the memory stays
}

/// Releases the ring's memory between these positions.
void release(std::span<std::byte> ring, std::uint64_t begin, std::uint64_t end) noexcept
{
    while (begin < end) {
        const auto offset = begin & (ring.size() - 1);
        const auto part = ring.subspan(offset, std::min(end - begin, ring.size() - offset));
        release_pages(part);
        begin += part.size();
    }
}

std::size_t half_bytes(const QueueLimits& limits) noexcept
{
    return std::bit_floor(std::max<std::size_t>(limits.bytes / 2, 256));
}

std::size_t block_bytes(const QueueLimits& limits, RecordRing::Share share) noexcept
{
    return share == RecordRing::Share::all
               ? limits.bytes
               : limits.bytes - std::min(limits.bytes, half_bytes(limits));
}

std::size_t copied_bytes(const QueueLimits& limits) noexcept
{
    return std::min(half_bytes(limits) / 8, largest_in_ring);
}

void write_block_record(void* body, Block& block, std::size_t counted_bytes) noexcept
{
    const auto capacity = block.get_deleter().capacity;
    const BlockRecord record{
        .block = block.release(), .capacity = capacity, .counted_bytes = counted_bytes};
    std::memcpy(body, &record, sizeof record);
}

std::shared_ptr<BlockPool> make_pool(std::size_t bytes)
{
    constexpr std::size_t min_idle = 64u << 10, max_idle = 256u << 10;
    return std::make_shared<BlockPool>(BlockPool::Limits{
        .total = bytes, .kept_when_idle = std::clamp(bytes / 8, min_idle, max_idle)});
}

} // namespace

RecordRing::RecordRing(const QueueLimits& limits, Share share)
    : ring_bytes_{share == Share::half ? half_bytes(limits)
                                       : std::bit_ceil(std::max<std::size_t>(limits.bytes, 256))},
      limit_{std::max(limits.bytes, half_bytes(limits))},
      message_limit_{message_limit(limits)},
      largest_copied_{copied_bytes(limits)},
      pool_{make_pool(block_bytes(limits, share))},
      budget_{block_bytes(limits, share)}
{
}

std::size_t RecordRing::largest_message(const QueueLimits& limits) noexcept
{
    // A record's size has 32 bits
    return std::min<std::size_t>(std::max(copied_bytes(limits), limits.bytes), UINT32_MAX);
}

RecordRing::~RecordRing()
{
    while (consumer_.head != producer_.tail)
        pop();
}

bool RecordRing::make_way_slowly(std::size_t record)
{
    if (!fits(record))
        return false;
    if (!ring_)
        // Not initialised: the system provides each page at its first use
        ring_.reset(new std::byte[ring_bytes_]);
    if (producer_.to_free)
        append_block_to_free();
    if (std::exchange(producer_.has_stamp, false)) {
        fill_gap(stamp_record_bytes);
        append_stamp();
    }
    fill_gap(record);
    producer_.plain_until = std::min(end_of_lap(producer_.tail), producer_.head_seen + ring_room());
    if (ring_bytes_ > large_ring) {
        // Otherwise it would hold all of its memory after one lap, however little is queued
        producer_.plain_until = std::min(producer_.plain_until, producer_.tail + release_step);
        look_at_consumer();
        if (producer_.head_seen - producer_.released >= release_step) {
            // The producer has written over the bytes before `tail - ring_bytes_`
            const auto begin = std::max(producer_.tail, std::uint64_t{ring_bytes_}) - ring_bytes_;
            release({ring_.get(), ring_bytes_}, std::max(producer_.released, begin),
                    producer_.head_seen);
            producer_.released = producer_.head_seen;
        }
    }
    producer_.pushes_until = producer_.popped_seen + message_limit_;
    return true;
}

void RecordRing::fill_gap(std::size_t record)
{
    const auto to = place(producer_.tail, record);
    if (to != producer_.tail)
        ::new (header(producer_.tail)) RecordHeader{.size = 0, .what = RecordHeader::gap_bit};
    producer_.tail = to;
}

void RecordRing::free_later(Block block, std::size_t counted_bytes) noexcept
{
    producer_.to_free = std::move(block);
    producer_.to_free_bytes = counted_bytes;
    producer_.plain_until = 0; // the next push takes the slow path, which writes it
}

void RecordRing::append_block_to_free()
{
    fill_gap(block_record_bytes);
    auto* h = ::new (header(producer_.tail))
        RecordHeader{.size = 0, .what = RecordHeader::freed_block_bit};
    write_block_record(h + 1, producer_.to_free, producer_.to_free_bytes);
    producer_.tail += block_record_bytes;
    producer_.free_position = producer_.tail;
}

void RecordRing::look_at_consumer() const noexcept
{
    // The consumer writes the counters before the head, so here they are at least as new as the
    // head.
    producer_.head_seen = freed_.head.load(std::memory_order_seq_cst);
    producer_.popped_seen = relaxed(freed_.popped);
    budget_.look();
}

bool RecordRing::has_space(std::size_t payload_bytes) const noexcept
{
    // The largest message that is copied needs the most of the ring: with the gap before it more
    // than any smaller one.
    const auto in_ring = std::min(payload_bytes, largest_copied_);
    const bool may_be_large = payload_bytes > largest_copied_;
    // A stamp may precede it
    const auto record =
        record_bytes(may_be_large ? std::max(in_ring, sizeof(BlockRecord)) : in_ring)
        + stamp_record_bytes;
    return fits(record, may_be_large ? payload_bytes : 0)
           && (!may_be_large || budget_.has(payload_bytes));
}

Block RecordRing::take_block(std::size_t bytes, std::size_t counted_bytes)
{
    try {
        return pool_->take(bytes);
    } catch (...) {
        budget_.put_back(counted_bytes);
        throw;
    }
}

bool RecordRing::push_large(LinkId link, StoredKind kind, std::span<const std::byte> payload)
{
    // Its record in the ring counts the rest, so the message counts as much as its payload
    const auto counted_bytes = payload.size() - block_record_bytes;
    if (!fits(block_record_bytes, counted_bytes) || !budget_.take(counted_bytes))
        return false;
    producer_.plain_until = 0; // the ring has less room from now on
    auto block = take_block(payload.size(), counted_bytes);
    std::memcpy(block.get(), payload.data(), payload.size());
    return push_block(link, kind, block, payload.size(), counted_bytes);
}

bool RecordRing::push_block(LinkId link, StoredKind kind, Block& block, std::size_t payload_bytes,
                            std::size_t counted_bytes)
{
    if (!make_way(block_record_bytes))
        return false;
    write_block_record(
        append(link, kind, block_record_bytes, payload_bytes, RecordHeader::block_bit), block,
        counted_bytes);
    return true;
}

void RecordRing::publish() noexcept
{
    published_.pushed.store(producer_.pushed, std::memory_order_relaxed);
    published_.pushed_bytes.store(producer_.pushed_bytes, std::memory_order_relaxed);
    producer_.published_tail = producer_.tail;
    producer_.published_bytes = producer_.pushed_bytes;
    published_.tail.store(producer_.tail, std::memory_order_seq_cst);
}

Block RecordRing::take_front_block() noexcept
{
    auto* body = header(consumer_.head) + 1;
    BlockRecord record;
    std::memcpy(&record, body, sizeof record);
    Block block{std::exchange(record.block, nullptr), BlockReturn{pool_, record.capacity}};
    std::memcpy(static_cast<void*>(body), &record, sizeof record); // pop() reads it
    return block;
}

void RecordRing::free_block(std::uint64_t position) noexcept
{
    BlockRecord record;
    std::memcpy(&record, header(position) + 1, sizeof record);
    if (record.block)
        pool_->release(record.block, record.capacity);
    budget_.release(record.counted_bytes);
}

void RecordRing::restart() noexcept
{
    if (!is_worth_restarting())
        return;
    const auto used = std::min<std::uint64_t>(consumer_.head - consumer_.began, ring_bytes_);
    release_pages({ring_.get() + kept_when_idle, ring_.get() + used});
    const auto start = (consumer_.head + ring_bytes_ - 1) & ~std::uint64_t{ring_bytes_ - 1};
    consumer_.began = consumer_.head = consumer_.published_seen = start;
    producer_.tail = producer_.published_tail = producer_.head_seen = start;
    producer_.plain_until = 0;
    published_.tail.store(start, std::memory_order_seq_cst);
    freed_.head.store(start, std::memory_order_seq_cst);
}

RecordRing::Counts RecordRing::counts() const noexcept
{
    // In this order: a popped message was pushed before, so no difference is below zero.
    Counts counts;
    counts.popped = freed_.popped.load(std::memory_order_acquire);
    counts.popped_bytes = freed_.popped_bytes.load(std::memory_order_acquire);
    counts.pushed = relaxed(published_.pushed);
    counts.pushed_bytes = relaxed(published_.pushed_bytes);
    // The consumer records the peaks: a queue is longest just before a message is taken
    counts.peak_messages = std::max(relaxed(consumer_.peak_messages), counts.queued());
    counts.peak_bytes = std::max(relaxed(consumer_.peak_bytes), counts.queued_bytes());
    return counts;
}

bool RecordRing::half_free() const noexcept
{
    const auto used = published_.tail.load(std::memory_order_acquire)
                      - freed_.head.load(std::memory_order_acquire);
    const auto now = counts();
    return used <= std::min(ring_bytes_, limit_) / 2 && now.queued() <= message_limit_ / 2
           && now.queued_bytes() <= limit_ / 2;
}

} // namespace sidecar::detail
