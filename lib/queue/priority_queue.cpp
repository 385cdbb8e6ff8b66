#include "queue/priority_queue.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace sidecar::detail {
namespace {

using Origin = PriorityMessage::Origin;

bool is_due(const PriorityMessage& message, SendGate gate, std::uint64_t written) noexcept
{
    const auto needed = message.origin == Origin::session ? SendGate::session : SendGate::restoring;
    return needed <= gate && message.place <= written;
}

bool is_before(const PriorityMessage& a, const PriorityMessage& b) noexcept
{
    return a.number < b.number;
}

} // namespace

bool PriorityQueue::has_room(std::size_t payload_bytes) const noexcept
{
    return counts_.queued == 0
           || (counts_.queued < max_messages && counts_.queued_bytes + payload_bytes <= max_bytes);
}

std::uint64_t PriorityQueue::push(PriorityMessage message)
{
    message.number = last_number_ + 1;
    waiting_.push_back(std::move(message));
    counts_.acknowledgements += waiting_.back().origin == Origin::acknowledgement ? 1 : 0;
    if (waiting_.back().origin == Origin::application) {
        ++counts_.accepted;
        ++counts_.queued;
        counts_.queued_bytes += stored_bytes(waiting_.back().message);
    }
    return ++last_number_;
}

PriorityQueue::Messages::iterator PriorityQueue::find_waiting(std::uint64_t number) noexcept
{
    return std::find_if(waiting_.begin(), waiting_.end(),
                        [&](const auto& message) { return message.number == number; });
}

bool PriorityQueue::withdraw(std::uint64_t number) noexcept
{
    const auto at = find_waiting(number);
    if (at == waiting_.end())
        return false;
    waiting_.erase(at);
    return true;
}

bool PriorityQueue::replace(std::uint64_t number, Message& message) noexcept
{
    const auto at = find_waiting(number);
    if (at == waiting_.end())
        return false;
    std::swap(at->message, message);
    return true;
}

void PriorityQueue::leave_queue(const PriorityMessage& message) noexcept
{
    counts_.acknowledgements -= message.origin == Origin::acknowledgement ? 1 : 0;
    if (message.origin != Origin::application)
        return;
    --counts_.queued;
    counts_.queued_bytes -= stored_bytes(message.message);
}

/// Returns the number of the application's first lost message.
template <class IsLost>
std::uint64_t PriorityQueue::lose(Messages& messages, std::uint64_t Counts::*as,
                                  IsLost is_lost) noexcept
{
    auto first = no_number;
    for (auto at = messages.begin(); at != messages.end();) {
        if (!is_lost(*at)) {
            ++at;
            continue;
        }
        leave_queue(*at);
        if (at->origin == Origin::application) {
            ++(counts_.*as);
            first = std::min(first, at->number);
        }
        at = messages.erase(at);
    }
    return first;
}

PriorityQueue::Dropped PriorityQueue::drop(std::uint32_t connection, TimePoint now) noexcept
{
    Dropped dropped;
    dropped.first_late =
        lose(waiting_, &Counts::late, [&](const auto& message) { return message.deadline <= now; });
    dropped.first_unsent = lose(waiting_, &Counts::unsent, [&](const auto& message) {
        return message.connection != 0 && message.connection != connection;
    });
    return dropped;
}

bool PriorityQueue::take(SendGate gate, std::uint64_t written) noexcept
{
    const auto move_due = [&](bool not_limited) {
        for (auto at = waiting_.begin(); at != waiting_.end();) {
            const auto next = std::next(at);
            if (is_not_limited(at->origin) == not_limited && is_due(*at, gate, written))
                writing_.splice(writing_.end(), waiting_, at);
            at = next;
        }
        return !writing_.empty();
    };
    const bool has_taken = move_due(true) || move_due(false);
    next_ = writing_.begin();
    return has_taken;
}

void PriorityQueue::put_back(std::uint64_t from) noexcept
{
    Messages back;
    const auto first = std::find_if(writing_.begin(), writing_.end(),
                                    [&](const auto& message) { return message.number >= from; });
    back.splice(back.end(), writing_, first, writing_.end());
    waiting_.merge(back, is_before);
    next_ = writing_.begin();
}

PriorityQueue::Messages PriorityQueue::written(std::size_t count)
{
    Messages written;
    auto end = writing_.begin();
    for (; count != 0 && end != writing_.end(); --count, ++end) {
        leave_queue(*end);
        if (end->origin == Origin::session || end->origin == Origin::subscription)
            ++counts_.accepted; // these count when they are written
    }
    written.splice(written.end(), writing_, writing_.begin(), end);
    next_ = writing_.begin();
    return written;
}

std::uint64_t PriorityQueue::lose_writing(std::size_t count) noexcept
{
    const auto first =
        lose(writing_, &Counts::unsent, [&](const auto&) { return count != 0 && count-- != 0; });
    next_ = writing_.begin();
    return first;
}

/// A position is a number; between two messages it is the number behind the first of them.
MessageView PriorityQueue::read(std::uint64_t& number) const noexcept
{
    const bool is_next = next_ != writing_.end() && next_->number >= number
                         && (next_ == writing_.begin() || std::prev(next_)->number < number);
    if (!is_next)
        next_ = std::find_if(writing_.begin(), writing_.end(),
                             [&](const auto& message) { return message.number >= number; });
    const auto& message = *next_++;
    number = message.number + 1;
    return message.message.view();
}

std::uint64_t PriorityQueue::end_connection(bool keep) noexcept
{
    return lose(waiting_, &Counts::unsent, [&](const auto& message) {
        return !keep || message.connection != 0 || message.origin != Origin::application;
    });
}

std::uint64_t PriorityQueue::first_open() const noexcept
{
    if (counts_.queued == 0)
        return no_number;
    auto first = no_number;
    for (const auto* messages : {&writing_, &waiting_}) {
        const auto at = std::find_if(messages->begin(), messages->end(), [](const auto& message) {
            return message.origin == Origin::application;
        });
        if (at != messages->end())
            first = std::min(first, at->number);
    }
    return first;
}

std::uint64_t PriorityQueue::first_place() const noexcept
{
    for (const auto& message : waiting_)
        if (message.origin == Origin::subscription)
            return message.place;
    return UINT64_MAX;
}

} // namespace sidecar::detail
