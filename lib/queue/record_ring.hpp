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

/// Holds the records of a queue in order, and how far each side has seen them. Small messages are
/// copied into the ring; each large one is in a separate block, which the budget counts. Ring and
/// blocks together stay within the limit. Owned by the Inbox or the Outbox, which ensures that each
/// side is one thread at a time.
///
/// Positions count bytes since construction and never wrap; the index in the ring is the position
/// modulo its size. Each side writes to separate cache lines, and reads those of the other side
/// only when it must: the other side sees pushed or popped records after publish() or
/// publish_reads(). Invariant: freed <= read <= published <= pushed <= freed + the ring's size.
class RecordRing {
public:
    /// The parts of the limit that small messages and large ones may use.
    enum class Share {
        half, ///< each: a peer's large messages find memory, however much else waits
        all   ///< either: a sender gets all of the limit for any size
    };
    explicit RecordRing(const QueueLimits& limits, Share share = Share::half);
    RecordRing(const RecordRing&) = delete;
    RecordRing& operator=(const RecordRing&) = delete;
    ~RecordRing();

    // --- producer side
    /// Whether any message of up to this size fits now, at any position of the ring. Only with
    /// Share::half.
    [[nodiscard]] bool has_space(std::size_t payload_bytes) const noexcept;
    /// Copies a message in. False: it does not fit, nothing changed. Throws bad_alloc.
    [[nodiscard]] bool push(LinkId link, StoredKind kind, std::span<const std::byte> payload)
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
    /// Pushes a message without copying it. False: its record does not fit. Lifetime: the payload
    /// must exist until the message is popped; see free_later().
    [[nodiscard]] bool push_slice(LinkId link, StoredKind kind, std::span<const std::byte> payload)
    {
        if (!make_way(slice_record_bytes))
            return false;
        const auto* where = payload.data();
        std::memcpy(append(link, kind, slice_record_bytes, payload.size(), RecordHeader::slice_bit),
                    &where, sizeof where);
        return true;
    }
    /// Pushes a message in a block from take_block(), for which `counted_bytes` were taken from the
    /// budget. False: no space for its record; the caller keeps the block.
    [[nodiscard]] bool push_block(LinkId link, StoredKind kind, Block& block,
                                  std::size_t payload_bytes, std::size_t counted_bytes);
    /// Frees a block once the consumer has read all messages that were pushed before; the next push
    /// writes the block's record in front of its message. `counted_bytes`: released to the budget
    /// then. One block at a time.
    void free_later(Block block, std::size_t counted_bytes) noexcept;
    /// Whether the consumer has yet to pass the latest block from free_later().
    [[nodiscard]] bool has_block_to_free() const noexcept
    {
        return freed_.head.load(std::memory_order_acquire) < producer_.free_position;
    }
    /// Writes a stamp in front of the next message, which has `payload_bytes`. One stamp at a time:
    /// a later one replaces it.
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
            producer_.plain_until = 0; // the next push takes the slow path, which writes it
    }
    /// Takes a block from the pool, for which `counted_bytes` were taken from the budget. Throws
    /// bad_alloc, and then has returned them to the budget.
    [[nodiscard]] Block take_block(std::size_t bytes, std::size_t counted_bytes);
    /// Shows the consumer all pushed records. Sequentially consistent: after it the producer may
    /// check whether the consumer sleeps.
    void publish() noexcept;
    [[nodiscard]] std::uint64_t write_position() const noexcept { return producer_.tail; }
    [[nodiscard]] bool is_published() const noexcept
    {
        return producer_.published_tail == producer_.tail;
    }
    /// Returns the bytes of messages that were pushed and not yet published.
    [[nodiscard]] std::uint64_t unpublished_bytes() const noexcept
    {
        return producer_.pushed_bytes - producer_.published_bytes;
    }
    /// Whether the consumer has read all that was pushed.
    [[nodiscard]] bool is_all_read() const noexcept
    {
        return freed_.head.load(std::memory_order_seq_cst) == producer_.tail;
    }
    /// Counts the blocks. Side: see MemoryBudget.
    [[nodiscard]] MemoryBudget& budget() noexcept { return budget_; }
    [[nodiscard]] const MemoryBudget& budget() const noexcept { return budget_; }

    // --- consumer side
    /// Returns the position behind the last published record.
    [[nodiscard]] std::uint64_t published() noexcept
    {
        const auto tail = published_.tail.load(std::memory_order_seq_cst);
        if (tail != consumer_.published_seen) {
            consumer_.published_seen = tail;
            update_depth();
        }
        return tail;
    }
    /// Returns the first message from `position` on, as one of `link`, and moves `position` behind
    /// it. `position` must be below published().
    [[nodiscard]] MessageView read(std::uint64_t& position, LinkId link) const noexcept
    {
        const auto* h = header(position);
        while (!h->is_message()) [[unlikely]]
            h = header(position = after_other(position));
        position += record_bytes_of(*h);
        return {link, h->kind(), payload_of(*h)};
    }
    /// Returns the first message, with the link, connection and arrival of its stamp.
    /// read_position() must be below published(), and is then the position of the message.
    [[nodiscard]] MessageView front() noexcept
    {
        const auto* h = pass_over_others();
        return {consumer_.stamp.link, h->kind(), payload_of(*h), consumer_.stamp.connection,
                consumer_.stamp.arrival};
    }
    /// Whether that message is in a block, which take_front_block() takes out; the record stays
    /// until it is popped. Call front() before.
    [[nodiscard]] bool front_has_block() const noexcept
    {
        return header(consumer_.head)->has_block();
    }
    [[nodiscard]] Block take_front_block() noexcept;
    [[nodiscard]] std::uint64_t read_position() const noexcept { return consumer_.head; }
    /// Frees the first message's record; the producer sees it after publish_reads().
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
    /// Shows the producer all popped records. Sequentially consistent, unless the caller orders it
    /// otherwise before its next check.
    void publish_reads(std::memory_order order = std::memory_order_seq_cst) noexcept
    {
        freed_.popped.store(consumer_.popped, std::memory_order_release);
        freed_.popped_bytes.store(consumer_.popped_bytes, std::memory_order_release);
        budget_.publish();
        freed_.head.store(consumer_.head, order);
    }

    /// Whether so much was read since the last restart() that an idle ring should restart.
    [[nodiscard]] bool is_worth_restarting() const noexcept
    {
        return ring_bytes_ > kept_when_idle && consumer_.head - consumer_.began > kept_when_idle;
    }
    /// Restarts an empty ring at its first byte, and releases memory beyond `kept_when_idle`, which
    /// a burst used, to the system. Positions continue. Side: both at once: the caller holds off
    /// producer and consumer.
    void restart() noexcept;

    // --- both
    /// Whether free_spare_blocks() frees blocks that a burst left. Call it when the queue is idle.
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
    /// Counts in and out. Any thread may read them while both sides work: no difference is
    /// negative.
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
    /// Returns the size of the largest message that a ring with Share::all could ever hold.
    [[nodiscard]] static std::size_t largest_message(const QueueLimits& limits) noexcept;
    /// Returns the size above which a message gets a block.
    [[nodiscard]] std::size_t largest_copied() const noexcept { return largest_copied_; }
    /// Whether at least half of everything is free: then a paused producer is worth waking.
    [[nodiscard]] bool half_free() const noexcept;

