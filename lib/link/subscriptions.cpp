#include "link/subscriptions.hpp"

#include <algorithm>
#include <utility>

namespace sidecar::detail {
namespace {

bool recognises(const SubscriptionMessage& message, const MessageView& answer) noexcept
{
    try {
        return message.is_answer(answer);
    } catch (...) {
        return false;
    }
}

} // namespace

// --- with the mutex held

/// Returns the message's number in the outbox.
std::uint64_t Subscriptions::push(const std::string& key, const SubscriptionMessage& message,
                                  bool is_removal, bool keeps_place)
{
    expected_.reset();
    return outbox_.push_priority(
        {.message = Message{MessageView{{}, message.kind, message.bytes()}},
         .origin = PriorityMessage::Origin::subscription,
         .on_step =
             [this, key, is_removal](std::uint64_t number, PriorityMessage::Step step) {
                 record_step(key, is_removal, number, step);
             }},
        keeps_place);
}

/// Returns whether it was in the outbox; then it will not be written.
bool Subscriptions::withdraw(std::uint64_t number)
{
    expected_.reset();
    return number != 0 && outbox_.withdraw(number);
}

void Subscriptions::erase(Entries::iterator at)
{
    entries_.erase(at);
    expected_.reset();
}

void Subscriptions::confirm(Entry& entry) noexcept
{
    entry.state = SubscriptionState::acknowledged;
    entry.is_awaited = false;
    expected_.reset();
}

/// Adds a message to an existing key.
bool Subscriptions::add_again(const std::string& key, Entry& entry, SubscriptionMessage message)
{
    // The peer may have the removal already, so the addition is sent anew
    const bool was_removed = entry.removal.message && !withdraw(entry.removal.queued);
    entry.removal = {};
    if (was_removed)
        entry.state = SubscriptionState::waiting;
    auto& addition = entry.addition;
    const bool is_there =
        !has_connection_
        || (!was_removed && (addition.queued != 0 || entry.state != SubscriptionState::waiting));
    if (is_there && addition.message->says_the_same(message))
        return false;
    // Allocated before the addition changes: out of memory must leave it as it was
    const auto next = std::make_shared<const SubscriptionMessage>(std::move(message));
    if (has_connection_
        && (addition.queued == 0
            || !outbox_.replace(addition.queued,
                                Message{MessageView{{}, next->kind, next->bytes()}})))
        addition.queued = push(key, *next, false, !entry.is_awaited);
    addition.message = next;
    addition.unwritten = ++calls_;
    entry.state = SubscriptionState::waiting;
    expected_.reset();
    return has_connection_;
}

// --- app side

bool Subscriptions::add(std::string key, SubscriptionMessage message)
{
    std::lock_guard lock{mutex_};
    const auto [at, is_new] = entries_.try_emplace(std::move(key));
    auto& [its_key, entry] = *at;
    if (!is_new)
        return add_again(its_key, entry, std::move(message));
    try {
        entry.addition.message = std::make_shared<const SubscriptionMessage>(std::move(message));
        if (has_connection_)
            entry.addition.queued = push(its_key, *entry.addition.message, false, true);
    } catch (...) { // out of memory: the key was never added
        erase(at);
        throw;
    }
    entry.order = next_order_++;
    entry.addition.unwritten = ++calls_;
    return has_connection_;
}

bool Subscriptions::remove(std::string_view key, SubscriptionMessage message)
{
    std::lock_guard lock{mutex_};
    const auto at = entries_.find(key);
    if (at == entries_.end() || at->second.removal.message)
        return false;
    auto& entry = at->second;
    auto& addition = entry.addition;
    const bool is_on_its_way = addition.queued != 0 && !withdraw(addition.queued);
    if (!is_on_its_way)
        addition.queued = addition.unwritten = 0;
    if (!has_connection_ || !(entry.was_sent || is_on_its_way) || message.payload.empty()) {
        erase(at);
        return true;
    }
    Step removal{.message = std::make_shared<const SubscriptionMessage>(std::move(message))};
    removal.queued = push(at->first, *removal.message, true, true);
    removal.unwritten = ++calls_;
    entry.removal = std::move(removal);
    entry.is_awaited = false;
    return true;
}

// --- both

std::optional<SubscriptionState> Subscriptions::state(std::string_view key) const
{
    std::lock_guard lock{mutex_};
    const auto at = entries_.find(key);
    return at == entries_.end() ? std::nullopt : std::optional{at->second.shown_state()};
}

SubscriptionCounts Subscriptions::counts() const
{
    std::lock_guard lock{mutex_};
    SubscriptionCounts counts;
    for (const auto& [key, entry] : entries_) {
        switch (entry.shown_state()) {
        case SubscriptionState::waiting: ++counts.waiting; break;
        case SubscriptionState::pending: ++counts.pending; break;
        case SubscriptionState::acknowledged: ++counts.acknowledged; break;
        case SubscriptionState::removal_pending: ++counts.removal_pending; break;
        }
    }
    return counts;
}

std::uint64_t Subscriptions::last_unwritten() const
{
    std::lock_guard lock{mutex_};
    std::uint64_t last = 0;
    for (const auto& [key, entry] : entries_)
        last = std::max({last, entry.addition.unwritten, entry.removal.unwritten});
    return last;
}

bool Subscriptions::is_unwritten(std::uint64_t until) const
{
    const auto is_due = [until](std::uint64_t number) { return number != 0 && number <= until; };
    if (until == 0)
        return false;
    std::lock_guard lock{mutex_};
    return std::any_of(entries_.begin(), entries_.end(), [&](const auto& pair) {
        const auto& entry = pair.second;
        return is_due(entry.addition.unwritten) || is_due(entry.removal.unwritten);
    });
}

// --- sidecar side

bool Subscriptions::begin_connection()
{
    std::lock_guard lock{mutex_};
    has_connection_ = true;
    std::vector<std::pair<std::uint64_t, Entries::value_type*>> ordered;
    for (auto& pair : entries_) {
        pair.second.is_awaited = true;
        ordered.emplace_back(pair.second.order, &pair);
    }
    std::sort(ordered.begin(), ordered.end());
    for (const auto& [order, pair] : ordered)
        pair->second.addition.queued =
            push(pair->first, *pair->second.addition.message, false, false);
    return !ordered.empty();
}

void Subscriptions::end_connection()
{
    std::lock_guard lock{mutex_};
    has_connection_ = false;
    expected_.reset();
    std::erase_if(entries_,
                  [](const auto& pair) { return pair.second.removal.message != nullptr; });
    for (auto& [key, entry] : entries_) {
        entry.state = SubscriptionState::waiting;
        entry.was_sent = entry.is_awaited = false;
        entry.addition.queued = 0;
    }
}

/// Makes it pending when its write begins: an answer may be read before the write's end is seen.
void Subscriptions::record_step(const std::string& key, bool is_removal, std::uint64_t number,
                                PriorityMessage::Step step)
{
    std::lock_guard lock{mutex_};
    const auto at = entries_.find(key);
    if (at == entries_.end())
        return;
    auto& entry = at->second;
    auto& part = is_removal ? entry.removal : entry.addition;
    if (number != part.queued)
        return; // another message has replaced it
    expected_.reset();
    if (step == PriorityMessage::Step::writing) {
        entry.was_sent = true;
        if (!is_removal)
            entry.state = SubscriptionState::pending;
        return;
    }
    part.unwritten = part.queued = 0;
    if (part.message->is_answer)
        return; // the answer will confirm it
    if (is_removal)
        erase(at);
    else if (entry.state == SubscriptionState::pending)
        confirm(entry);
}

/// Returns expected answers in the order of their subscriptions.
std::vector<Subscriptions::Expected> Subscriptions::find_expected() const
{
    std::vector<std::pair<std::uint64_t, Expected>> found;
    for (const auto& [key, entry] : entries_) {
        const bool is_removal = entry.removal.message != nullptr;
        const auto& message = is_removal ? entry.removal.message : entry.addition.message;
        if ((is_removal || entry.state == SubscriptionState::pending) && message->is_answer)
            found.emplace_back(entry.order, Expected{key, message, is_removal});
    }
    std::sort(found.begin(), found.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<Expected> expected;
    for (auto& [order, write] : found)
        expected.push_back(std::move(write));
    return expected;
}

std::shared_ptr<const std::vector<Subscriptions::Expected>> Subscriptions::expected()
{
    std::lock_guard lock{mutex_};
    if (!expected_)
        expected_ = std::make_shared<const std::vector<Expected>>(find_expected());
    return expected_;
}

bool Subscriptions::expects_answers() { return !expected()->empty(); }

MessageWatcher::Verdict Subscriptions::offer(const MessageView& message)
{
    const auto candidates = expected(); // shared: the mutex is not held below
    const auto answered =
        std::find_if(candidates->begin(), candidates->end(),
                     [&](const Expected& one) { return recognises(*one.message, message); });
    if (answered == candidates->end())
        return Verdict::pass;
    {
        std::lock_guard lock{mutex_};
        const auto at = entries_.find(answered->key);
        if (at == entries_.end())
            return Verdict::pass;
        auto& entry = at->second;
        if (answered->is_removal && entry.removal.message == answered->message)
            erase(at);
        else if (entry.addition.message == answered->message && !entry.removal.message)
            confirm(entry);
        else
            return Verdict::pass; // too late: the key has changed
    }
    on_answer();
    return Verdict::pass;
}

std::vector<std::string> Subscriptions::unacknowledged() const
{
    std::lock_guard lock{mutex_};
    std::vector<std::string> keys;
    for (const auto& [key, entry] : entries_)
        if (entry.is_awaited)
            keys.push_back(key);
    return keys;
}

bool Subscriptions::is_restored() const
{
    std::lock_guard lock{mutex_};
    return std::none_of(entries_.begin(), entries_.end(),
                        [](const auto& pair) { return pair.second.is_awaited; });
}

void Subscriptions::stop_waiting()
{
    std::lock_guard lock{mutex_};
    for (auto& [key, entry] : entries_)
        entry.is_awaited = false;
}

} // namespace sidecar::detail
