#include "queue/side_queue.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sidecar::detail {
namespace {

using What = SideEntry::What;

/// What came before such an event is from another time: nothing that comes later replaces it.
constexpr bool is_seam(Event::Kind kind) noexcept
{
    return kind == Event::Kind::up || kind == Event::Kind::down || kind == Event::Kind::gap;
}

bool is_part(std::string_view key, std::span<const std::byte> payload) noexcept
{
    const auto offset = reinterpret_cast<std::uintptr_t>(key.data())
                        - reinterpret_cast<std::uintptr_t>(payload.data());
    return offset <= payload.size() && key.size() <= payload.size() - offset;
}

/// Of a key that has to be kept beside the message.
std::size_t key_bytes(const std::optional<std::string_view>& key,
                      std::span<const std::byte> payload) noexcept
{
    return key && !is_part(*key, payload) ? key->size() : 0;
}

} // namespace

SideQueue::~SideQueue()
{
    for (auto& [id, queue] : queues_)
        queue->let_go_of_all();
    order_.clear_and_dispose([](SideEntry* entry) { delete entry; });
}

// --- sidecar side

LinkQueue& SideQueue::open(LinkId link, Overflow overflow)
{
    auto queue = std::make_unique<LinkQueue>(link, std::move(overflow));
    std::lock_guard lock{mutex_};
    return *(queues_[link] = std::move(queue));
}

void SideQueue::close(LinkQueue& queue) noexcept
{
    std::lock_guard lock{mutex_};
    queue.is_closed = true;
    forget_if_done(queue);
}

void SideQueue::forget_if_done(LinkQueue& queue) noexcept
{
    if (queue.is_closed && queue.is_empty() && !queue.untold)
        queues_.erase(queue.link());
}

/// Of a link that comes and goes while nobody looks and nothing arrives, only so much is kept, and then
/// the latest instead of what came just before, or its events would grow without bound.
void SideQueue::forget_superseded(const LinkEvent& event)
{
    constexpr std::size_t most_kept = 64, most_looked_at = 4 * most_kept; // of other links' too
    if (event.kind != Event::Kind::down && event.kind != Event::Kind::retry)
        return;
    std::array<SideEntry*, most_kept> found{}; // of this link, the latest first
    std::size_t count = 0, looked_at = 0;
    for (auto at = order_.rbegin(); at != order_.rend() && looked_at < most_looked_at
                                    && at->position == event.position && count < found.size();
         ++at, ++looked_at) {
        if (at->link != event.link)
            continue;
        if (at->what != What::event)
            break;
        found[count++] = &*at;
    }
    if (count < found.size())
        return;
    // Back to where it went down, or to the attempt that failed, before
    for (auto* entry : found) {
        const auto kind = entry->event->kind;
        if (event.kind == Event::Kind::retry && kind != Event::Kind::retry)
            return;
        remove(*entry);
        pool_.give_back(entry);
        if (kind == event.kind)
            return;
    }
}

void SideQueue::push(LinkEvent event)
{
    std::lock_guard lock{mutex_};
    forget_superseded(event);
    auto* entry = pool_.take_without_payload();
    entry->link = event.link;
    entry->position = event.position;
    entry->connection = event.connection;
    entry->at = event.at;
    entry->event = std::make_unique<LinkEvent>(std::move(event));
    order_.push_back(*entry);
    if (const auto found = queues_.find(entry->link); found != queues_.end()) {
        entry->queue = found->second.get();
        entry->queue->add(*entry);
        if (entry->event->kind == Event::Kind::up)
            entry->queue->connection = entry->connection;
        if (is_seam(entry->event->kind) && entry->queue->keys())
            entry->queue->keys()->clear();
    }
    note_front();
}

