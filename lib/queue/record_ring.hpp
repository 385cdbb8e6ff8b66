// A bounded queue of variable-length messages in one contiguous ring: one producer, one consumer,
// no lock, and no allocation for a small message. Large messages stand in blocks of their own,
// which the bound counts too.
#pragma once

#include "queue/block_pool.hpp"

#include <sidecar/message.hpp>
#include <sidecar/options.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <utility>

namespace sidecar::detail {

/// Positions count bytes since construction and never wrap; the index in the ring is the position
/// modulo its size. Producer side and consumer side may be any thread, one at a time each; the
/// users (Inbox, LinkImpl) see to that. Either side works on its own cache lines and looks at the
/// other's when it must: what it pushed or popped is seen by the other side after publish() or
/// publish_reads().
class RecordRing {
public:
    explicit RecordRing(const QueueLimits& limits);
    RecordRing(const RecordRing&) = delete;
    RecordRing& operator=(const RecordRing&) = delete;
    ~RecordRing();

    // --- producer side
    /// Whether any message of up to this size fits now, wherever the ring stands.
    [[nodiscard]] bool has_room(std::size_t payload_bytes) const noexcept;
    /// Copies a message in, unless it stands in receive_room(). False: no room, nothing changed.
    /// Throws bad_alloc.
    [[nodiscard]] bool push(LinkId link, MessageKind kind, std::span<const std::byte> payload)
    {
        if (payload.size() > large_)
            return push_large(link, kind, payload);
        if (payload.size() >= smallest_slice && is_in_receive_room(payload))
            return push_slice(link, kind, payload);
        const auto record = record_bytes(payload.size());
        if (!make_way(record))
            return false;
        auto* body = append(link, kind, record, payload.size());
        if (!payload.empty())
            std::memcpy(body, payload.data(), payload.size());
        return true;
    }
    /// A block for a message that is to be filled in place: counted from now on, until it is pushed
    /// or cancelled. Empty when it is too small to be worth it, or when less than `spare_bytes` of
    /// large messages would fit beside it.
    [[nodiscard]] Block reserve(std::size_t payload_bytes, std::size_t spare_bytes);
    /// Pushes a block from reserve(). False: no room for its record; the block is the caller's
    /// still.
    [[nodiscard]] bool push_reserved(LinkId link, MessageKind kind, Block& block,
                                     std::size_t payload_bytes);
    void cancel_reserved(std::size_t payload_bytes) noexcept { blocks_pushed_ -= payload_bytes; }
    /// Memory of the queue's to receive in: a message pushed from there stays where it is. At least
    /// so many bytes; empty where there is no room for a buffer of that size, beside `spare_bytes`
    /// of large messages. Lifetime: until the next call, and what stands before the end of the
    /// latest message pushed from it is the queue's.
    [[nodiscard]] std::span<std::byte> receive_room(std::size_t at_least, std::size_t spare_bytes);
    /// Shows the consumer what was pushed. Sequentially consistent, which is what "publish, then
    /// see whether the consumer sleeps" needs.
    void publish() noexcept;
    [[nodiscard]] std::uint64_t write_position() const noexcept { return tail_local_; }
    [[nodiscard]] std::uint64_t pushed_bytes_so_far() const noexcept { return pushed_bytes_local_; }
    [[nodiscard]] bool is_published() const noexcept { return published_local_ == tail_local_; }
    /// Of messages that were pushed and not yet published.
    [[nodiscard]] std::uint64_t unpublished_bytes() const noexcept
    {
        return pushed_bytes_local_ - published_bytes_local_;
    }
    /// Whether the next buffer to receive in would be a third one, since the consumer has not done
    /// with the last but one.
    [[nodiscard]] bool is_far_ahead(std::size_t at_least) const noexcept
    {
        return room_.size() < at_least && at_least <= buffer_bytes_
               && head_.load(std::memory_order_acquire) < used_up_until_;
    }

