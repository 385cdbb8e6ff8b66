// Limits the memory of a queue.
#pragma once

#include <sidecar/options.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace sidecar::detail {

/// Returns how many messages a queue may hold. If the limit is 0: one for every 64 bytes, which
/// small messages reach at about the time when they fill the ring.
[[nodiscard]] constexpr std::size_t message_limit(const QueueLimits& limits) noexcept
{
    return limits.messages != 0 ? limits.messages : std::max<std::size_t>(limits.bytes / 64, 1);
}

/// No message takes more than this part of the inbox, so that other links find space.
inline constexpr std::size_t inbox_share = 4;
/// A queue's memory is at most twice its bytes, rounded up to a power of two.
inline constexpr std::size_t max_queue_bytes = SIZE_MAX / 4;
/// A record's size has 32 bits.
inline constexpr std::size_t max_message =
    std::min<std::size_t>(UINT32_MAX, max_queue_bytes / inbox_share);

/// Replaces limits of the inbox that are 0.
[[nodiscard]] constexpr QueueLimits inbox_limits(QueueLimits limits,
                                                 std::size_t max_message_bytes) noexcept
{
    if (limits.bytes == 0)
        limits.bytes =
            std::max(std::size_t{8} << 20, inbox_share * std::min(max_message_bytes, max_message));
    limits.messages = message_limit(limits);
    return limits;
}
/// Replaces limits of a link's outbox that are 0. `general`: Options::outbox.
[[nodiscard]] constexpr QueueLimits outbox_limits(QueueLimits limits, const QueueLimits& general,
                                                  std::size_t max_message_bytes) noexcept
{
    if (limits.messages == 0)
        limits.messages = general.messages;
    if (limits.bytes == 0)
        limits.bytes = general.bytes;
    if (limits.bytes == 0)
        limits.bytes = std::max(std::size_t{2} << 20, std::min(max_message_bytes, max_message));
    limits.messages = message_limit(limits);
    return limits;
}

/// Counts the bytes of a queue's blocks: large messages, receive buffers, and messages that have
/// not arrived whole. It owns no memory; it only says whether there may be more. The producer takes
/// bytes, and puts back those that it did not hand on; the consumer releases those that it has
/// read. Owned by the RecordRing, whose consumer publishes it. Invariant: taken - released <=
/// limit.
class MemoryBudget {
public:
    explicit MemoryBudget(std::size_t limit_bytes) noexcept : limit_{limit_bytes} {}

    // --- producer side
    [[nodiscard]] bool has(std::size_t bytes) const noexcept
    {
        if (free_as_last_seen() >= bytes)
            return true;
        look();
        return free_as_last_seen() >= bytes;
    }
    /// Reads the consumer's counter again.
    void look() const noexcept
    {
        // Acquire: the consumer's accesses to the memory are over
        producer_.given_back_seen = given_back_.load(std::memory_order_acquire);
    }
    /// Takes bytes. False: less than `bytes` are free, and nothing was taken.
    [[nodiscard]] bool take(std::size_t bytes) noexcept
    {
        if (bytes > limit_ || !has(bytes))
            return false;
        producer_.taken += bytes;
        return true;
    }
    /// Like take(), for memory that is lent to a peer, which may never fill it: half of the limit
    /// stays free in addition. So once the consumer has read everything, any message of up to half
    /// the limit finds memory, however little other peers send.
    [[nodiscard]] bool lend(std::size_t bytes) noexcept
    {
        return bytes <= limit_ / 2 && has(bytes + limit_ / 2) && take(bytes);
    }
    void put_back(std::size_t bytes) noexcept { producer_.taken -= bytes; }
    /// Returns the bytes in use, by the producer's last look at the consumer.
    [[nodiscard]] std::size_t used() const noexcept
    {
        return static_cast<std::size_t>(producer_.taken - producer_.given_back_seen);
    }

    // --- consumer side
    /// Releases bytes; the producer sees it after publish().
    void release(std::size_t bytes) noexcept { given_back_local_ += bytes; }
    void publish() noexcept { given_back_.store(given_back_local_, std::memory_order_release); }

    // --- both
    [[nodiscard]] std::size_t limit() const noexcept { return limit_; }

private:
    [[nodiscard]] std::uint64_t free_as_last_seen() const noexcept
    {
        return limit_ - (producer_.taken - producer_.given_back_seen);
    }

    // Both count from construction and never wrap.
    struct alignas(64) Producer {
        std::uint64_t taken = 0;
        mutable std::uint64_t given_back_seen = 0;
    };

    const std::size_t limit_; // both: constant
    Producer producer_;       // producer side
    // consumer side; begins a new cache line
    alignas(64) std::uint64_t given_back_local_ = 0;
    std::atomic<std::uint64_t> given_back_{0}; // both: atomic, written by the consumer
};

} // namespace sidecar::detail
