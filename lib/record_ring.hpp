// A bounded queue of variable-length messages in one contiguous ring: one producer, one consumer, no lock, and no
// allocation for a small message. Large messages stand in blocks of their own, which the bound counts too.
#pragma once

#include "block_pool.hpp"

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

namespace sidecar::detail {

/// Positions count bytes since construction and never wrap; the index in the ring is the position modulo its size.
/// Producer side and consumer side may be any thread, one at a time each; the users (Inbox, LinkImpl) see to that.
/// Either side works on its own cache lines and looks at the other's when it must: what it pushed or popped is seen by
/// the other side after publish() or publish_reads().
class RecordRing {
public:
    explicit RecordRing(const QueueLimits& limits);
    RecordRing(const RecordRing&) = delete;
    RecordRing& operator=(const RecordRing&) = delete;
    ~RecordRing();

    // --- producer side
    /// Whether any message of up to this size fits now, wherever the ring stands.
    [[nodiscard]] bool has_room(std::size_t payload_bytes) const noexcept;
    /// Copies a message in. False: no room, nothing changed. Throws bad_alloc.
    [[nodiscard]] bool push(LinkId link, MessageKind kind, std::span<const std::byte> payload)
    {
        if (payload.size() > large_)
            return push_large(link, kind, payload);
        const auto record = record_bytes(payload.size());
        if (!make_way(record))
            return false;
        auto* body = append(link, kind, record, payload.size(), false);
        if (!payload.empty())
            std::memcpy(body, payload.data(), payload.size());
        return true;
    }
    /// A block for a message that is to be filled in place: counted from now on, until it is pushed or cancelled. Empty when
    /// it is too small to be worth it, or when less than `spare_bytes` of large messages would fit beside it.
    [[nodiscard]] Block reserve(std::size_t payload_bytes, std::size_t spare_bytes);
    /// Pushes a block from reserve(). False: no room for its record; the block is the caller's still.
    [[nodiscard]] bool push_reserved(LinkId link, MessageKind kind, Block& block, std::size_t payload_bytes);
    void cancel_reserved(std::size_t payload_bytes) noexcept { blocks_pushed_ -= payload_bytes; }
    /// Shows the consumer what was pushed. Sequentially consistent, which is what "publish, then see whether the consumer
    /// sleeps" needs.
    void publish() noexcept;
    [[nodiscard]] std::uint64_t write_position() const noexcept { return tail_local_; }
    /// Pushed and not yet published.
    [[nodiscard]] std::uint64_t unpublished_bytes() const noexcept { return tail_local_ - published_local_; }

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
    /// The position of the next record to read; skips the gap at the ring's end. Only when below `published`.
    [[nodiscard]] std::uint64_t settle(std::uint64_t position) const noexcept
    {
        return header(position)->is_gap() ? end_of_lap(position) : position;
    }
    [[nodiscard]] MessageView view(std::uint64_t position) const noexcept
    {
        const auto* h = header(position);
        const auto* body = reinterpret_cast<const std::byte*>(h) + sizeof(Header);
        if (h->is_block()) {
            LargeRecord large;
            std::memcpy(&large, body, sizeof large);
            body = large.block;
        }
        return {h->link(), h->kind(), {body, h->size}};
    }
    /// The position behind the record at `position`.
    [[nodiscard]] std::uint64_t after(std::uint64_t position) const noexcept
    {
        const auto* h = header(position);
        return position + record_bytes(h->is_block() ? sizeof(LargeRecord) : h->size);
    }
    /// Like view(), but takes a large message's block out instead of copying it.
    [[nodiscard]] Message take(std::uint64_t position);
    [[nodiscard]] std::uint64_t read_position() const noexcept { return head_local_; }
    /// Frees the record at read_position() for the producer, who sees it after publish_reads().
    void pop() noexcept
    {
        head_local_ = settle(head_local_);
        const auto* h = header(head_local_);
        ++popped_local_;
        popped_bytes_local_ += h->size;
        if (h->is_block())
            free_block(head_local_);
        head_local_ = after(head_local_);
    }
    [[nodiscard]] std::uint64_t popped_so_far() const noexcept { return popped_local_; }
    [[nodiscard]] std::uint64_t popped_bytes_so_far() const noexcept { return popped_bytes_local_; }
    void publish_reads() noexcept;