SideQueue::Put SideQueue::put(LinkQueue& queue, std::uint64_t position, MessageKind kind,
                              std::span<const std::byte> payload, TimePoint now)
{
    Incoming incoming{kind, payload, std::nullopt, position, now};
    if (queue.keys()) // the user's code, so not under the lock
        incoming.key = queue.overflow().key(MessageView{queue.link(), kind, payload});
    const auto cost = side_entry_cost(payload.size() + key_bytes(incoming.key, payload));
    std::lock_guard lock{mutex_};
    for (;;) {
        auto* same = incoming.key ? queue.keys()->find(*incoming.key) : nullptr;
        const bool has_room = queue.has_room(cost, same);
        if (!has_room && expire(queue, now))
            continue;
        switch (
            decide_overflow(queue.overflow().policy, {.has_room = has_room,
                                                      .has_same_key = same != nullptr,
                                                      .has_older = queue.oldest() != nullptr})) {
        case OverflowAction::append: append(queue, incoming); break;
        case OverflowAction::replace: replace(queue, *same, incoming); break;
        case OverflowAction::lose_oldest:
            lose(queue, *queue.oldest(), GapReason::dropped_oldest);
            continue;
        case OverflowAction::lose_newest: lose_newest(queue, incoming); break;
        case OverflowAction::wait: queue.wants_space = true; return Put::no_room;
        case OverflowAction::fail: return Put::failed;
        }
        // Only now, when what was lost for it is counted too
        counts_.peak_messages = std::max(counts_.peak_messages, counts_.queued());
        counts_.peak_bytes = std::max(counts_.peak_bytes, counts_.queued_bytes());
        note_level(queue);
        note_front();
        return Put::taken;
    }
}

bool SideQueue::want_room(LinkQueue& queue, std::size_t payload_bytes, TimePoint now)
{
    if (queue.overflow().policy != OverflowPolicy::pause_reading)
        return true;
    std::lock_guard lock{mutex_};
    const auto cost = side_entry_cost(payload_bytes);
    if (!queue.has_room(cost) && expire(queue, now)) {
        note_level(queue);
        note_front();
    }
    queue.wants_space = !queue.has_room(cost);
    return !queue.wants_space;
}

SideEntry& SideQueue::make(LinkQueue& queue, const Incoming& incoming)
{
    const auto& [kind, payload, key, position, now] = incoming;
    const auto beside = key_bytes(key, payload);
    auto& entry = *pool_.take(payload.size() + beside);
    entry.what = What::message;
    entry.kind = kind;
    entry.reason = GapReason::none;
    entry.link = queue.link();
    entry.connection = queue.connection;
    entry.queue = &queue;
    entry.position = position;
    entry.missing = 0;
    entry.at = now;
    entry.size = payload.size();
    entry.key = {};
    if (!payload.empty())
        std::memcpy(entry.payload.get(), payload.data(), payload.size());
    if (key && beside == 0)
        entry.key = {entry.view().text().data()
                         + (key->data() - reinterpret_cast<const char*>(payload.data())),
                     key->size()};
    else if (key) {
        std::memcpy(entry.payload.get() + payload.size(), key->data(), key->size());
        entry.key = {entry.view().text().data() + payload.size(), key->size()};
    }
    return entry;
}

/// Of nothing yet.
SideEntry& SideQueue::make_gap(LinkQueue& queue, GapReason reason, std::uint64_t position,
                               TimePoint at)
{
    auto& gap = *pool_.take_without_payload();
    gap.what = What::gap;
    gap.reason = reason;
    gap.link = queue.link();
    gap.connection = queue.connection;
    gap.queue = &queue;
    gap.position = position;
    gap.at = at;
    return gap;
}

void SideQueue::append(LinkQueue& queue, const Incoming& incoming)
{
    auto& entry = make(queue, incoming);
    try {
        if (incoming.key)
            queue.keys()->insert(entry);
    } catch (...) {
        pool_.give_back(&entry);
        throw;
    }
    order_.push_back(entry);
    queue.add(entry);
    note_received(entry.size);
}

