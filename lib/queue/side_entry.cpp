#include "queue/side_entry.hpp"

#include <utility>

namespace sidecar::detail {

SideEntryPool::~SideEntryPool()
{
    for (auto& list : unused_)
        list.clear_and_dispose([](SideEntry* entry) { delete entry; });
}

/// 64, 80, 96, 112, 128, 160, ... 64 KiB
std::size_t SideEntryPool::index_of(std::size_t capacity) noexcept
{
    const auto width = std::bit_width(capacity);
    const auto quarter = capacity >> (width - 3); // 4 to 7
    return 4 * static_cast<std::size_t>(width - std::bit_width(smallest_side_payload))
           + (quarter - 4);
}

SideEntry* SideEntryPool::take(std::size_t payload_bytes)
{
    const auto capacity = side_payload_capacity(payload_bytes);
    if (capacity <= largest_pooled_side_payload) {
        auto& list = unused_[index_of(capacity)];
        if (!list.empty()) {
            auto* entry = &list.front();
            list.pop_front();
            kept_bytes_ -= sizeof(SideEntry) + capacity;
            return entry;
        }
    }
    auto entry = std::make_unique<SideEntry>();
    entry->payload = Block{new std::byte[capacity], BlockReturn{nullptr, capacity}};
    return entry.release();
}

SideEntry* SideEntryPool::take_without_payload() { return std::make_unique<SideEntry>().release(); }

void SideEntryPool::give_back(SideEntry* entry) noexcept
{
    const auto capacity = entry->payload ? entry->payload.get_deleter().capacity : 0;
    const auto bytes = sizeof(SideEntry) + capacity;
    if (capacity == 0 || capacity > largest_pooled_side_payload
        || kept_bytes_ + bytes > most_kept_bytes) {
        delete entry;
        return;
    }
    entry->event.reset();
    kept_bytes_ += bytes;
    unused_[index_of(capacity)].push_front(*entry);
}

} // namespace sidecar::detail
