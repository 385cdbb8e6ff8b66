#include "queue/client_queue.hpp"

#include <algorithm>
#include <utility>

namespace sidecar::detail {

bool ClientQueue::has_room(std::size_t payload_bytes) const noexcept
{
    const auto used = counts_.queued_bytes + (counts_.queued + 1) * entry_bytes;
    return counts_.queued == 0
           || (counts_.queued < limits_.messages && used + payload_bytes <= limits_.bytes);
}

/// Takes an entry out of the counts of what is queued.
void ClientQueue::leave(const Entry& entry) noexcept
{
    if (!entry.is_counted)
        return;
    --counts_.queued;
    counts_.queued_bytes -= entry.item.message->size();
}

// --- pushing

ClientQueue::Push ClientQueue::push(Item item, std::optional<std::string_view> key)
{
    const auto bytes = item.message->size();
    if (key && conflate(item, *key))
        return Push::queued;
    if (!has_room(bytes) && !make_room(bytes))
        return Push::full;
    Entry entry{.item = std::move(item), .number = next_};
    if (key)
        entry.key.emplace(*key);
    waiting_.push_back(std::move(entry));
    if (key)
        by_key_[*waiting_.back().key] = next_;
    ++next_;
    has_grown_ = has_grown_ || waiting_.size() > max_batch;
    full_since_.reset();
    ++counts_.accepted;
    ++counts_.queued;
    counts_.queued_bytes += bytes;
    counts_.peak_messages = std::max(counts_.peak_messages, counts_.queued);
    counts_.peak_bytes = std::max(counts_.peak_bytes, counts_.queued_bytes);
    return Push::queued;
}

/// Replaces the message of this key that waits, if there is one and there is space.
bool ClientQueue::conflate(Item& item, std::string_view key)
{
    const auto found = by_key_.find(std::string{key});
    if (found == by_key_.end())
        return false;
    const auto at = std::lower_bound(
        waiting_.begin(), waiting_.end(), found->second,
        [](const Entry& entry, std::uint64_t number) { return entry.number < number; });
    const auto bytes = item.message->size();
    const auto old_bytes = at->item.message->size();
    const auto used = counts_.queued_bytes - old_bytes + counts_.queued * entry_bytes;
    if (used + bytes > limits_.bytes && counts_.queued > 1) {
        // It no longer fits at its place: it goes to the end, where room can be made
        leave(*at);
        at->item.message.reset();
        by_key_.erase(found);
        ++counts_.conflated;
        return false;
    }
    at->item = std::move(item);
    counts_.queued_bytes += bytes - old_bytes;
    counts_.peak_bytes = std::max(counts_.peak_bytes, counts_.queued_bytes);
    ++counts_.accepted;
    ++counts_.conflated;
    full_since_.reset();
    return true;
}

/// Drops the oldest that wait. Returns false if the policy drops none, or if what is being written
/// fills the queue.
bool ClientQueue::make_room(std::size_t payload_bytes)
{
    if (overflow_.policy != OverflowPolicy::drop_oldest
        && overflow_.policy != OverflowPolicy::conflate)
        return false;
    std::uint64_t missing = 0;
    while (!has_room(payload_bytes) && !waiting_.empty()) {
        auto& front = waiting_.front();
        if (front.item.message) {
            leave(front);
            forget_key(front);
            ++counts_.dropped;
            ++missing;
        }
        missing += front.missing;
        waiting_.pop_front();
    }
    if (missing != 0 && overflow_.on_gap)
        waiting_.push_front({.item = {},
                             .number = waiting_.empty() ? next_++ : waiting_.front().number - 1,
                             .missing = missing});
    return has_room(payload_bytes);
}

void ClientQueue::drop_newest()
{
    ++counts_.accepted;
    ++counts_.dropped;
    if (!overflow_.on_gap)
        return;
    if (waiting_.empty() || waiting_.back().missing == 0)
        waiting_.push_back({.item = {}, .number = next_++});
    ++waiting_.back().missing;
}

bool ClientQueue::is_too_slow(TimePoint now)
{
    full_since_ = full_since_.value_or(now);
    return overflow_.policy == OverflowPolicy::fail && now - *full_since_ >= overflow_.fail_after;
}

void ClientQueue::forget_key(const Entry& entry) noexcept
{
    if (entry.key)
        by_key_.erase(*entry.key);
}

// --- writing

std::uint64_t ClientQueue::take_gap() noexcept
{
    if (waiting_.empty() || waiting_.front().missing == 0)
        return 0;
    const auto missing = waiting_.front().missing;
    waiting_.pop_front();
    return missing;
}

/// The first that waits, or the next one, has a number above those being written by at least two: a
/// dropped message or a gap had it.
void ClientQueue::push_front(std::shared_ptr<SharedMessage> message)
{
    const auto number = waiting_.empty() ? next_++ : waiting_.front().number - 1;
    waiting_.push_front({.item = {std::move(message)},
                         .number = number,
                         .missing = 0,
                         .key = {},
                         .is_counted = false});
}

ClientQueue::Taken ClientQueue::take(std::uint32_t connection, TimePoint now)
{
    Taken taken;
    std::size_t bytes = 0;
    next_read_ = 0;
    while (!waiting_.empty() && writing_.size() < max_batch && bytes < max_batch_bytes) {
        auto& front = waiting_.front();
        if (front.missing != 0)
            break;
        const auto& item = front.item;
        forget_key(front);
        const bool is_late = item.deadline <= now;
        if (item.message && (is_late || (item.connection != 0 && item.connection != connection))) {
            leave(front);
            ++(is_late ? counts_.late : counts_.lost);
            auto& first = is_late ? taken.first_late : taken.first_lost;
            first = std::min(first, front.number);
        } else if (item.message) {
            bytes += item.message->size();
            writing_.push_back(std::move(front));
        }
        waiting_.pop_front();
    }
    taken.is_any = !writing_.empty();
    if (waiting_.empty() && std::exchange(has_grown_, false))
        waiting_ = {};
    return taken;
}

void ClientQueue::put_back(std::uint64_t from)
{
    next_read_ = 0;
    for (; !writing_.empty() && writing_.back().number >= from; writing_.pop_back()) {
        auto& back = writing_.back();
        if (back.key && by_key_.contains(*back.key)) { // a newer one waits
            leave(back);
            ++counts_.conflated;
            continue;
        }
        if (back.key)
            by_key_[*back.key] = back.number;
        waiting_.push_front(std::move(back));
    }
}

void ClientQueue::written(std::size_t count)
{
    const auto end =
        writing_.begin() + static_cast<std::ptrdiff_t>(std::min(count, writing_.size()));
    for (auto at = writing_.begin(); at != end; ++at) {
        leave(*at);
        if (!at->is_counted)
            continue;
        ++counts_.sent;
        counts_.sent_bytes += at->item.message->size();
    }
    writing_.erase(writing_.begin(), end);
    next_read_ = 0;
    if (writing_.capacity() > max_batch / 4 && writing_.empty())
        writing_ = {};
}

std::uint64_t ClientQueue::lose(const Entry& entry) noexcept
{
    if (!entry.item.message || !entry.is_counted)
        return no_position;
    leave(entry);
    ++counts_.lost;
    return entry.number;
}

std::uint64_t ClientQueue::lose_writing(std::size_t count)
{
    const auto end =
        writing_.begin() + static_cast<std::ptrdiff_t>(std::min(count, writing_.size()));
    auto first = no_position;
    for (auto at = writing_.begin(); at != end; ++at)
        first = std::min(first, lose(*at));
    writing_.erase(writing_.begin(), end);
    next_read_ = 0;
    return first;
}

std::uint64_t ClientQueue::lose_waiting()
{
    auto first = no_position;
    for (const auto& entry : waiting_)
        first = std::min(first, lose(entry));
    waiting_ = {};
    by_key_ = {};
    return first;
}

SharedMessage& ClientQueue::read(std::uint64_t& position) const
{
    const auto is_before = [](const Entry& entry, std::uint64_t number) {
        return entry.number < number;
    };
    const auto is_first_from = [&](std::size_t at) {
        return at < writing_.size() && writing_[at].number >= position
               && (at == 0 || writing_[at - 1].number < position);
    };
    if (next_read_ != 0 && is_first_from(next_read_ - 1)) // the same once more
        --next_read_;
    else if (!is_first_from(next_read_))
        next_read_ = static_cast<std::size_t>(
            std::lower_bound(writing_.begin(), writing_.end(), position, is_before)
            - writing_.begin());
    const auto& entry = writing_[next_read_++];
    position = entry.number + 1;
    return *entry.item.message;
}

bool ClientQueue::is_past(std::uint64_t position) const noexcept
{
    if (!writing_.empty())
        return writing_.front().number >= position;
    return waiting_.empty() || waiting_.front().number >= position;
}

} // namespace sidecar::detail
