#include "queue/link_queue.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

namespace sidecar::detail {
namespace {

/// The overhead of the system's allocator for each allocation.
constexpr std::size_t allocation_bytes = 16;

/// Whether no later message may replace one from before such an event: that one is of another
/// connection, or messages are missing in between.
constexpr bool is_seam(Event::Kind kind) noexcept
{
    return kind == Event::Kind::up || kind == Event::Kind::down || kind == Event::Kind::gap;
}

/// The state of a link after some of its events.
struct LinkPhase {
    bool is_up = false, is_ready = false, is_stale = false;
    bool operator==(const LinkPhase&) const = default;

    /// Returns the state before an event of this kind.
    static LinkPhase before(Event::Kind kind) noexcept
    {
        return {kind != Event::Kind::up && kind != Event::Kind::retry, kind != Event::Kind::ready,
                kind == Event::Kind::fresh};
    }
    void follow(Event::Kind kind) noexcept
    {
        switch (kind) {
        case Event::Kind::up: *this = {.is_up = true}; break;
        case Event::Kind::down:
        case Event::Kind::retry: *this = {}; break;
        case Event::Kind::ready: is_ready = true; break;
        case Event::Kind::stale: is_stale = true; break;
        case Event::Kind::fresh: is_stale = false; break;
        default: break;
        }
    }
};

} // namespace

std::size_t entry_cost(std::size_t payload_bytes, std::size_t key_bytes) noexcept
{
    constexpr auto node = sizeof(LinkQueue::Entry) + 2 * sizeof(void*) + allocation_bytes;
    constexpr auto order = sizeof(LinkQueue::At) + 2 * sizeof(void*) + allocation_bytes;
    constexpr auto key = sizeof(LinkQueue::Keys::value_type) + 3 * sizeof(void*) + allocation_bytes;
    return node + order
           + (payload_bytes > Message::inline_bytes ? payload_bytes + allocation_bytes : 0)
           + (key_bytes != 0 ? key + key_bytes : 0);
}

// --- cost of the messages

bool LinkQueue::has_room(std::size_t cost, At replaced) const noexcept
{
    const bool replaces = replaced != entries_.end();
    const auto others = by_arrival_.size() - (replaces ? 1 : 0);
    if (others == 0)
        return true; // a lone message always fits
    const auto other_bytes = used_bytes_ - (replaces ? replaced->cost : 0);
    return others < overflow_->queue_messages && other_bytes + cost <= overflow_->queue_bytes
           && entries_.size() - by_arrival_.size() <= max_events;
}

bool LinkQueue::is_half_free() const noexcept
{
    return by_arrival_.size() <= overflow_->queue_messages / 2
           && used_bytes_ <= overflow_->queue_bytes / 2
           && entries_.size() - by_arrival_.size() <= max_events;
}

// --- messages that arrive

std::optional<std::string_view> LinkQueue::key_of(const MessageView& message) const
{
    if (overflow_->key)
        return overflow_->key(message);
    const bool has_key = overflow_->policy == OverflowPolicy::conflate && !message.topic().empty();
    return has_key ? std::optional{message.topic()} : std::nullopt;
}

LinkQueue::At LinkQueue::find(const std::optional<std::string_view>& key)
{
    const auto found = key ? keys_.find(*key) : keys_.end();
    return found == keys_.end() ? entries_.end() : found->second;
}

LinkQueue::PutOutcome LinkQueue::put(const Incoming& incoming)
{
    const auto cost = entry_cost(incoming.stored.size(), incoming.key ? incoming.key->size() : 0);
    if (!has_room(cost, find(incoming.key)))
        expire(incoming.now);
    if (!has_room(cost, find(incoming.key))) {
        switch (overflow_->policy) {
        case OverflowPolicy::pause_reading: wants_room_ = true; return PutOutcome::no_room;
        case OverflowPolicy::fail: return PutOutcome::failed;
        case OverflowPolicy::drop_newest: lose_newest(incoming); return PutOutcome::taken;
        default: break; // the oldest ones go
        }
    }
    const auto same = find(incoming.key);
    if (same != entries_.end() && has_room(cost, same)) {
        replace(same, make(incoming), cost);
    } else {
        auto fresh = make_fresh(incoming); // first: if it throws, nothing is lost
        auto replaced = same;
        for (; !has_room(cost, replaced); replaced = find(incoming.key))
            lose(by_arrival_.front(), GapReason::dropped_oldest);
        if (replaced != entries_.end())
            replace(replaced, std::get<Message>(std::move(fresh.entry.front().content)), cost);
        else
            append(std::move(fresh));
    }
    count_received(incoming);
    update_peaks(); // after the messages dropped for it are counted
    return PutOutcome::taken;
}

bool LinkQueue::want_room(std::size_t payload_bytes, TimePoint now)
{
    if (overflow_->policy != OverflowPolicy::pause_reading)
        return true;
    const auto cost = entry_cost(payload_bytes);
    if (!has_room(cost, entries_.end()))
        expire(now);
    if (has_room(cost, entries_.end()))
        return true;
    wants_room_ = true; // never reset here: an earlier caller may want more
    return false;
}

Message LinkQueue::make(const Incoming& incoming) const
{
    return Message{MessageView{link_, incoming.kind, incoming.stored, connection_, incoming.now}};
}

LinkQueue::Fresh LinkQueue::make_fresh(const Incoming& incoming)
{
    Fresh fresh;
    auto& entry = fresh.entry.emplace_back();
    entry.place = incoming.place;
    entry.content = make(incoming);
    entry.cost = entry_cost(incoming.stored.size(), incoming.key ? incoming.key->size() : 0);
    entry.arrival = fresh.by_arrival.insert(fresh.by_arrival.end(), fresh.entry.begin());
    if (incoming.key) {
        keys_.reserve(keys_.size() + 1);
        const auto at = fresh.key.emplace(*incoming.key, fresh.entry.begin()).first;
        entry.key = &at->first;
    }
    return fresh;
}

void LinkQueue::append(Fresh fresh) noexcept
{
    const auto& entry = fresh.entry.front();
    payload_bytes_ += stored_bytes(std::get<Message>(entry.content));
    used_bytes_ += entry.cost;
    by_arrival_.splice(by_arrival_.end(), fresh.by_arrival);
    if (entry.key)
        keys_.insert(fresh.key.extract(fresh.key.begin()));
    add_entry(fresh.entry);
}

/// The message keeps the place of the replaced one, with its own arrival. At the end, a key that
/// changes all the time would be pushed back for ever.
void LinkQueue::replace(At at, Message message, std::size_t cost) noexcept
{
    ++counts_.lost[static_cast<std::size_t>(GapReason::conflated)];
    counts_.lost_bytes += stored_bytes(message_of(at));
    payload_bytes_ -= stored_bytes(message_of(at));
    used_bytes_ -= at->cost;
    message.replaced_ = message_of(at).replaced() + 1;
    at->content = std::move(message);
    payload_bytes_ += stored_bytes(message_of(at));
    used_bytes_ += at->cost = cost;
    by_arrival_.splice(by_arrival_.end(), by_arrival_, at->arrival);
}

// --- messages that are lost

void LinkQueue::Missing::put_before(const Missing& earlier) noexcept
{
    if (earlier.total == 0)
        return;
    for (std::size_t i = 0; i < count.size(); ++i)
        count[i] += earlier.count[i];
    total += earlier.total;
    at = earlier.at;
    connection = earlier.connection;
}

void LinkQueue::lose_newest(const Incoming& incoming)
{
    if (entries_.empty() || !std::holds_alternative<std::monostate>(entries_.back().content)) {
        Entries end(1);
        end.front().place = incoming.place;
        end.front().missing.at = incoming.now;
        end.front().missing.connection = connection_;
        add_entry(end);
    }
    entries_.back().missing.add(GapReason::dropped_newest, 1);
    count_received(incoming);
    ++counts_.lost[static_cast<std::size_t>(GapReason::dropped_newest)];
    counts_.lost_bytes += incoming.stored.size();
    update_peaks();
}

/// Counts the message as missing before the next entry, or at the end. Messages that it replaced
/// are missing too, since nothing newer replaces them now.
void LinkQueue::lose(At at, GapReason reason) noexcept
{
    const auto& message = message_of(at);
    Missing missing{.at = message.arrival(), .connection = message.connection()};
    missing.add(GapReason::conflated, message.replaced());
    missing.add(reason, 1);
    missing.put_before(at->missing);
    ++counts_.lost[static_cast<std::size_t>(reason)];
    counts_.lost_bytes += stored_bytes(message);
    forget_message(at);
    const auto next = std::next(at);
    if (next == entries_.end()) {
        at->content = std::monostate{};
        at->missing = missing;
        trim_run(at);
    } else {
        next->missing.put_before(missing);
        entries_.erase(at);
        trim_run(next);
    }
}

void LinkQueue::expire(TimePoint now) noexcept
{
    if (!overflow_ || overflow_->max_age == Duration{})
        return;
    while (!by_arrival_.empty()
           && now - message_of(by_arrival_.front()).arrival() > overflow_->max_age)
        lose(by_arrival_.front(), GapReason::too_old);
}

/// Removes the message from all counts and indexes; its entry stays.
void LinkQueue::forget_message(At at) noexcept
{
    payload_bytes_ -= stored_bytes(message_of(at));
    used_bytes_ -= at->cost;
    by_arrival_.erase(at->arrival);
    if (at->key)
        keys_.erase(keys_.find(*std::exchange(at->key, nullptr)));
}

// --- events

void LinkQueue::push(Place place, std::unique_ptr<Event> event)
{
    const auto kind = event->kind;
    const auto connection = event->connection;
    if (kind == Event::Kind::writable && has_writable_)
        return;
    Entries entry(1);
    entry.front().place = place;
    entry.front().content = std::move(event);
    has_writable_ = has_writable_ || kind == Event::Kind::writable;
    add_entry(entry);
    trim_run(std::prev(entries_.end()));
    if (kind == Event::Kind::up)
        connection_ = connection;
    if (is_seam(kind))
        forget_keys();
}

bool LinkQueue::forget_client(std::uint64_t position) noexcept
{
    const auto is_event_here = [position](const Entry& entry) {
        return entry.place.position == position && entry.missing.total == 0
               && std::holds_alternative<std::unique_ptr<Event>>(entry.content);
    };
    if (level_event_ || entries_.empty()
        || !std::all_of(entries_.begin(), entries_.end(), is_event_here))
        return false;
    const auto& first = *std::get<std::unique_ptr<Event>>(entries_.front().content);
    if (first.kind != Event::Kind::up || !first.client)
        return false;
    entries_.clear();
    has_writable_ = false;
    return true;
}

/// Whether losses at the end of the queue are at this place too.
bool LinkQueue::ends_in_losses_at(Place place) const noexcept
{
    return !entries_.empty() && std::holds_alternative<std::monostate>(entries_.back().content)
           && (overflow_ || entries_.back().place.position == place.position);
}

void LinkQueue::miss(Place place, std::uint64_t messages, TimePoint now)
{
    const bool is_full = entries_.size() - by_arrival_.size() >= max_events && !entries_.empty()
                         && entries_.back().missing.total != 0;
    if (!ends_in_losses_at(place) && !is_full) { // a full queue counts it a little too early
        Entries end(1);
        end.front().place = place;
        end.front().missing.at = now;
        end.front().missing.connection = connection_;
        entries_.splice(entries_.end(), end);
    }
    entries_.back().missing.add(GapReason::not_delivered, messages);
    forget_keys();
}

void LinkQueue::forget_keys() noexcept
{
    for (auto& [key, at] : keys_)
        at->key = nullptr;
    keys_.clear();
}

/// Appends an entry. Losses at the end are then missing before it.
void LinkQueue::add_entry(Entries& entry) noexcept
{
    if (ends_in_losses_at(entry.front().place)) {
        entry.front().missing.put_before(entries_.back().missing);
        entries_.pop_back();
    }
    entries_.splice(entries_.end(), entry);
}

/// Whether no message is between these neighbours. Without a policy the link's messages are in the
/// ring, so the neighbours must be at the same position.
bool LinkQueue::is_same_run(const Entry& a, const Entry& b) const noexcept
{
    return !is_message(a) && !is_message(b) && (overflow_ || a.place.position == b.place.position);
}

/// Shortens a row of events that is too long: forgets a part between two moments at which the link
/// was in the same state. The latest events stay: messages behind them belong to the latest
/// connection. `writable` stays: the application may wait for it.
void LinkQueue::trim_run(At at) noexcept
{
    if (is_message(*at) && (at == entries_.begin() || is_message(*--at)))
        return;
    auto end = std::next(at);
    while (end != entries_.end() && is_same_run(*std::prev(end), *end))
        ++end;
    std::array<At, 2 * max_run + 2> run; // two rows at most, joined by a message that was lost
    std::size_t begin = run.size();
    for (at = end; begin != 0 && at != entries_.begin();) {
        --at;
        if (begin != run.size() && !is_same_run(*at, *run[begin]))
            break;
        run[--begin] = at;
    }
    if (run.size() - begin <= max_run)
        return;
    const auto last = run.size() - max_run / 2; // entries from here on stay
    std::array<LinkPhase, run.size()> phases;   // before each entry
    const auto event_at = [&](std::size_t i) {
        return std::get_if<std::unique_ptr<Event>>(&run[i]->content);
    };
    if (const auto* event = event_at(begin))
        phases[begin] = LinkPhase::before((*event)->kind);
    for (auto i = begin; i < last; ++i) {
        phases[i + 1] = phases[i];
        if (const auto* event = event_at(i))
            phases[i + 1].follow((*event)->kind);
    }
    // The application may know of a `stale` before the row; the next event about data tells
    auto known = begin;
    for (auto i = begin; i < last; ++i) {
        const auto* event = event_at(i);
        const auto kind = event ? (*event)->kind : Event::Kind::message;
        if (kind == Event::Kind::stale || kind == Event::Kind::fresh) {
            for (; known <= i; ++known)
                phases[known].is_stale = kind == Event::Kind::fresh;
            known = begin;
            break;
        }
        if (kind == Event::Kind::up || kind == Event::Kind::down || kind == Event::Kind::retry) {
            known = i + 1;
            break;
        }
    }
    for (auto first = known; first < last; ++first) {
        auto same = last;
        while (!(phases[same] == phases[first]))
            --same;
        if (same == first || (same == first + 1 && is_writable(*run[first])))
            continue;
        Missing missing;
        for (auto i = same; i-- != first;) {
            missing.put_before(std::exchange(run[i]->missing, {}));
            if (!is_writable(*run[i]))
                entries_.erase(run[i]);
        }
        run[same]->missing.put_before(missing);
        return;
    }
}

void LinkQueue::update_level(std::uint64_t sequence, TimePoint now) noexcept
{
    const auto change = level_.update(by_arrival_.size(), payload_bytes_);
    if (change == WaterLevel::Change::none)
        return;
    if (level_event_) // not taken yet, and no longer true
        level_event_.reset();
    else
        level_event_ = {sequence,
                        change == WaterLevel::Change::rose ? Event::Kind::high_water
                                                           : Event::Kind::low_water,
                        now};
}

// --- taking

bool LinkQueue::front_ends_call() const noexcept
{
    if (level_event_)
        return false;
    const auto& front = entries_.front();
    const auto* event = std::get_if<std::unique_ptr<Event>>(&front.content);
    return front.missing.total != 0 || (event && ends_call(**event));
}

Event LinkQueue::take()
{
    Event event{.link = link_};
    if (level_event_) {
        event.kind = level_event_->kind;
        event.connection = connection_;
        event.at = level_event_->at;
        level_event_.reset();
        return event;
    }
    auto& front = entries_.front();
    if (auto& missing = front.missing; missing.total != 0) {
        const auto reason = std::find_if(missing.count.begin(), missing.count.end(),
                                         [](auto messages) { return messages != 0; });
        event.kind = Event::Kind::gap;
        event.gap_reason = static_cast<GapReason>(reason - missing.count.begin());
        event.missing = std::exchange(*reason, 0);
        event.connection = missing.connection;
        event.at = missing.at;
        missing.total -= event.missing;
        if (missing.total == 0 && std::holds_alternative<std::monostate>(front.content))
            entries_.pop_front();
        return event;
    }
    if (auto* its_event = std::get_if<std::unique_ptr<Event>>(&front.content)) {
        has_writable_ = has_writable_ && !is_writable(front);
        event = std::move(**its_event);
    } else {
        forget_message(entries_.begin());
        event.kind = Event::Kind::message;
        event.message = std::get<Message>(std::move(front.content));
        event.connection = event.message.connection();
        event.at = event.message.arrival();
        ++counts_.taken;
        counts_.taken_bytes += stored_bytes(event.message);
    }
    entries_.pop_front();
    return event;
}

void LinkQueue::count_received(const Incoming& incoming) noexcept
{
    ++counts_.received;
    counts_.received_bytes += incoming.stored.size();
}

void LinkQueue::update_peaks() noexcept
{
    counts_.peak_messages = std::max(counts_.peak_messages, counts_.queued());
    counts_.peak_bytes = std::max(counts_.peak_bytes, counts_.queued_bytes());
}

} // namespace sidecar::detail
