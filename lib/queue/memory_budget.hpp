// How much memory a queue may use.
#pragma once

#include <sidecar/options.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace sidecar::detail {

/// How many messages a queue may hold: where the limit is 0, one for every 64 bytes, which small
/// messages reach at about the time when they fill the ring.
[[nodiscard]] constexpr std::size_t message_limit(const QueueLimits& limits) noexcept
{
    return limits.messages != 0 ? limits.messages : std::max<std::size_t>(limits.bytes / 64, 1);
}

/// The limits with nothing left open.
[[nodiscard]] constexpr QueueLimits resolved(QueueLimits limits, std::size_t default_bytes) noexcept
{
    if (limits.bytes == 0)
        limits.bytes = default_bytes;
    limits.messages = message_limit(limits);
    return limits;
}

/// Counts the bytes of a queue's blocks: large messages, buffers to receive in, and messages that have
/// not arrived whole. It owns no memory, it only says whether there may be more. The producer takes,
/// and puts back what it did not hand on; the consumer gives back what it has read. Owned by the
/// RecordRing whose consumer publishes it. Invariant: taken - given back <= limit.
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
    /// Looks at the consumer anew.
    void look() const noexcept
    {
        // Acquire: what the consumer did with the memory before is over
        producer_.given_back_seen = given_back_.load(std::memory_order_acquire);
    }
    /// False: nothing was taken, since less than `bytes` are free.
    [[nodiscard]] bool take(std::size_t bytes) noexcept
    {
        if (bytes > limit_ || !has(bytes))
            return false;
        producer_.taken += bytes;
        return true;
    }
    /// The same for memory that is lent to a peer, which may never fill it: half of all stays free
    /// beside it. So once the consumer has read everything, any message of up to half finds memory,
    /// whatever other peers do not send.
    [[nodiscard]] bool lend(std::size_t bytes) noexcept
    {
        return bytes <= limit_ / 2 && has(bytes + limit_ / 2) && take(bytes);
    }
    void put_back(std::size_t bytes) noexcept { producer_.taken -= bytes; }
    /// What is in use, as far as the producer has seen the consumer.
    [[nodiscard]] std::size_t used() const noexcept
    {
        return static_cast<std::size_t>(producer_.taken - producer_.given_back_seen);
    }

    // --- consumer side
    /// The producer sees it after publish().
    void give_back(std::size_t bytes) noexcept { given_back_local_ += bytes; }
    void publish() noexcept { given_back_.store(given_back_local_, std::memory_order_release); }

    // --- both
    [[nodiscard]] std::size_t limit() const noexcept { return limit_; }

private:
    [[nodiscard]] std::uint64_t free_as_last_seen() const noexcept
    {
        return limit_ - (producer_.taken - producer_.given_back_seen);
    }

    // Both count from the beginning and never wrap.
    struct alignas(64) Producer {
        std::uint64_t taken = 0;
        mutable std::uint64_t given_back_seen = 0;
    };

    const std::size_t limit_; // both: constant
    Producer producer_;       // producer side
    // consumer side; begins a cache line of its own
    alignas(64) std::uint64_t given_back_local_ = 0;
    std::atomic<std::uint64_t> given_back_{0}; // both: atomic, written by the consumer
};

} // namespace sidecar::detail
