// What stands beside the ring, piece by piece, and the memory for it.
#pragma once

#include "queue/link_events.hpp"

#include <sidecar/clock.hpp>
#include <sidecar/event.hpp>
#include <sidecar/message.hpp>

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/unordered_set_hook.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace sidecar::detail {

class LinkQueue;

/// What a message says. Owned by its entry.
struct SideContent {
    MessageKind kind = MessageKind::bytes;
    Block payload{};
    std::size_t size = 0;
    std::string_view key; // in the payload, or behind it
};

/// One piece of the ordered stream that stands beside the ring: a message of a link with a queue of
/// its own, a number of messages that are missing, or something that happened to a link. Owned by the
/// SideQueue while it is in the order; by the consumer from take() on.
struct SideEntry : SideContent {
    enum class What : std::uint8_t { message, gap, event };
    using Hook = boost::intrusive::list_member_hook<>;

    Hook in_order;                                         // all links' entries; or the unused ones
    Hook in_link;                                          // the link's, if it has a queue
    boost::intrusive::unordered_set_member_hook<> in_keys; // of the link's messages with a key
    What what = What::event;
    GapReason reason = GapReason::none;
    LinkId link{};
    std::uint32_t connection = 0;
    LinkQueue* queue = nullptr;         // null: an event of a link without one
    std::uint64_t position = 0;         // in the ring: it comes before the record there
    std::uint64_t missing = 0;          // gap: how many; message: how many it has replaced
    TimePoint at{};                     // when it arrived, or happened
    std::unique_ptr<LinkEvent> event{}; // all else of an event

    [[nodiscard]] MessageView view() const noexcept
    {
        return {link, kind, {payload.get(), size}, connection};
    }
};

/// Payloads up to the largest pooled one have memory of one of few sizes, so that it serves the next
/// as well; a larger one has exactly what it needs.
inline constexpr std::size_t smallest_side_payload = 64, largest_pooled_side_payload = 64u << 10;

[[nodiscard]] constexpr std::size_t side_payload_capacity(std::size_t bytes) noexcept
{
    if (bytes <= smallest_side_payload)
        return smallest_side_payload;
    // Steps of a quarter
    if (bytes > largest_pooled_side_payload)
        return bytes;
    const auto step = std::bit_floor(bytes - 1) / 4;
    return (bytes + step - 1) / step * step;
}

/// What a message costs of its queue's bytes.
[[nodiscard]] constexpr std::size_t side_entry_cost(std::size_t payload_bytes) noexcept
{
    return sizeof(SideEntry) + side_payload_capacity(payload_bytes);
}

/// Memory for entries. It keeps a little of what it gets back, so that a link whose reader keeps up
/// allocates nothing. Owned by the SideQueue, and guarded by its mutex.
class SideEntryPool {
public:
    SideEntryPool() = default;
    SideEntryPool(const SideEntryPool&) = delete;
    SideEntryPool& operator=(const SideEntryPool&) = delete;
    ~SideEntryPool();

    /// With memory for so large a payload; none for an event. Throws bad_alloc.
    [[nodiscard]] SideEntry* take(std::size_t payload_bytes);
    [[nodiscard]] SideEntry* take_without_payload();
    void give_back(SideEntry* entry) noexcept;
    [[nodiscard]] std::size_t kept_bytes() const noexcept { return kept_bytes_; }

    static constexpr std::size_t most_kept_bytes = 256u << 10;

private:
    using List = boost::intrusive::list<
        SideEntry, boost::intrusive::member_hook<SideEntry, SideEntry::Hook, &SideEntry::in_order>,
        boost::intrusive::constant_time_size<false>>;
    // One list for each size from 64 bytes to 64 KiB, four between powers of two
    static constexpr std::size_t size_count =
        4 * (std::bit_width(largest_pooled_side_payload) - std::bit_width(smallest_side_payload))
        + 1;
    [[nodiscard]] static std::size_t index_of(std::size_t capacity) noexcept;

    std::array<List, size_count> unused_; // both: guarded by the owner's mutex
    std::size_t kept_bytes_ = 0;          // both: guarded by the owner's mutex
};

} // namespace sidecar::detail