    // --- either side; as far as published
    /// The position up to which the consumer has freed everything.
    [[nodiscard]] std::uint64_t reads_published() const noexcept { return head_.load(std::memory_order_seq_cst); }
    [[nodiscard]] bool empty() const noexcept
    {
        return head_.load(std::memory_order_seq_cst) == tail_.load(std::memory_order_seq_cst);
    }
    [[nodiscard]] std::uint64_t pushed() const noexcept { return pushed_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t popped() const noexcept { return popped_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t pushed_bytes() const noexcept { return pushed_bytes_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t popped_bytes() const noexcept { return popped_bytes_.load(std::memory_order_relaxed); }
    /// High-water marks. The consumer notes them: a queue is never longer than just before something is taken from it.
    [[nodiscard]] std::uint64_t peak_messages() const noexcept
    {
        return std::max(peak_messages_.load(std::memory_order_relaxed), pushed() - std::min(popped(), pushed()));
    }
    [[nodiscard]] std::uint64_t peak_bytes() const noexcept
    {
        return std::max(peak_bytes_.load(std::memory_order_relaxed), pushed_bytes() - std::min(popped_bytes(), pushed_bytes()));
    }
    /// The largest message that could ever fit.
    [[nodiscard]] std::size_t largest_message() const noexcept
    {
        return std::min<std::size_t>(std::max(large_, block_bytes_), UINT32_MAX); // a record's size has 32 bits
    }
    /// Whether at least half of everything is free; when a paused producer is worth waking.
    [[nodiscard]] bool half_free() const noexcept;

    /// What a record takes beside its payload, at most: the head, and the padding behind.
    static constexpr std::size_t overhead_bytes = 16;

private:
    /// Two words, not bit-fields: writing one of those reads the word first, and that line is the other core's.
    struct Header {
        static constexpr std::uint32_t link_mask = 0xffffff, kind_shift = 24, block_bit = 1u << 26, gap_bit = 1u << 27;
        std::uint32_t size; // of the payload
        std::uint32_t what; // link, kind, bits

        [[nodiscard]] LinkId link() const noexcept { return static_cast<LinkId>(what & link_mask); }
        [[nodiscard]] MessageKind kind() const noexcept { return static_cast<MessageKind>(what >> kind_shift & 3); }
        /// A LargeRecord follows.
        [[nodiscard]] bool is_block() const noexcept { return (what & block_bit) != 0; }
        /// Nothing here; go on at the ring's start.
        [[nodiscard]] bool is_gap() const noexcept { return (what & gap_bit) != 0; }
    };
    struct LargeRecord {
        std::byte* block;
        std::size_t capacity;
    };
    static constexpr std::size_t alignment = 8, cache_line = 64;
    static constexpr std::size_t claim_ahead = 1024;
    static_assert(sizeof(Header) == alignment);

    [[nodiscard]] static constexpr std::size_t record_bytes(std::size_t body) noexcept
    {
        return (sizeof(Header) + body + alignment - 1) & ~(alignment - 1);
    }
    [[nodiscard]] Header* header(std::uint64_t position) const noexcept
    {
        return std::launder(reinterpret_cast<Header*>(ring_.get() + (position & (ring_bytes_ - 1))));
    }
    /// Where the ring begins again, behind the position.
    [[nodiscard]] std::uint64_t end_of_lap(std::uint64_t position) const noexcept { return (position | (ring_bytes_ - 1)) + 1; }
    [[nodiscard]] std::uint64_t room_needed(std::size_t record) const noexcept
    {
        const auto to_end = end_of_lap(tail_local_) - tail_local_;
        return record <= to_end ? record : to_end + record;
    }
    /// By what the producer last saw of the consumer.
    [[nodiscard]] bool seems_to_fit(std::size_t record) const noexcept
    {
        return tail_local_ + room_needed(record) - head_seen_ <= ring_bytes_ && pushed_local_ - popped_seen_ < message_limit_;
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
    [[nodiscard]] bool make_way_slowly(std::size_t record);
    /// Asks for cache lines that will be written soon. They are at the consumer's, and a processor's queue of stores waits
    /// for each in turn, which costs more than all else that a push does.
    void claim_lines_ahead() const noexcept
    {
        claim_line(header(tail_local_ + claim_ahead));
        claim_line(header(tail_local_ + claim_ahead + cache_line));
    }
    static void claim_line(const void* line) noexcept
    {
#if defined(__x86_64__)
        // __builtin_prefetch makes this of it only for processors that are named; on those without, it does nothing.
        asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(line)));
#else
        __builtin_prefetch(line, 1);
#endif
    }
    std::byte* append(LinkId link, MessageKind kind, std::size_t record, std::size_t payload_bytes, bool is_block)
    {
        auto* h = ::new (header(tail_local_)) Header{
            static_cast<std::uint32_t>(payload_bytes),
            (static_cast<std::uint32_t>(link) & Header::link_mask) | static_cast<std::uint32_t>(kind) << Header::kind_shift
                | (is_block ? Header::block_bit : 0)};
        tail_local_ += record;
        ++pushed_local_;
        pushed_bytes_local_ += payload_bytes;
        claim_lines_ahead();
        return reinterpret_cast<std::byte*>(h) + sizeof(Header);
    }
    [[nodiscard]] bool push_large(LinkId link, MessageKind kind, std::span<const std::byte> payload);
    [[nodiscard]] BlockPool& pool();
    void free_block(std::uint64_t position) noexcept;
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

    const std::size_t ring_bytes_;     // both: constant; a power of two
    const std::size_t block_bytes_;    // both: constant; budget for large messages
    const std::size_t message_limit_;  // both: constant
    const std::size_t large_;          // both: constant; payloads above it get a block
    std::unique_ptr<std::byte[]> ring_; // made by the producer before the first publication
    std::shared_ptr<BlockPool> pool_;   // made by the producer before the first block is published

    alignas(cache_line) std::uint64_t tail_local_ = 0, published_local_ = 0; // producer side
    std::uint64_t pushed_local_ = 0, pushed_bytes_local_ = 0; // producer side
    std::uint64_t plain_until_ = 0, pushes_until_ = 0;      // producer side; how far it may go without looking
    std::uint64_t blocks_pushed_ = 0;                       // producer side; bytes, reserved ones too
    mutable std::uint64_t head_seen_ = 0, popped_seen_ = 0, blocks_popped_seen_ = 0; // producer side; the consumer's, as last seen

    alignas(cache_line) std::atomic<std::uint64_t> tail_{0};        // both: atomic
    std::atomic<std::uint64_t> pushed_{0}, pushed_bytes_{0}; // both: atomic, written by the producer

    alignas(cache_line) std::uint64_t head_local_ = 0;              // consumer side
    std::uint64_t popped_local_ = 0, popped_bytes_local_ = 0, blocks_popped_local_ = 0; // consumer side
    std::uint64_t published_seen_ = 0;                      // consumer side
    std::atomic<std::uint64_t> peak_messages_{0}, peak_bytes_{0}; // both: atomic, written by the consumer

    alignas(cache_line) std::atomic<std::uint64_t> head_{0};        // both: atomic
    std::atomic<std::uint64_t> popped_{0}, popped_bytes_{0}; // both: atomic, written by the consumer
    std::atomic<std::uint64_t> blocks_popped_{0};           // both: atomic, written by the consumer
};

} // namespace sidecar::detail