    // --- consumer side
    /// The position behind the last published record.
    [[nodiscard]] std::uint64_t published() noexcept
    {
        const auto tail = tail_.load(std::memory_order_seq_cst);
        if (tail != published_seen_) {
            published_seen_ = tail;
            note_depth();
        }
        return tail;
    }
    /// The position of the next message's record; skips what is none. Only when below `published`.
    [[nodiscard]] std::uint64_t settle(std::uint64_t position) const noexcept
    {
        for (;;) {
            const auto* h = header(position);
            if (h->is_message()) [[likely]]
                return position;
            position =
                h->is_gap() ? end_of_lap(position) : position + record_bytes(sizeof(BlockRecord));
        }
    }
    [[nodiscard]] MessageView view(std::uint64_t position) const noexcept
    {
        const auto* h = header(position);
        const auto* payload = reinterpret_cast<const std::byte*>(h + 1);
        if (const void* address = payload; h->is_elsewhere())
            std::memcpy(&payload, address, sizeof payload);
        return {h->link(), h->kind(), {payload, h->size}};
    }
    /// The position behind the record at `position`.
    [[nodiscard]] std::uint64_t after(std::uint64_t position) const noexcept
    {
        const auto* h = header(position);
        return position
               + record_bytes(!h->is_elsewhere() ? h->size
                              : h->is_block()    ? sizeof(BlockRecord)
                                                 : sizeof(std::byte*));
    }
    /// Like view(), but takes a large message's block out instead of copying it.
    [[nodiscard]] Message take(std::uint64_t position);
    [[nodiscard]] std::uint64_t read_position() const noexcept { return head_local_; }
    /// Frees the record at read_position() for the producer, who sees it after publish_reads().
    void pop() noexcept
    {
        while (!header(head_local_)->is_message()) [[unlikely]]
            pop_other();
        const auto* h = header(head_local_);
        ++popped_local_;
        popped_bytes_local_ += h->size;
        if (h->is_block())
            free_block(head_local_, h->size);
        head_local_ = after(head_local_);
    }
    [[nodiscard]] std::uint64_t popped_so_far() const noexcept { return popped_local_; }
    [[nodiscard]] std::uint64_t popped_bytes_so_far() const noexcept { return popped_bytes_local_; }
    void publish_reads() noexcept;