void SideQueue::replace(LinkQueue& queue, SideEntry& replaced, const Incoming& incoming)
{
    auto& fresh = make(queue, incoming);
    note_received(incoming.payload.size());
    ++counts_.lost[static_cast<std::size_t>(GapReason::conflated)];
    counts_.lost_bytes += replaced.size;
    queue.keys()->erase(replaced);
    queue.replace(replaced, fresh);
    ++replaced.missing;
    queue.keys()->insert(replaced); // which needs no memory: it was there before
    pool_.give_back(&fresh);
}

/// What it has replaced is missing with it: nothing newer stands for that any more.
void SideQueue::lose(LinkQueue& queue, SideEntry& message, GapReason reason)
{
    if (message.missing != 0) {
        auto& gap = make_gap(queue, GapReason::conflated, message.position, message.at);
        gap.connection = message.connection;
        gap.missing = message.missing;
        order_.insert(Order::s_iterator_to(message), gap);
        queue.add_before(message, gap);
    }
    ++counts_.lost[static_cast<std::size_t>(reason)];
    counts_.lost_bytes += message.size;
    if (queue.keys())
        queue.keys()->erase(message);
    queue.turn_into_gap(message, reason, [this](SideEntry& merged) {
        order_.erase(Order::s_iterator_to(merged));
        pool_.give_back(&merged);
    });
}

void SideQueue::lose_newest(LinkQueue& queue, const Incoming& incoming)
{
    auto* gap = queue.gap_at_end(GapReason::dropped_newest);
    if (!gap) {
        gap = &make_gap(queue, GapReason::dropped_newest, incoming.position, incoming.now);
        order_.push_back(*gap);
        queue.add(*gap);
    }
    ++gap->missing;
    note_received(incoming.payload.size());
    ++counts_.lost[static_cast<std::size_t>(GapReason::dropped_newest)];
    counts_.lost_bytes += incoming.payload.size();
}

/// True if something was too old.
bool SideQueue::expire(LinkQueue& queue, TimePoint now)
{
    bool has_expired = false;
    while (queue.oldest() && queue.is_expired(*queue.oldest(), now)) {
        lose(queue, *queue.oldest(), GapReason::too_old);
        has_expired = true;
    }
    return has_expired;
}

void SideQueue::note_received(std::size_t bytes) noexcept
{
    ++counts_.received;
    counts_.received_bytes += bytes;
}

/// The event comes before all that waits: who is behind should know at once. One that was not told
/// yet and does not hold any more is taken back.
void SideQueue::note_level(LinkQueue& queue)
{
    const auto change = queue.update_level();
    if (change == WaterLevel::Change::none)
        return;
    if (auto* untold = std::exchange(queue.untold, nullptr)) {
        order_.erase(Order::s_iterator_to(*untold));
        pool_.give_back(untold);
        return;
    }
    auto* entry = pool_.take_without_payload();
    entry->link = queue.link();
    entry->queue = &queue;
    entry->at = clock_.now();
    entry->event = std::make_unique<LinkEvent>(LinkEvent{
        .position = 0,
        .kind =
            change == WaterLevel::Change::rose ? Event::Kind::high_water : Event::Kind::low_water,
        .link = queue.link(),
        .failure = std::nullopt,
        .connection = queue.connection,
        .at = entry->at,
    });
    order_.push_front(*entry);
    queue.untold = entry;
}

void SideQueue::remove(SideEntry& entry) noexcept
{
    order_.erase(Order::s_iterator_to(entry));
    auto* queue = std::exchange(entry.queue, nullptr);
    if (!queue)
        return;
    if (queue->untold == &entry) {
        queue->untold = nullptr;
        return;
    }
    if (queue->keys())
        queue->keys()->erase(entry);
    queue->remove(entry);
}

void SideQueue::note_front() noexcept
{
    next_position_.store(order_.empty() ? none : order_.front().position,
                         std::memory_order_seq_cst);
}

} // namespace sidecar::detail
