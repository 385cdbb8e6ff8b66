#include "queue/policy_queue.hpp"

#include <utility>

namespace sidecar::detail {

struct PolicyQueue::Update {
    PolicyQueue& self;
    LinkQueue& queue;
    ~Update() { self.update(queue); }
};

/// Call it after each change of a queue: updates its water level and its place among the others,
/// and erases it if it is done.
void PolicyQueue::update(LinkQueue& queue) noexcept
{
    queue.update_level(level_sequence_++, clock_.now());
    if (queue.is_linked())
        fronts_.erase(fronts_.iterator_to(queue));
    if (!queue.is_empty())
        fronts_.insert(queue);
    if (queue.is_done())
        queues_.erase(queue.link());
    next_position_.store(fronts_.empty() ? none : fronts_.begin()->front_place().position,
                         std::memory_order_seq_cst);
}

// --- sidecar side

LinkQueue& PolicyQueue::open(LinkId link, Overflow overflow)
{
    std::lock_guard lock{mutex_};
    return queues_.try_emplace(link, link, std::move(overflow), counts_).first->second;
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
    const auto link = event->link;
    auto& queue = queues_.try_emplace(link, link, std::nullopt, counts_).first->second;
    const Update update_at_end{*this, queue}; // also when it throws
    if (queues_.size() > max_links && event->kind == Event::Kind::down
        && queue.forget_client(position))
        return;
    queue.push({++sequence_, position}, std::move(event));
}

void PolicyQueue::miss(LinkId link, std::uint64_t position, std::uint64_t messages, TimePoint now)
{
    std::lock_guard lock{mutex_};
    auto& queue = queues_.try_emplace(link, link, std::nullopt, counts_).first->second;
    const Update update_at_end{*this, queue}; // also when it throws
    queue.miss({++sequence_, position}, messages, now);
}

LinkQueue::PutOutcome PolicyQueue::put(LinkQueue& queue, std::uint64_t position,
                                       const MessageView& message, TimePoint now)
{
    const auto key = queue.key_of(message);
    std::lock_guard lock{mutex_};
    const Update update_at_end{*this, queue}; // also when it throws: messages may have expired
    const Stored stored{message};
    return queue.put({.place = {++sequence_, position},
                      .kind = stored.kind,
                      .stored = stored.bytes,
                      .key = key,
                      .now = now});
}

bool PolicyQueue::want_room(LinkQueue& queue, std::size_t payload_bytes, TimePoint now)
{
    std::lock_guard lock{mutex_};
    const Update update_at_end{*this, queue};
    return queue.want_room(payload_bytes, now);
}

// --- app side

PolicyQueue::Taken PolicyQueue::take(std::uint64_t position, Ends ends)
{
    Taken taken;
    std::lock_guard lock{mutex_};
    const auto is_first_due = [&] {
        return !fronts_.empty() && fronts_.begin()->front_place().position <= position;
    };
    if (!is_first_due())
        return taken;
    // That may add or withdraw an event of a water level, and another link may be first then
    for (LinkQueue* expired = nullptr; expired != &*fronts_.begin();) {
        expired = &*fronts_.begin();
        expired->expire(clock_.now());
        update(*expired);
        if (!is_first_due())
            return taken;
    }
    auto& queue = *fronts_.begin();
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
    for (const auto& [id, queue] : queues_)
        if (const auto at = queue.oldest(); at && (!oldest || *at < *oldest))
            oldest = at;
    return oldest;
}

PolicyQueue::Use PolicyQueue::use() const
{
    std::lock_guard lock{mutex_};
    Use use;
    for (const auto& [id, queue] : queues_) {
        use.bytes += queue.used_bytes();
        use.entries += queue.entry_count();
    }
    return use;
}

} // namespace sidecar::detail
