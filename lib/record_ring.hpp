// A bounded queue of variable-length messages in one contiguous ring: one producer, one consumer, no lock, and no
// allocation for a small message. Large messages stand in blocks of their own, which the bound counts too.
#pragma once

#include <sidecar/message.hpp>
#include <sidecar/options.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace sidecar::detail {

/// Positions count bytes since construction and never wrap; the index in the ring is the position modulo its size.
/// Producer side and consumer side may be any thread, one at a time each; the users (Inbox, Outbox) see to that.
class RecordRing {
public:
    explicit RecordRing(const QueueLimits& limits);
    RecordRing(const RecordRing&) = delete;
    RecordRing& operator=(const RecordRing&) = delete;
    ~RecordRing();

    // --- producer side
    /// Whether a message of this size fits now, wherever the ring stands.
    [[nodiscard]] bool has_room(std::size_t payload_bytes) const noexcept;
    /// Copies a message in and publishes it. False: no room, nothing changed. Throws bad_alloc (large messages only).
    [[nodiscard]] bool push(LinkId link, MessageKind kind, std::span<const std::byte> payload);
    /// Orders everything published so far before whatever the producer loads next (sequentially consistent), which
    /// is what "publish, then see whether the consumer sleeps" needs.
    void fence_producer() noexcept { tail_.store(tail_local_, std::memory_order_seq_cst); }
    [[nodiscard]] std::uint64_t write_position() const noexcept { return tail_local_; }

    // --- consumer side
    /// The position behind the last published record.
    [[nodiscard]] std::uint64_t published() const noexcept { return tail_.load(std::memory_order_seq_cst); }
    /// The position of the next record to read; skips the gap at the ring's end. Only when below `published`.
    [[nodiscard]] std::uint64_t settle(std::uint64_t position) const noexcept;
    [[nodiscard]] MessageView view(std::uint64_t position) const noexcept;
    /// The position behind the record at `position`.
    [[nodiscard]] std::uint64_t after(std::uint64_t position) const noexcept;
    /// Like view(), but takes a large message's block out instead of copying it.
    [[nodiscard]] Message take(std::uint64_t position);
    [[nodiscard]] std::uint64_t read_position() const noexcept { return head_local_; }
    /// Frees the record at read_position() for the producer, who sees it after publish_reads().
    void pop() noexcept;
    void publish_reads() noexcept { head_.store(head_local_, std::memory_order_seq_cst); }

    // --- either side
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
    [[nodiscard]] std::uint64_t peak_messages() const noexcept { return peak_messages_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t peak_bytes() const noexcept { return peak_bytes_.load(std::memory_order_relaxed); }
    /// The largest message that could ever fit.
    [[nodiscard]] std::size_t largest_message() const noexcept;
    /// Whether at least half of everything is free; when a paused producer is worth waking.
    [[nodiscard]] bool half_free() const noexcept;

private:
    struct Header;
    [[nodiscard]] Header* header(std::uint64_t position) const noexcept;
    [[nodiscard]] std::uint64_t room_needed(std::size_t record_bytes) const noexcept;

    const std::size_t ring_bytes_;     // both: constant; a power of two
    const std::size_t block_bytes_;    // both: constant; budget for large messages
    const std::size_t message_limit_;  // both: constant
    const std::size_t large_;          // both: constant; payloads above it get a block
    std::unique_ptr<std::byte[]> ring_; // made by the producer before the first publication

    alignas(64) std::uint64_t tail_local_ = 0;              // producer side
    std::atomic<std::uint64_t> tail_{0};                    // both: atomic
    std::atomic<std::uint64_t> pushed_{0}, pushed_bytes_{0}; // both: atomic, written by the producer
    std::uint64_t blocks_pushed_ = 0;                       // producer side
    std::atomic<std::uint64_t> peak_messages_{0}, peak_bytes_{0}; // both: atomic, written by the producer
    mutable std::uint64_t head_seen_ = 0;                   // producer side: the last head_ it loaded

    alignas(64) std::uint64_t head_local_ = 0;              // consumer side
    std::atomic<std::uint64_t> head_{0};                    // both: atomic
    std::atomic<std::uint64_t> popped_{0}, popped_bytes_{0}; // both: atomic, written by the consumer
    std::atomic<std::uint64_t> blocks_popped_{0};           // both: atomic, written by the consumer
};

} // namespace sidecar::detail