    // --- either side; as far as published
    /// The position up to which the consumer has freed everything.
    [[nodiscard]] std::uint64_t reads_published() const noexcept
    {
        return head_.load(std::memory_order_seq_cst);
    }
    [[nodiscard]] bool empty() const noexcept
    {
        return head_.load(std::memory_order_seq_cst) == tail_.load(std::memory_order_seq_cst);
    }
    [[nodiscard]] std::uint64_t pushed() const noexcept
    {
        return pushed_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t popped() const noexcept
    {
        return popped_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t pushed_bytes() const noexcept
    {
        return pushed_bytes_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t popped_bytes() const noexcept
    {
        return popped_bytes_.load(std::memory_order_relaxed);
    }
    /// High-water marks. The consumer notes them: a queue is never longer than just before
    /// something is taken from it.
    [[nodiscard]] std::uint64_t peak_messages() const noexcept
    {
        return std::max(peak_messages_.load(std::memory_order_relaxed),
                        pushed() - std::min(popped(), pushed()));
    }
    [[nodiscard]] std::uint64_t peak_bytes() const noexcept
    {
        return std::max(peak_bytes_.load(std::memory_order_relaxed),
                        pushed_bytes() - std::min(popped_bytes(), pushed_bytes()));
    }
    /// The largest message that could ever fit.
    [[nodiscard]] std::size_t largest_message() const noexcept
    {
        // A record's size has 32 bits
        return std::min<std::size_t>(std::max(large_, block_bytes_), UINT32_MAX);
    }
    /// Whether at least half of everything is free; when a paused producer is worth waking.
    [[nodiscard]] bool half_free() const noexcept;

    /// What a record takes beside its payload, at most: the head, and the padding behind.
    static constexpr std::size_t overhead_bytes = 16;

private:
    /// Two words, not bit-fields: writing one of those reads the word first, and that line is the
    /// other core's.
    struct Header {
        static constexpr std::uint32_t link_mask = 0xffffff, kind_shift = 24, block_bit = 1u << 26,
                                       slice_bit = 1u << 27, gap_bit = 1u << 28,
                                       used_up_bit = 1u << 29;
        std::uint32_t size; // of the payload
        std::uint32_t what; // link, kind, bits

        [[nodiscard]] LinkId link() const noexcept { return static_cast<LinkId>(what & link_mask); }
        [[nodiscard]] MessageKind kind() const noexcept
        {
            return static_cast<MessageKind>(what >> kind_shift & 3);
        }
        /// The payload's address follows, and nothing or, for a block, the rest of a BlockRecord.
        [[nodiscard]] bool is_elsewhere() const noexcept
        {
            return (what & (block_bit | slice_bit)) != 0;
        }
        [[nodiscard]] bool is_block() const noexcept { return (what & block_bit) != 0; }
        /// Or else a gap (nothing here, go on at the ring's start), or a buffer of which no later
        /// record has a slice.
        [[nodiscard]] bool is_message() const noexcept
        {
            return (what & (gap_bit | used_up_bit)) == 0;
        }
        [[nodiscard]] bool is_gap() const noexcept { return (what & gap_bit) != 0; }
    };
    struct BlockRecord {
        std::byte* block;
        std::size_t capacity;
    };
    static constexpr std::size_t alignment = 8, cache_line = 64;
    /// A smaller message costs less when copied.
    static constexpr std::size_t smallest_slice = 32;
    static constexpr std::size_t claim_ahead = 1024;
    static_assert(sizeof(Header) == alignment);

    [[nodiscard]] static constexpr std::size_t record_bytes(std::size_t body) noexcept
    {
        return (sizeof(Header) + body + alignment - 1) & ~(alignment - 1);
    }
    [[nodiscard]] Header* header(std::uint64_t position) const noexcept
    {
        return std::launder(
            reinterpret_cast<Header*>(ring_.get() + (position & (ring_bytes_ - 1))));
    }
    /// Where the ring begins again, behind the position.
    [[nodiscard]] std::uint64_t end_of_lap(std::uint64_t position) const noexcept
    {
        return (position | (ring_bytes_ - 1)) + 1;
    }
    /// Where a record stands that comes next after `position`: not across the ring's end.
    [[nodiscard]] std::uint64_t place(std::uint64_t position, std::size_t record) const noexcept
    {
        return end_of_lap(position) - position >= record ? position : end_of_lap(position);
    }
    /// By what the producer last saw of the consumer.
    [[nodiscard]] bool seems_to_fit(std::size_t record) const noexcept
    {
        constexpr auto used_up_record = record_bytes(sizeof(BlockRecord));
        const auto from =
            used_up_ ? place(tail_local_, used_up_record) + used_up_record : tail_local_;
        return place(from, record) + record - head_seen_ <= ring_bytes_
               && pushed_local_ - popped_seen_ < message_limit_;
    }
    [[nodiscard]] bool fits(std::size_t record) const noexcept
    {
        if (seems_to_fit(record)) [[likely]]
            return true;
        look_at_consumer();
        return seems_to_fit(record);
    }
    [[nodiscard]] bool block_fits(std::size_t payload_bytes) const noexcept;
    void look_at_consumer() const noexcept;
    /// Whether append() may be called for this record.
    [[nodiscard]] bool make_way(std::size_t record)
    {
        if (tail_local_ + record <= plain_until_ && pushed_local_ < pushes_until_) [[likely]]
            return true;
        return make_way_slowly(record);
    }
    [[nodiscard, gnu::cold]] bool make_way_slowly(std::size_t record);
    /// Asks for cache lines that will be written soon. They are at the consumer's, and a
    /// processor's queue of stores waits for each in turn, which costs more than all else that a
    /// push does.
    void claim_lines_ahead() const noexcept
    {
        claim_line(header(tail_local_ + claim_ahead));
        claim_line(header(tail_local_ + claim_ahead + cache_line));
    }
    static void claim_line(const void* line) noexcept
    {
#if defined(__x86_64__)
        // __builtin_prefetch makes this of it only for processors that are named; on those without,
        // it does nothing.
        asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(line)));
#else
        __builtin_prefetch(line, 1);
#endif
    }
    std::byte* append(LinkId link, MessageKind kind, std::size_t record, std::size_t payload_bytes,
                      std::uint32_t bits = 0)
    {
        auto* h = ::new (header(tail_local_))
            Header{static_cast<std::uint32_t>(payload_bytes),
                   (static_cast<std::uint32_t>(link) & Header::link_mask)
                       | static_cast<std::uint32_t>(kind) << Header::kind_shift | bits};
        const auto from = std::exchange(tail_local_, tail_local_ + record);
        ++pushed_local_;
        pushed_bytes_local_ += payload_bytes;
        if ((from ^ tail_local_) >= cache_line)
            claim_lines_ahead();
        return reinterpret_cast<std::byte*>(h) + sizeof(Header);
    }
    [[nodiscard, gnu::cold]] bool push_large(LinkId link, MessageKind kind,
                                             std::span<const std::byte> payload);
    [[nodiscard]] bool is_in_receive_room(std::span<const std::byte> payload) const noexcept
    {
        const auto offset = reinterpret_cast<std::uintptr_t>(payload.data())
                            - reinterpret_cast<std::uintptr_t>(room_.data());
        // Then so does its end: what it is a part of was received there
        return offset < room_.size();
    }
    [[nodiscard]] bool push_slice(LinkId link, MessageKind kind, std::span<const std::byte> payload)
    {
        constexpr auto record = record_bytes(sizeof(std::byte*));
        if (!make_way(record))
            return false;
        const auto* where = payload.data();
        std::memcpy(append(link, kind, record, payload.size(), Header::slice_bit), &where,
                    sizeof where);
        room_ = {const_cast<std::byte*>(where) + payload.size(), room_.data() + room_.size()};
        return true;
    }
    void fill_gap(std::size_t record);
    void push_used_up();
    [[nodiscard]] BlockPool& pool();
    void pop_other() noexcept;
    void free_block(std::uint64_t position, std::size_t counted_bytes) noexcept;
    void note_depth() noexcept
    {
        raise(peak_messages_, pushed() - popped_local_);
        raise(peak_bytes_, pushed_bytes() - popped_bytes_local_);
    }
    static void raise(std::atomic<std::uint64_t>& peak, std::uint64_t value) noexcept
    {
        if (value > peak.load(std::memory_order_relaxed))
            peak.store(value, std::memory_order_relaxed);
    }

    const std::size_t ring_bytes_;      // both: constant; a power of two
    const std::size_t block_bytes_;     // both: constant; budget for large messages
    const std::size_t message_limit_;   // both: constant
    const std::size_t large_;           // both: constant; payloads above it get a block
    const std::size_t buffer_bytes_;    // both: constant; of a buffer to receive in
    std::unique_ptr<std::byte[]> ring_; // made by the producer before the first publication
    std::shared_ptr<BlockPool> pool_;   // made by the producer before the first block is published

    // Producer side
    alignas(cache_line) std::uint64_t tail_local_ = 0, published_local_ = 0,
                                      published_bytes_local_ = 0;
    std::uint64_t pushed_local_ = 0, pushed_bytes_local_ = 0; // producer side
    // Producer side; how far it may go without looking
    std::uint64_t plain_until_ = 0, pushes_until_ = 0;
    std::uint64_t blocks_pushed_ = 0; // producer side; bytes, reserved ones and buffers too
    Block buffer_, used_up_;    // producer side; the buffer to receive in, and the one before it
    std::span<std::byte> room_; // producer side; of buffer_, behind the latest slice
    // Producer side; behind the record of the latest used-up buffer
    std::uint64_t used_up_until_ = 0;
    // Producer side; the consumer's, as last seen
    mutable std::uint64_t head_seen_ = 0, popped_seen_ = 0, blocks_popped_seen_ = 0;

    alignas(cache_line) std::atomic<std::uint64_t> tail_{0}; // both: atomic
    // both: atomic, written by the producer
    std::atomic<std::uint64_t> pushed_{0}, pushed_bytes_{0};

    alignas(cache_line) std::uint64_t head_local_ = 0; // consumer side
    // Consumer side
    std::uint64_t popped_local_ = 0, popped_bytes_local_ = 0, blocks_popped_local_ = 0;
    std::uint64_t published_seen_ = 0; // consumer side
    // both: atomic, written by the consumer
    std::atomic<std::uint64_t> peak_messages_{0}, peak_bytes_{0};

    alignas(cache_line) std::atomic<std::uint64_t> head_{0}; // both: atomic
    // both: atomic, written by the consumer
    std::atomic<std::uint64_t> popped_{0}, popped_bytes_{0};
    std::atomic<std::uint64_t> blocks_popped_{0}; // both: atomic, written by the consumer
};

} // namespace sidecar::detail
