// A bounded queue of variable-length messages in one contiguous ring: one producer, one consumer,
// no lock, and no allocation for a small message.
#pragma once

#include "queue/block_pool.hpp"
#include "queue/memory_budget.hpp"
#include "queue/record.hpp"

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

/// The records of a queue, their order, and who has seen how far. Small messages are copied into the
/// ring; large ones stand in blocks of their own, which the budget counts. Both together stay within
/// the limit. Owned by the Inbox or the Outbox, which see to it that each side is one thread at a time.
///
/// Positions count bytes since construction and never wrap; the index in the ring is the position
/// modulo its size. Either side works on cache lines of its own and looks at the other's when it
/// must: what it pushed or popped is seen by the other side after publish() or publish_reads().
/// Invariant: freed <= read <= published <= pushed <= freed + the ring's size.
class RecordRing {
public:
    /// How much of the limit small messages may take, and large ones.
    enum class Share {
        half, ///< each: a peer's large messages find memory whatever else waits
        all   ///< either: the limit is what a sender gets, whatever it sends
    };
    explicit RecordRing(const QueueLimits& limits, Share share = Share::half);
    RecordRing(const RecordRing&) = delete;
    RecordRing& operator=(const RecordRing&) = delete;
    ~RecordRing();

    // --- producer side
    /// Whether any message of up to this size fits now, wherever the ring stands. Only with
    /// Share::half.
    [[nodiscard]] bool has_space(std::size_t payload_bytes) const noexcept;
    /// Copies a message in. False: it does not fit, nothing changed. Throws bad_alloc.
    [[nodiscard]] bool push(LinkId link, MessageKind kind, std::span<const std::byte> payload)
    {
        if (payload.size() > largest_copied_)
            return push_large(link, kind, payload);
        const auto record = record_bytes(payload.size());
        if (!make_way(record))
            return false;
        auto* body = append(link, kind, record, payload.size());
        if (!payload.empty())
            std::memcpy(body, payload.data(), payload.size());
        return true;
    }
    /// Pushes a message that stays where it is. False: its record does not fit. Lifetime: the payload
    /// stays until it is popped; see free_later().
    [[nodiscard]] bool push_slice(LinkId link, MessageKind kind, std::span<const std::byte> payload)
    {
        if (!make_way(slice_record_bytes))
            return false;
        const auto* where = payload.data();
        std::memcpy(append(link, kind, slice_record_bytes, payload.size(), RecordHeader::slice_bit),
                    &where, sizeof where);
        return true;
    }
    /// Pushes a message that stands in a block from take_block(), for which `counted_bytes` were
    /// taken from the budget. False: no space for its record; the block is the caller's still.
    [[nodiscard]] bool push_block(LinkId link, MessageKind kind, Block& block,
                                  std::size_t payload_bytes, std::size_t counted_bytes);
    /// Frees a block once the consumer has read all messages that were pushed before: its record goes
    /// before the next message's. `counted_bytes`: what the budget gets back then. One at a time.
    void free_later(Block block, std::size_t counted_bytes) noexcept;
    /// Whether the consumer has yet to pass the latest block that free_later() was given.
    [[nodiscard]] bool has_block_to_free() const noexcept
    {
        return freed_.head.load(std::memory_order_acquire) < producer_.free_position;
    }
    /// This goes before the next message that is pushed, which has so many bytes. One at a time: a later
    /// one replaces it.
    void stamp(const Stamp& stamp, std::size_t payload_bytes)
    {
        const auto record = stamp_record_bytes + record_bytes(payload_bytes);
        producer_.has_stamp = payload_bytes > largest_copied_
                              || producer_.tail + record > producer_.plain_until
                              || producer_.pushed >= producer_.pushes_until;
        producer_.stamp = stamp;
        if (!producer_.has_stamp) [[likely]]
            append_stamp(); // the message fits behind it
        else
            producer_.plain_until = 0; // the next push looks, and finds it
    }
    /// A block from the pool, for which `counted_bytes` were taken from the budget. Throws bad_alloc,
    /// and then has put them back.
    [[nodiscard]] Block take_block(std::size_t bytes, std::size_t counted_bytes);
    /// Shows the consumer what was pushed. Sequentially consistent, which is what "publish, then
    /// see whether the consumer sleeps" needs.
    void publish() noexcept;
    [[nodiscard]] std::uint64_t write_position() const noexcept { return producer_.tail; }
    [[nodiscard]] std::uint64_t pushed_bytes_so_far() const noexcept
    {
        return producer_.pushed_bytes;
    }
    [[nodiscard]] bool is_published() const noexcept
    {
        return producer_.published_tail == producer_.tail;
    }
    /// Of messages that were pushed and not yet published.
    [[nodiscard]] std::uint64_t unpublished_bytes() const noexcept
    {
        return producer_.pushed_bytes - producer_.published_bytes;
    }
    /// Whether the consumer has read all that was pushed.
    [[nodiscard]] bool is_all_read() const noexcept
    {
        return freed_.head.load(std::memory_order_seq_cst) == producer_.tail;
    }
    /// Of the blocks. Side: see there.
    [[nodiscard]] MemoryBudget& budget() noexcept { return budget_; }
    [[nodiscard]] const MemoryBudget& budget() const noexcept { return budget_; }

