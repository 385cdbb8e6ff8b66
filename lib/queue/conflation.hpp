// Finds the message of a key that waits.
#pragma once

#include "queue/side_entry.hpp"

#include <boost/intrusive/unordered_set.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>

namespace sidecar::detail {

/// The messages of one link that a newer one of the same key may replace: those since the latest seam.
/// The keys stand in the messages, so it costs a bucket for each. Owned by the link's queue, guarded
/// by its mutex. Invariant: no two entries have the same key.
class ConflationTable {
public:
    ConflationTable() : buckets_{new Bucket[first_bucket_count]} {}
    ConflationTable(const ConflationTable&) = delete;
    ConflationTable& operator=(const ConflationTable&) = delete;

    [[nodiscard]] SideEntry* find(std::string_view key)
    {
        const auto found = set_.find(
            key, std::hash<std::string_view>{},
            [](std::string_view wanted, const SideEntry& entry) { return wanted == entry.key; });
        return found == set_.end() ? nullptr : &*found;
    }
    /// An entry whose key is not there. Throws bad_alloc, and then has changed nothing.
    void insert(SideEntry& entry)
    {
        if (set_.size() >= set_.bucket_count())
            grow();
        set_.insert(entry);
    }
    void erase(SideEntry& entry) noexcept
    {
        if (entry.in_keys.is_linked())
            set_.erase(set_.iterator_to(entry));
    }
    /// A seam: what comes from now on replaces nothing from before.
    void clear() noexcept { set_.clear(); }

private:
    static constexpr std::size_t first_bucket_count = 16;
    struct Hash {
        std::size_t operator()(const SideEntry& entry) const noexcept
        {
            return std::hash<std::string_view>{}(entry.key);
        }
    };
    struct Equal {
        bool operator()(const SideEntry& a, const SideEntry& b) const noexcept
        {
            return a.key == b.key;
        }
    };
    using Hook =
        boost::intrusive::member_hook<SideEntry, decltype(SideEntry::in_keys), &SideEntry::in_keys>;
    using Set = boost::intrusive::unordered_set<SideEntry, Hook, boost::intrusive::hash<Hash>,
                                                boost::intrusive::equal<Equal>>;
    using Bucket = Set::bucket_type;

    void grow()
    {
        const auto count = set_.bucket_count() * 2;
        std::unique_ptr<Bucket[]> larger{new Bucket[count]};
        set_.rehash({larger.get(), count});
        buckets_ = std::move(larger);
    }

    std::unique_ptr<Bucket[]> buckets_;             // both: guarded by the queue's owner
    Set set_{{buckets_.get(), first_bucket_count}}; // both: guarded by the queue's owner
};

} // namespace sidecar::detail