private:
    static constexpr std::size_t cache_line = 64, claim_ahead = 1024;
    static constexpr std::size_t kept_when_idle = 256u << 10;
    /// A ring of more than `large_ring` releases the memory of records that were read, in steps.
    static constexpr std::size_t large_ring = 8u << 20, release_step = 1u << 20;

    struct alignas(cache_line) Producer {
        std::uint64_t tail = 0;
        std::uint64_t pushed = 0, pushed_bytes = 0;
        std::uint64_t plain_until = 0, pushes_until = 0; // limits of the fast path
        std::uint64_t published_tail = 0, published_bytes = 0;
        std::uint64_t released = 0; // the memory of records before it is released
        mutable std::uint64_t head_seen = 0, popped_seen = 0; // the consumer's, as last seen
        Block to_free;                                        // written before the next message
        std::size_t to_free_bytes = 0;                        // as the budget counts it
        std::uint64_t free_position = 0; // behind the latest record of a block to free
        Stamp stamp;                     // written before the next message
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
        std::uint64_t began = 0; // position of the last restart()
        Stamp stamp;             // the latest stamp that it passed
        std::atomic<std::uint64_t> peak_messages{0}, peak_bytes{0}; // read by any thread
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
    /// Returns the next position behind this one that is the ring's first byte.
    [[nodiscard]] std::uint64_t end_of_lap(std::uint64_t position) const noexcept
    {
        return (position | (ring_bytes_ - 1)) + 1;
    }
    /// Returns where the record behind `position` begins: it must not cross the ring's end.
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
    /// Returns the position behind a record that is no message.
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
    /// Whether a record fits, by the producer's last look at the consumer. `block_bytes`: size of
    /// the block that belongs to it.
    [[nodiscard]] bool seems_to_fit(std::size_t record, std::size_t block_bytes) const noexcept
    {
        auto from = producer_.tail;
        if (producer_.to_free)
            from = place(from, block_record_bytes) + block_record_bytes;
        if (producer_.has_stamp)
            from = place(from, stamp_record_bytes) + stamp_record_bytes;
        // A lone message fits wherever the ring's end is
        const auto room =
            producer_.tail == producer_.head_seen ? ring_bytes_ : ring_room(block_bytes);
        return place(from, record) + record - producer_.head_seen <= room
               && producer_.pushed - producer_.popped_seen < message_limit_;
    }
    /// Returns how much of the ring may be in use, given the bytes in blocks.
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
    /// Prepares append() of this record. False: it does not fit.
    [[nodiscard]] bool make_way(std::size_t record)
    {
        if (producer_.tail + record <= producer_.plain_until
            && producer_.pushed < producer_.pushes_until) [[likely]]
            return true;
        return make_way_slowly(record);
    }
    [[nodiscard, gnu::cold]] bool make_way_slowly(std::size_t record);
    /// Requests cache lines that will be written soon. The consumer's core holds them, and a
    /// processor's store queue waits for each in turn, which costs more than the rest of a push.
    void claim_lines_ahead() const noexcept
    {
        claim_line(header(producer_.tail + claim_ahead));
        claim_line(header(producer_.tail + claim_ahead + cache_line));
    }
    static void claim_line(const void* line) noexcept
    {
#if defined(__x86_64__)
        // __builtin_prefetch emits this only with an -march that has it. A processor without it
        // ignores it.
        asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(line)));
#else
        __builtin_prefetch(line, 1);
#endif
    }
    std::byte* append(LinkId link, StoredKind kind, std::size_t record, std::size_t payload_bytes,
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
    [[nodiscard, gnu::cold]] bool push_large(LinkId link, StoredKind kind,
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
    void update_depth() noexcept
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
    MemoryBudget budget_;                   // both: producer and consumer part
    Producer producer_;                     // producer side
    Published published_;                   // both: atomic
    Consumer consumer_;                     // consumer side, except the peaks
    Freed freed_;                           // both: atomic
};

} // namespace sidecar::detail