    // --- consumer side
    /// The position behind the last published record.
    [[nodiscard]] std::uint64_t published() noexcept
    {
        const auto tail = published_.tail.load(std::memory_order_seq_cst);
        if (tail != consumer_.published_seen) {
            consumer_.published_seen = tail;
            note_depth();
        }
        return tail;
    }
    /// The first message from `position` on, which must be below published(), and is then behind it.
    /// Of the link `link`.
    [[nodiscard]] MessageView read(std::uint64_t& position, LinkId link) const noexcept
    {
        const auto* h = header(position);
        while (!h->is_message()) [[unlikely]]
            h = header(position = after_other(position));
        position += record_bytes_of(*h);
        return {link, h->kind(), payload_of(*h)};
    }
    /// The first message, of the link and connection in its stamp. read_position() must be below
    /// published(), and is then that message's.
    [[nodiscard]] MessageView front() noexcept
    {
        const auto* h = pass_over_others();
        return {consumer_.stamp.link, h->kind(), payload_of(*h), consumer_.stamp.connection};
    }
    /// When that message arrived. Call front() before.
    [[nodiscard]] TimePoint front_arrival() const noexcept { return consumer_.stamp.arrival; }
    /// Whether that message is in a block, which take_front_block() takes out; the record stays until
    /// it is popped. Call front() before.
    [[nodiscard]] bool front_has_block() const noexcept
    {
        return header(consumer_.head)->has_block();
    }
    [[nodiscard]] Block take_front_block() noexcept;
    [[nodiscard]] std::uint64_t read_position() const noexcept { return consumer_.head; }
    /// Frees the first message's record for the producer, who sees it after publish_reads().
    void pop() noexcept
    {
        const auto* h = pass_over_others();
        ++consumer_.popped;
        consumer_.popped_bytes += h->size;
        if (h->has_block()) [[unlikely]]
            free_block(consumer_.head);
        consumer_.head += record_bytes_of(*h);
    }
    [[nodiscard]] std::uint64_t popped_so_far() const noexcept { return consumer_.popped; }
    [[nodiscard]] std::uint64_t popped_bytes_so_far() const noexcept
    {
        return consumer_.popped_bytes;
    }
    /// Shows the producer what was popped. Sequentially consistent unless the caller orders it
    /// otherwise with what it looks at next.
    void publish_reads(std::memory_order order = std::memory_order_seq_cst) noexcept
    {
        freed_.popped.store(consumer_.popped, std::memory_order_release);
        freed_.popped_bytes.store(consumer_.popped_bytes, std::memory_order_release);
        budget_.publish();
        freed_.head.store(consumer_.head, order);
    }

    /// Whether the ring has gone on so far since it last began that an idle one should begin again.
    [[nodiscard]] bool is_worth_restarting() const noexcept
    {
        return ring_bytes_ > kept_when_idle && consumer_.head - consumer_.began > kept_when_idle;
    }
    /// Begins an empty ring again at its start: what a burst took of its memory beyond
    /// `kept_when_idle` goes back to the system. Positions go on. Side: both at once, so the caller
    /// holds off producer and consumer.
    void restart() noexcept;

