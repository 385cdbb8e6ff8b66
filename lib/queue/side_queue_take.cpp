// What the application's side, and whoever asks, does with what stands beside the ring.
#include "queue/side_queue.hpp"

#include <numeric>
#include <utility>

namespace sidecar::detail {
namespace {

using What = SideEntry::What;

/// At such an entry receive() and poll() end.
bool ends_call(const SideEntry& entry) noexcept
{
    return entry.what == What::gap
           || (entry.what == What::event
               && (((entry.event->kind == Event::Kind::down
                     || (entry.event->kind == Event::Kind::retry && !entry.event->next_attempt))
                    && !(*entry.event->failure == Error::link_closed))
                   || entry.event->kind == Event::Kind::gap));
}

} // namespace

// --- app side

bool SideQueue::is_first_due(std::uint64_t position) const noexcept
{
    return !order_.empty() && order_.front().position <= position;
}

/// True if something of the first one's link was too old.
bool SideQueue::expire_first()
{
    auto* const queue = order_.front().queue;
    if (!queue || queue->overflow().max_age == Duration{} || !expire(*queue, clock_.now()))
        return false;
    note_level(*queue);
    note_front();
    return true;
}

SideQueue::Taken SideQueue::take(std::uint64_t position, Ends ends)
{
    Taken taken; // goes after the lock, since it takes that
    std::lock_guard lock{mutex_};
    // An event of a level may go by that, and another link be first
    while (is_first_due(position) && expire_first())
        ;
    if (!is_first_due(position))
        return taken;
    auto& entry = order_.front();
    auto* const queue = entry.queue;
    taken.is_left = ends == Ends::leave && ends_call(entry);
    if (taken.is_left)
        return taken;
    remove(entry);
    taken.entry = {&entry, {this}};
    if (entry.what == What::message) {
        ++counts_.taken;
        counts_.taken_bytes += entry.size;
    }
    if (queue) {
        taken.frees_space =
            queue->wants_space && queue->is_half_free() && std::exchange(queue->wants_space, false);
        note_level(*queue);
        forget_if_done(*queue);
    }
    note_front();
    return taken;
}

void SideQueue::give_back(SideEntry* entry) noexcept
{
    std::lock_guard lock{mutex_};
    pool_.give_back(entry);
}

// --- both

std::uint64_t SideQueue::Counts::lost_messages() const noexcept
{
    return std::accumulate(lost.begin(), lost.end(), std::uint64_t{0});
}

SideQueue::Counts SideQueue::counts() const
{
    std::lock_guard lock{mutex_};
    return counts_;
}

std::optional<TimePoint> SideQueue::oldest() const
{
    std::lock_guard lock{mutex_};
    std::optional<TimePoint> oldest;
    for (const auto& [id, queue] : queues_)
        if (const auto* message = queue->oldest(); message && (!oldest || message->at < *oldest))
            oldest = message->at;
    return oldest;
}

std::size_t SideQueue::memory_bytes() const
{
    std::lock_guard lock{mutex_};
    auto bytes = pool_.kept_bytes();
    for (const auto& [id, queue] : queues_)
        bytes += queue->used_bytes();
    return bytes;
}

} // namespace sidecar::detail
