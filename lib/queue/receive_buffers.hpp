// Memory of the inbox that transports receive in, so that a message is not copied.
#pragma once

#include "queue/record_ring.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace sidecar::detail {

/// A buffer that all links of an inbox receive in, one after the other. A message that is pushed
/// from it becomes a slice: a record of 16 bytes, and one copy less. The buffer up to the slice's
/// end belongs to the queue then. Rejected: messages that share the buffer, since one small message
/// would hold all of it. A used-up buffer is freed once the consumer has passed its last slice, so
/// while the consumer keeps up, two take turns. Owned by the inbox; it counts in the ring's budget.
/// Side: sidecar.
class ReceiveBuffers {
public:
    /// Lifetime: `ring` outlives it.
    explicit ReceiveBuffers(RecordRing& ring) noexcept
        : ring_{ring},
          // Two of them may remain when all is read, and there is memory left to lend
          buffer_bytes_{std::min(std::bit_floor(ring.budget().limit() / 8), largest_buffer)}
    {
    }

    /// Returns the free part of the buffer, at least `at_least` bytes; empty: no memory for a
    /// buffer of that size. Lifetime: until the next call. Throws bad_alloc.
    [[nodiscard]] std::span<std::byte> buffer(std::size_t at_least)
    {
        if (buffer_bytes_ < smallest_buffer || at_least > buffer_bytes_)
            return {};
        if (buffer_ && ring_.is_all_read())
            // Nobody reads in it; its begin is likely to be in the cache
            free_ = {buffer_.get(), buffer_bytes_};
        if (free_.size() >= at_least)
            return free_;
        if (!ring_.budget().lend(buffer_bytes_))
            return {};
        auto next = ring_.take_block(buffer_bytes_, buffer_bytes_);
        if (buffer_)
            ring_.free_later(std::exchange(buffer_, {}), buffer_bytes_);
        buffer_ = std::move(next);
        free_ = {buffer_.get(), buffer_bytes_};
        return free_;
    }
    /// Whether a message is in the buffer and should stay there. Copying costs less for one below
    /// 32 bytes.
    [[nodiscard]] bool is_slice(std::span<const std::byte> payload) const noexcept
    {
        const auto offset = reinterpret_cast<std::uintptr_t>(payload.data())
                            - reinterpret_cast<std::uintptr_t>(free_.data());
        // Its end is in the buffer too, since its bytes were received there
        return offset < free_.size() && payload.size() >= smallest_slice
               && payload.size() <= ring_.largest_copied();
    }
    /// Pushes a message for which is_slice() holds. False: no space for its record.
    [[nodiscard]] bool push(LinkId link, StoredKind kind, std::span<const std::byte> payload)
    {
        if (!ring_.push_slice(link, kind, payload))
            return false;
        const auto used = payload.data() + payload.size() - free_.data();
        free_ = free_.subspan(static_cast<std::size_t>(used));
        return true;
    }
    /// Whether the next buffer would be a third one, since the consumer still reads the one before
    /// the present one.
    [[nodiscard]] bool is_far_ahead(std::size_t at_least) const noexcept
    {
        return free_.size() < at_least && at_least <= buffer_bytes_ && ring_.has_block_to_free();
    }
    [[nodiscard]] std::size_t buffer_bytes() const noexcept { return buffer_bytes_; }

private:
    static constexpr std::size_t largest_buffer = 256u << 10, smallest_buffer = 8u << 10;
    static constexpr std::size_t smallest_slice = 32;

    RecordRing& ring_;               // sidecar side: its producer
    const std::size_t buffer_bytes_; // constant
    Block buffer_;                   // sidecar side; null: none yet
    std::span<std::byte> free_;      // sidecar side; of the buffer, behind the latest slice
};

} // namespace sidecar::detail
