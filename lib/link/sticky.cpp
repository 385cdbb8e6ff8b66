#include "link/sticky.hpp"

#include <algorithm>
#include <utility>

namespace sidecar::detail {
namespace {

bool recognises(const StickyMessage& message, const MessageView& answer) noexcept
{
    try {
        return message.is_answer(answer);
    } catch (...) {
        return false;
    }
}

} // namespace

// --- with the mutex held

void Sticky::push(const std::string& key, SharedMessage message, bool takes_back,
                  std::uint64_t position)
{
    waiting_.push_back({{key, std::move(message), takes_back}, position});
    note_change();
}

Sticky::Waiting* Sticky::find_waiting(std::string_view key, bool takes_back)
{
    const auto at = std::find_if(waiting_.begin(), waiting_.end(), [&](const Waiting& waiting) {
        return waiting.write.takes_back == takes_back && waiting.write.key == key;
    });
    return at == waiting_.end() ? nullptr : &*at;
}

/// What was not written yet is not written at all. False: it was, or there is nothing.
bool Sticky::withdraw(std::string_view key, bool takes_back)
{
    auto* const found = find_waiting(key, takes_back);
    if (found)
        waiting_.erase(waiting_.begin() + (found - waiting_.data()));
    note_change();
    return found != nullptr;
}

void Sticky::erase(Entries::iterator at)
{
    entries_.erase(at);
    note_change();
}

void Sticky::confirm(Entry& entry) noexcept
{
    entry.state = StickyState::confirmed;
    entry.is_awaited = false;
    note_change();
}

/// A key that is there already.
bool Sticky::restick(const std::string& key, Entry& entry, StickyMessage message,
                     std::uint64_t position)
{
    const bool was_told = entry.removal && !withdraw(key, true); // so the peer is told anew
    if (std::exchange(entry.removal, nullptr) && !was_told)
        entry.state = entry.state_before;
    auto* const waiting = find_waiting(key, false);
    const bool stands =
        !has_connection_ || waiting || (!was_told && entry.state != StickyState::waiting);
    if (stands && entry.message->says_the_same(message))
        return false;
    entry.message = std::make_shared<const StickyMessage>(std::move(message));
    entry.state = StickyState::waiting;
    entry.unwritten = ++calls_;
    note_change();
    if (waiting)
        waiting->write.message = entry.message;
    else if (has_connection_)
        push(key, entry.message, false, position);
    return has_connection_;
}

// --- app side

bool Sticky::stick(std::string key, StickyMessage message, std::uint64_t position)
{
    std::lock_guard lock{mutex_};
    const auto [at, is_new] = entries_.try_emplace(std::move(key));
    if (!is_new)
        return restick(at->first, at->second, std::move(message), position);
    at->second.message = std::make_shared<const StickyMessage>(std::move(message));
    at->second.order = next_order_++;
    at->second.unwritten = ++calls_;
    if (has_connection_)
        push(at->first, at->second.message, false, position);
    return has_connection_;
}

Sticky::Removal Sticky::unstick(std::string_view key, StickyMessage message, std::uint64_t position)
{
    std::lock_guard lock{mutex_};
    const auto at = entries_.find(key);
    if (at == entries_.end() || at->second.removal)
        return {};
    auto& entry = at->second;
    withdraw(key, false);
    if (!has_connection_ || !entry.was_sent || message.payload.empty()) {
        erase(at);
        return {true, true};
    }
    entry.removal = std::make_shared<const StickyMessage>(std::move(message));
    entry.unwritten_removal = ++calls_;
    entry.state_before = std::exchange(entry.state, StickyState::removal_pending);
    entry.is_awaited = false;
    push(at->first, entry.removal, true, position);
    return {true, true};
}

// --- both

std::optional<StickyState> Sticky::state(std::string_view key) const
{
    std::lock_guard lock{mutex_};
    const auto at = entries_.find(key);
    return at == entries_.end() ? std::nullopt : std::optional{at->second.state};
}

StickyCounts Sticky::counts() const
{
    std::lock_guard lock{mutex_};
    StickyCounts counts;
    for (const auto& [key, entry] : entries_) {
        switch (entry.state) {
        case StickyState::waiting: ++counts.waiting; break;
        case StickyState::pending: ++counts.pending; break;
        case StickyState::confirmed: ++counts.confirmed; break;
        case StickyState::removal_pending: ++counts.removal_pending; break;
        }
    }
    return counts;
}

std::uint64_t Sticky::last_unwritten() const
{
    std::lock_guard lock{mutex_};
    std::uint64_t last = 0;
    for (const auto& [key, entry] : entries_)
        last = std::max({last, entry.unwritten, entry.removal ? entry.unwritten_removal : 0});
    return last;
}

bool Sticky::is_unwritten(std::uint64_t until) const
{
    const auto is_due = [until](std::uint64_t number) { return number != 0 && number <= until; };
    if (until == 0)
        return false;
    std::lock_guard lock{mutex_};
    return std::any_of(entries_.begin(), entries_.end(), [&](const auto& pair) {
        const auto& entry = pair.second;
        return is_due(entry.unwritten) || (entry.removal && is_due(entry.unwritten_removal));
    });
}

// --- sidecar side

bool Sticky::begin_connection()
{
    std::lock_guard lock{mutex_};
    has_connection_ = true;
    std::vector<std::pair<std::uint64_t, const Entries::value_type*>> ordered;
    for (auto& pair : entries_) {
        pair.second.is_awaited = true;
        ordered.emplace_back(pair.second.order, &pair);
    }
    std::sort(ordered.begin(), ordered.end());
    for (const auto& [order, pair] : ordered)
        push(pair->first, pair->second.message, false, 0);
    return !ordered.empty();
}

void Sticky::end_connection()
{
    std::lock_guard lock{mutex_};
    has_connection_ = false;
    waiting_.clear();
    note_change();
    std::erase_if(entries_, [](const auto& pair) { return pair.second.removal != nullptr; });
    for (auto& [key, entry] : entries_) {
        entry.state = StickyState::waiting;
        entry.was_sent = entry.is_awaited = false;
    }
}

std::vector<Sticky::Write> Sticky::take(std::uint64_t position)
{
    std::lock_guard lock{mutex_};
    std::vector<Write> writes;
    auto at = waiting_.begin();
    for (; at != waiting_.end() && at->position <= position; ++at) {
        // From now on, for an answer may be read before the end of the write is seen.
        const auto entry = entries_.find(at->write.key);
        if (!at->write.takes_back && entry != entries_.end()) {
            entry->second.was_sent = true;
            entry->second.state = StickyState::pending;
        }
        writes.push_back(std::move(at->write));
    }
    waiting_.erase(waiting_.begin(), at);
    note_change();
    return writes;
}

std::uint64_t Sticky::limit() const
{
    std::lock_guard lock{mutex_};
    return waiting_.empty() ? UINT64_MAX : waiting_.front().position;
}

void Sticky::written(const std::vector<Write>& writes)
{
    std::lock_guard lock{mutex_};
    for (const auto& write : writes) {
        const auto at = entries_.find(write.key);
        if (at == entries_.end())
            continue;
        auto& entry = at->second;
        if (write.message == (write.takes_back ? entry.removal : entry.message))
            (write.takes_back ? entry.unwritten_removal : entry.unwritten) = 0;
        if (write.message->is_answer)
            continue; // which says so
        if (write.takes_back && entry.removal == write.message)
            erase(at);
        else if (!write.takes_back && entry.message == write.message && !entry.removal
                 && entry.state == StickyState::pending)
            confirm(entry);
    }
}

/// In the order in which they were given.
std::vector<Sticky::Write> Sticky::find_expected() const
{
    std::vector<std::pair<std::uint64_t, Write>> found;
    for (const auto& [key, entry] : entries_) {
        if (entry.state == StickyState::pending && entry.message->is_answer)
            found.emplace_back(entry.order, Write{key, entry.message, false});
        else if (entry.removal && entry.removal->is_answer)
            found.emplace_back(entry.order, Write{key, entry.removal, true});
    }
    std::sort(found.begin(), found.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<Write> expected;
    for (auto& [order, write] : found)
        expected.push_back(std::move(write));
    return expected;
}

std::shared_ptr<const std::vector<Sticky::Write>> Sticky::expected()
{
    std::lock_guard lock{mutex_};
    if (!expected_)
        expected_ = std::make_shared<const std::vector<Write>>(find_expected());
    return expected_;
}

bool Sticky::expects_answers() { return !expected()->empty(); }

bool Sticky::offer(const MessageView& message)
{
    const auto candidates = expected(); // kept, for the mutex is not held meanwhile
    const auto answered =
        std::find_if(candidates->begin(), candidates->end(),
                     [&](const Write& write) { return recognises(*write.message, message); });
    if (answered == candidates->end())
        return false;
    std::lock_guard lock{mutex_};
    const auto at = entries_.find(answered->key);
    if (at == entries_.end())
        return false;
    auto& entry = at->second;
    if (answered->takes_back && entry.removal == answered->message)
        erase(at);
    else if (!answered->takes_back && entry.message == answered->message && !entry.removal)
        confirm(entry);
    else
        return false; // too late: it is not wanted any more
    return true;
}

std::vector<std::string> Sticky::unconfirmed() const
{
    std::lock_guard lock{mutex_};
    std::vector<std::string> keys;
    for (const auto& [key, entry] : entries_)
        if (entry.is_awaited)
            keys.push_back(key);
    return keys;
}

bool Sticky::is_restored() const
{
    std::lock_guard lock{mutex_};
    return std::none_of(entries_.begin(), entries_.end(),
                        [](const auto& pair) { return pair.second.is_awaited; });
}

void Sticky::stop_waiting()
{
    std::lock_guard lock{mutex_};
    for (auto& [key, entry] : entries_)
        entry.is_awaited = false;
}

} // namespace sidecar::detail
