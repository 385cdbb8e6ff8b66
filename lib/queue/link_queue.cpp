#include "queue/link_queue.hpp"

#include <iterator>

namespace sidecar::detail {

using What = SideEntry::What;

void LinkQueue::count(const SideEntry& entry) noexcept
{
    if (entry.what == What::event)
        return;
    used_bytes_ += cost_of(entry);
    if (entry.what != What::message)
        return;
    ++messages_;
    payload_bytes_ += entry.size;
}

void LinkQueue::uncount(const SideEntry& entry) noexcept
{
    if (entry.what == What::event)
        return;
    used_bytes_ -= cost_of(entry);
    if (entry.what != What::message)
        return;
    --messages_;
    payload_bytes_ -= entry.size;
}

void LinkQueue::move_oldest_on() noexcept
{
    auto next = std::next(List::s_iterator_to(*oldest_));
    while (next != entries_.end() && next->what != What::message)
        ++next;
    oldest_ = next == entries_.end() ? nullptr : &*next;
}

void LinkQueue::add(SideEntry& entry) noexcept
{
    entries_.push_back(entry);
    count(entry);
    if (!oldest_ && entry.what == What::message)
        oldest_ = &entry;
}

void LinkQueue::remove(SideEntry& entry) noexcept
{
    uncount(entry);
    if (&entry == oldest_)
        move_oldest_on();
    entries_.erase(List::s_iterator_to(entry));
}

LinkQueue::List::iterator LinkQueue::begin_of_gaps(List::iterator gap) noexcept
{
    while (gap != entries_.begin() && std::prev(gap)->what == What::gap)
        --gap;
    return gap;
}

SideEntry* LinkQueue::gap_at_end(GapReason reason) noexcept
{
    for (auto entry = entries_.rbegin(); entry != entries_.rend() && entry->what == What::gap;
         ++entry)
        if (entry->reason == reason)
            return &*entry;
    return nullptr;
}

void LinkQueue::replace(SideEntry& message, SideEntry& fresh) noexcept
{
    uncount(message);
    std::swap(static_cast<SideContent&>(message), static_cast<SideContent&>(fresh));
    message.at = fresh.at;
    count(message);
}

} // namespace sidecar::detail
