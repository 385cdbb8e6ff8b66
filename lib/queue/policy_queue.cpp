#include "queue/policy_queue.hpp"

#include <utility>

namespace sidecar::detail {

PolicyQueue::Listed PolicyQueue::make(LinkId link, std::optional<Overflow> overflow)
{
    auto queue = std::make_unique<LinkQueue>(link, std::move(overflow), counts_);
    Fronts fronts;
    fronts.emplace(0, queue.get());
    return {.queue = std::move(queue), .node = fronts.extract(fronts.begin())};
}

/// After each change of a queue: its level, its place among the others, and whether it goes.
void PolicyQueue::update(Queues::iterator at) noexcept
{
    auto& [queue, node, front] = at->second;
    queue->update_level(level_sequence_++, clock_.now());
    const bool was_listed = node.empty();
    const bool is_moved = !queue->is_empty() && queue->front_place().sequence != front;
    if (was_listed && (queue->is_empty() || is_moved))
        node = fronts_.extract(front);
    if (!queue->is_empty() && !node.empty()) {
        front = node.key() = queue->front_place().sequence;
        fronts_.insert(std::move(node));
        node = {};
    }
    if (queue->is_done())
        queues_.erase(at);
    next_position_.store(fronts_.empty() ? none : fronts_.begin()->second->front_place().position,
                         std::memory_order_seq_cst);
}

// --- sidecar side

LinkQueue& PolicyQueue::open(LinkId link, Overflow overflow)
{
    std::lock_guard lock{mutex_};
    return *queues_.emplace(link, make(link, std::move(overflow))).first->second.queue;
}

void PolicyQueue::close(LinkQueue& queue) noexcept
{
    std::lock_guard lock{mutex_};
    queue.close();
    update(queue);
}

void PolicyQueue::push(std::uint64_t position, std::unique_ptr<Event> event)
{
    std::lock_guard lock{mutex_};
    auto at = queues_.find(event->link);
    if (at == queues_.end())
        at = queues_.emplace(event->link, make(event->link, std::nullopt)).first;
    try {
        at->second.queue->push({++sequence_, position}, std::move(event));
    } catch (...) {
        update(at);
        throw;
    }
    update(at);
}

LinkQueue::PutOutcome PolicyQueue::put(LinkQueue& queue, std::uint64_t position,
                                       const MessageView& message, TimePoint now)
{
    const auto key = queue.key_of(message);
    std::lock_guard lock{mutex_};
    struct Update {
        PolicyQueue& self;
        LinkQueue& queue;
        ~Update() { self.update(queue); }
    } update_at_end{*this, queue}; // also when it throws: something may have been too old
    return queue.put({.place = {++sequence_, position},
                      .kind = message.kind(),
                      .payload = message.bytes(),
                      .key = key,
                      .now = now});
}

bool PolicyQueue::want_room(LinkQueue& queue, std::size_t payload_bytes, TimePoint now)
{
    std::lock_guard lock{mutex_};
    const bool has_room = queue.want_room(payload_bytes, now);
    update(queue);
    return has_room;
}

// --- app side

PolicyQueue::Taken PolicyQueue::take(std::uint64_t position, Ends ends)
{
    Taken taken;
    std::lock_guard lock{mutex_};
    const auto is_first_due = [&] {
        return !fronts_.empty() && fronts_.begin()->second->front_place().position <= position;
    };
    if (!is_first_due())
        return taken;
    // An event of a level may go by that, or come, and another link be first
    for (LinkQueue* expired = nullptr; expired != fronts_.begin()->second;) {
        expired = fronts_.begin()->second;
        expired->expire(clock_.now());
        update(*expired);
        if (!is_first_due())
            return taken;
    }
    auto& queue = *fronts_.begin()->second;
    taken.is_left = ends == Ends::leave && queue.front_ends_call();
    if (taken.is_left)
        return taken;
    taken.event = queue.take();
    taken.frees_space = queue.take_wish();
    update(queue);
    return taken;
}

// --- both

QueueCounts PolicyQueue::counts() const
{
    std::lock_guard lock{mutex_};
    return counts_;
}

std::optional<TimePoint> PolicyQueue::oldest() const
{
    std::lock_guard lock{mutex_};
    std::optional<TimePoint> oldest;
    for (const auto& [id, listed] : queues_)
        if (const auto at = listed.queue->oldest(); at && (!oldest || *at < *oldest))
            oldest = at;
    return oldest;
}

PolicyQueue::Use PolicyQueue::use() const
{
    std::lock_guard lock{mutex_};
    Use use;
    for (const auto& [id, listed] : queues_) {
        use.bytes += listed.queue->used_bytes();
        use.entries += listed.queue->entry_count();
    }
    return use;
}

} // namespace sidecar::detail
