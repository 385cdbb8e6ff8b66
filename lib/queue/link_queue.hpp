// The queue of one link that keeps its messages beside the inbox.
#pragma once

#include "queue/conflation.hpp"
#include "queue/overflow.hpp"
#include "queue/side_entry.hpp"

#include <boost/intrusive/list.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace sidecar::detail {

/// The messages, gaps and seams of one link, in order, with what is counted of them. Owned by the
/// SideQueue, whose mutex guards it; it links and counts, and decides nothing. Invariants: `oldest` is
/// the first message; no two gaps of one reason stand in one run of gaps; what a gap or message costs
/// is in `used_bytes`.
class LinkQueue {
public:
    using List = boost::intrusive::list<
        SideEntry, boost::intrusive::member_hook<SideEntry, SideEntry::Hook, &SideEntry::in_link>,
        boost::intrusive::constant_time_size<false>>;

    LinkQueue(LinkId link, Overflow overflow)
        : link_{link},
          overflow_{std::move(overflow)},
          keys_{overflow_.policy == OverflowPolicy::conflate ? std::make_unique<ConflationTable>()
                                                             : nullptr},
          level_{overflow_.high, overflow_.low}
    {
    }
    LinkQueue(const LinkQueue&) = delete;
    LinkQueue& operator=(const LinkQueue&) = delete;

    [[nodiscard]] LinkId link() const noexcept { return link_; }
    [[nodiscard]] const Overflow& overflow() const noexcept { return overflow_; } ///< resolved

    /// Whether a message that costs so much fits, once `replaced` is gone.
    [[nodiscard]] bool has_room(std::size_t cost,
                                const SideEntry* replaced = nullptr) const noexcept
    {
        const auto others = messages_ - (replaced ? 1 : 0);
        const auto gone = replaced ? cost_of(*replaced) : 0;
        // A lone message always fits, whatever stands there of gaps, which are few then
        return others < overflow_.queue_messages
               && (others == 0 || used_bytes_ - gone + cost <= overflow_.queue_bytes);
    }
    [[nodiscard]] bool is_half_free() const noexcept
    {
        return messages_ <= overflow_.queue_messages / 2
               && used_bytes_ <= overflow_.queue_bytes / 2;
    }
    [[nodiscard]] bool is_expired(const SideEntry& message, TimePoint now) const noexcept
    {
        return overflow_.max_age != Duration{} && now - message.at > overflow_.max_age;
    }
    [[nodiscard]] SideEntry* oldest() const noexcept { return oldest_; }
    [[nodiscard]] std::size_t used_bytes() const noexcept { return used_bytes_; }
    [[nodiscard]] bool is_empty() const noexcept { return entries_.empty(); }
    /// Null where nothing is conflated.
    [[nodiscard]] ConflationTable* keys() const noexcept { return keys_.get(); }

    /// At the end.
    void add(SideEntry& entry) noexcept;
    void add_before(SideEntry& entry, SideEntry& gap) noexcept
    {
        entries_.insert(List::s_iterator_to(entry), gap);
        count(gap);
    }
    /// Without counting; before the queue and the entries go.
    void let_go_of_all() noexcept
    {
        if (keys_)
            keys_->clear();
        entries_.clear();
    }
    /// It leaves the queue, with all that was counted of it.
    void remove(SideEntry& entry) noexcept;
    /// Where it stands there is now a gap of this reason. Gives the gaps that merged with others, and
    /// so are not in the queue any more, to `dispose`.
    template <class Dispose>
    void turn_into_gap(SideEntry& message, GapReason reason, Dispose dispose);
    /// The gap of this reason that a further loss at the end belongs to; null: none.
    [[nodiscard]] SideEntry* gap_at_end(GapReason reason) noexcept;
    /// Exchanges a message's content with a fresh one's, that is in no queue, and so leaves it its
    /// place.
    void replace(SideEntry& message, SideEntry& fresh) noexcept;

    [[nodiscard]] WaterLevel::Change update_level() noexcept
    {
        return level_.update(messages_, payload_bytes_);
    }

    std::uint32_t connection = 0; // both: guarded; what is put belongs to it
    SideEntry* untold = nullptr;  // both: guarded; an event of its level that waits to be taken
    bool wants_space = false;     // both: guarded; its listener waits
    bool is_closed = false;       // both: guarded; nothing will be put any more

private:
    [[nodiscard]] static std::size_t cost_of(const SideEntry& entry) noexcept
    {
        return sizeof(SideEntry) + (entry.payload ? entry.payload.get_deleter().capacity : 0);
    }
    void count(const SideEntry& entry) noexcept;
    void uncount(const SideEntry& entry) noexcept;
    void move_oldest_on() noexcept;
    [[nodiscard]] List::iterator begin_of_gaps(List::iterator gap) noexcept;

    const LinkId link_;           // both: constant
    const Overflow overflow_;     // both: constant
    List entries_;                // both: guarded, as all that follows
    SideEntry* oldest_ = nullptr; // the first message; null: none
    std::size_t messages_ = 0;    //
    std::size_t payload_bytes_ = 0, used_bytes_ = 0;
    const std::unique_ptr<ConflationTable> keys_; //
    WaterLevel level_;                            //
};

template <class Dispose>
void LinkQueue::turn_into_gap(SideEntry& message, GapReason reason, Dispose dispose)
{
    uncount(message);
    if (&message == oldest_)
        move_oldest_on();
    message.what = SideEntry::What::gap;
    message.reason = reason;
    message.missing = 1;
    message.size = 0;
    used_bytes_ += sizeof(SideEntry);
    bool has_message = true; // the run holds `message` itself, not merged
    const auto first = begin_of_gaps(List::s_iterator_to(message));
    for (auto gap = first; gap != entries_.end() && gap->what == SideEntry::What::gap;) {
        auto earlier = first;
        while (earlier != gap && earlier->reason != gap->reason)
            ++earlier;
        auto& entry = *gap++;
        if (&*earlier == &entry)
            continue;
        earlier->missing += entry.missing;
        has_message = has_message && &entry != &message;
        entries_.erase(List::s_iterator_to(entry));
        used_bytes_ -= sizeof(SideEntry);
        dispose(entry);
    }
    if (has_message)
        message.payload.reset();
}

} // namespace sidecar::detail