    // --- both
    /// What is to be done when the queue has been idle: blocks that a burst left go.
    [[nodiscard]] bool has_spare_blocks() const noexcept { return pool_->has_surplus(); }
    void free_spare_blocks() noexcept { pool_->trim(); }
    [[nodiscard]] std::uint64_t reads_published() const noexcept
    {
        return freed_.head.load(std::memory_order_seq_cst);
    }
    [[nodiscard]] bool empty() const noexcept
    {
        return freed_.head.load(std::memory_order_seq_cst)
               == published_.tail.load(std::memory_order_seq_cst);
    }
    /// What went in and out at one moment, as anybody sees it while both sides go on.
    struct Counts {
        std::uint64_t pushed = 0, popped = 0, pushed_bytes = 0, popped_bytes = 0;
        std::uint64_t peak_messages = 0, peak_bytes = 0; ///< the most that were queued
        [[nodiscard]] std::uint64_t queued() const noexcept { return pushed - popped; }
        [[nodiscard]] std::uint64_t queued_bytes() const noexcept
        {
            return pushed_bytes - popped_bytes;
        }
    };
    [[nodiscard]] Counts counts() const noexcept;
    /// The largest message that a ring with Share::all could ever hold.
    [[nodiscard]] static std::size_t largest_message(const QueueLimits& limits) noexcept;
    /// A larger message gets a block of its own.
    [[nodiscard]] std::size_t largest_copied() const noexcept { return largest_copied_; }
    /// Whether at least half of everything is free; when a paused producer is worth waking.
    [[nodiscard]] bool half_free() const noexcept;

private:
    static constexpr std::size_t cache_line = 64, claim_ahead = 1024;
    static constexpr std::size_t kept_when_idle = 256u << 10;

    struct alignas(cache_line) Producer {
        std::uint64_t tail = 0;
        std::uint64_t pushed = 0, pushed_bytes = 0;
        std::uint64_t plain_until = 0, pushes_until = 0; // how far it may go without looking
        std::uint64_t published_tail = 0, published_bytes = 0;
        mutable std::uint64_t head_seen = 0, popped_seen = 0; // the consumer's, as last seen
        Block to_free;                   // its record goes before the next message's
        std::size_t to_free_bytes = 0;   // as the budget counts it
        std::uint64_t free_position = 0; // behind the latest such record
        Stamp stamp;                     // its record goes before the next message's
        bool has_stamp = false;
    };
    struct alignas(cache_line) Published { // written by the producer
        std::atomic<std::uint64_t> tail{0};
        std::atomic<std::uint64_t> pushed{0}, pushed_bytes{0};
    };
    struct alignas(cache_line) Consumer {
        std::uint64_t head = 0;
        std::uint64_t popped = 0, popped_bytes = 0;
        std::uint64_t published_seen = 0;
        std::uint64_t began = 0; // where the ring last began at its start
        Stamp stamp;             // the latest that it passed
        std::atomic<std::uint64_t> peak_messages{0}, peak_bytes{0}; // read by anybody
    };
    struct alignas(cache_line) Freed { // written by the consumer
        std::atomic<std::uint64_t> head{0};
        std::atomic<std::uint64_t> popped{0}, popped_bytes{0};
    };

    [[nodiscard]] RecordHeader* header(std::uint64_t position) const noexcept
    {
        return std::launder(
            reinterpret_cast<RecordHeader*>(ring_.get() + (position & (ring_bytes_ - 1))));
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
    [[nodiscard]] static std::span<const std::byte> payload_of(const RecordHeader& h) noexcept
    {
        const auto* payload = reinterpret_cast<const std::byte*>(&h + 1);
        if (const void* address = payload; h.is_elsewhere())
            std::memcpy(&payload, address, sizeof payload);
        return {payload, h.size};
    }
    [[nodiscard]] static std::size_t record_bytes_of(const RecordHeader& h) noexcept
    {
        if (!h.is_elsewhere()) [[likely]]
            return record_bytes(h.size);
        return h.has_block() ? block_record_bytes : slice_record_bytes;
    }
    /// The position behind a record that is no message.
    [[nodiscard]] std::uint64_t after_other(std::uint64_t position) const noexcept
    {
        const auto* h = header(position);
        return h->is_gap() ? end_of_lap(position)
                           : position + (h->is_stamp() ? stamp_record_bytes : block_record_bytes);
    }
    [[nodiscard]] const RecordHeader* pass_over_others() noexcept
    {
        for (;;) {
            const auto* h = header(consumer_.head);
            if (h->is_message()) [[likely]]
                return h;
            if (h->is_stamp())
                std::memcpy(static_cast<void*>(&consumer_.stamp), h + 1, sizeof(Stamp));
            else if (!h->is_gap())
                free_block(consumer_.head);
            consumer_.head = after_other(consumer_.head);
        }
    }
    /// By what the producer last saw of the consumer. `block_bytes`: of a block that goes with it.
    [[nodiscard]] bool seems_to_fit(std::size_t record, std::size_t block_bytes) const noexcept
    {
        auto from = producer_.tail;
        if (producer_.to_free)
            from = place(from, block_record_bytes) + block_record_bytes;
        if (producer_.has_stamp)
            from = place(from, stamp_record_bytes) + stamp_record_bytes;
        // A lone message fits, wherever the ring's end is
        const auto room =
            producer_.tail == producer_.head_seen ? ring_bytes_ : ring_room(block_bytes);
        return place(from, record) + record - producer_.head_seen <= room
               && producer_.pushed - producer_.popped_seen < message_limit_;
    }
    /// How much of the ring may be in use beside the blocks.
    [[nodiscard]] std::size_t ring_room(std::size_t block_bytes = 0) const noexcept
    {
        return std::min(ring_bytes_, limit_ - std::min(limit_, budget_.used() + block_bytes));
    }
    [[nodiscard]] bool fits(std::size_t record, std::size_t block_bytes = 0) const noexcept
    {
        if (seems_to_fit(record, block_bytes)) [[likely]]
            return true;
        look_at_consumer();
        return seems_to_fit(record, block_bytes);
    }
    void look_at_consumer() const noexcept;
    /// Whether append() may be called for this record.
    [[nodiscard]] bool make_way(std::size_t record)
    {
        if (producer_.tail + record <= producer_.plain_until
            && producer_.pushed < producer_.pushes_until) [[likely]]
            return true;
        return make_way_slowly(record);
    }
    [[nodiscard, gnu::cold]] bool make_way_slowly(std::size_t record);
    /// Asks for cache lines that will be written soon. They are at the consumer's, and a
    /// processor's queue of stores waits for each in turn, which costs more than all else that a
    /// push does.
    void claim_lines_ahead() const noexcept
    {
        claim_line(header(producer_.tail + claim_ahead));
        claim_line(header(producer_.tail + claim_ahead + cache_line));
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
        auto* h = ::new (header(producer_.tail)) RecordHeader{
            static_cast<std::uint32_t>(payload_bytes), RecordHeader::what_of(link, kind, bits)};
        const auto from = std::exchange(producer_.tail, producer_.tail + record);
        ++producer_.pushed;
        producer_.pushed_bytes += payload_bytes;
        if ((from ^ producer_.tail) >= cache_line)
            claim_lines_ahead();
        return reinterpret_cast<std::byte*>(h) + sizeof(RecordHeader);
    }
    [[nodiscard, gnu::cold]] bool push_large(LinkId link, MessageKind kind,
                                             std::span<const std::byte> payload);
    void fill_gap(std::size_t record);
    void append_block_to_free();
    void append_stamp()
    {
        auto* h =
            ::new (header(producer_.tail)) RecordHeader{.size = 0, .what = RecordHeader::stamp_bit};
        std::memcpy(static_cast<void*>(h + 1), &producer_.stamp, sizeof(Stamp));
        producer_.tail += stamp_record_bytes;
    }
    void free_block(std::uint64_t position) noexcept;
    void note_depth() noexcept
    {
        raise(consumer_.peak_messages, relaxed(published_.pushed) - consumer_.popped);
        raise(consumer_.peak_bytes, relaxed(published_.pushed_bytes) - consumer_.popped_bytes);
    }
    static std::uint64_t relaxed(const std::atomic<std::uint64_t>& value) noexcept
    {
        return value.load(std::memory_order_relaxed);
    }
    static void raise(std::atomic<std::uint64_t>& peak, std::uint64_t value) noexcept
    {
        if (value > relaxed(peak))
            peak.store(value, std::memory_order_relaxed);
    }

    const std::size_t ring_bytes_;          // both: constant; a power of two
    const std::size_t limit_;               // both: constant; of the ring and the blocks
    const std::size_t message_limit_;       // both: constant
    const std::size_t largest_copied_;      // both: constant
    std::unique_ptr<std::byte[]> ring_;     // made by the producer before the first publication
    const std::shared_ptr<BlockPool> pool_; // both
    MemoryBudget budget_;                   // both, each its part
    Producer producer_;                     // producer side
    Published published_;                   // both: atomic
    Consumer consumer_;                     // consumer side, but for the peaks
    Freed freed_;                           // both: atomic
};

} // namespace sidecar::detail
