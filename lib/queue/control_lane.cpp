#include "queue/control_lane.hpp"

#include <algorithm>
#include <utility>

namespace sidecar::detail {

bool ControlLane::push(LinkId link, MessageKind kind, std::span<const std::byte> payload,
                       std::uint32_t connection, TimePoint deadline)
{
    std::lock_guard lock{mutex_};
    const bool fits =
        counts_.queued < most_messages && counts_.queued_bytes + payload.size() <= most_bytes;
    if (!fits && counts_.queued != 0)
        return false;
    waiting_.push_back(
        {Message{MessageView{link, kind, payload}}, connection, deadline, ++counts_.accepted});
    ++counts_.queued;
    counts_.queued_bytes += payload.size();
    has_any_.store(true, std::memory_order_seq_cst);
    return true;
}

ControlLane::Taken ControlLane::take(std::uint32_t connection, TimePoint now)
{
    Taken taken;
    std::lock_guard lock{mutex_};
    taken.messages.reserve(waiting_.size());
    for (auto& [message, bound_to, deadline, number] : waiting_) {
        const bool is_late = deadline <= now;
        if (is_late || (bound_to != 0 && bound_to != connection)) {
            ++(is_late ? counts_.late : counts_.unsent);
            auto& first = is_late ? taken.first_late : taken.first_unsent;
            first = std::min(first, number);
            --counts_.queued;
            counts_.queued_bytes -= message.size();
            continue;
        }
        ++writing_;
        writing_bytes_ += message.size();
        writing_from_ = std::min(writing_from_, number);
        taken.messages.push_back(std::move(message));
    }
    std::exchange(waiting_, std::vector<Waiting>{}); // with its memory
    has_any_.store(false, std::memory_order_seq_cst);
    return taken;
}

void ControlLane::note_written()
{
    std::lock_guard lock{mutex_};
    counts_.written += writing_;
    counts_.written_bytes += writing_bytes_;
    counts_.queued -= std::exchange(writing_, 0);
    counts_.queued_bytes -= std::exchange(writing_bytes_, 0);
    writing_from_ = no_number;
}

std::uint64_t ControlLane::note_failed()
{
    std::lock_guard lock{mutex_};
    counts_.unsent += writing_;
    counts_.queued -= std::exchange(writing_, 0);
    counts_.queued_bytes -= std::exchange(writing_bytes_, 0);
    return std::exchange(writing_from_, no_number);
}

std::uint64_t ControlLane::lose(bool all)
{
    auto first = no_number;
    std::lock_guard lock{mutex_};
    std::erase_if(waiting_, [&](const Waiting& waiting) {
        if (!all && waiting.connection == 0)
            return false;
        first = std::min(first, waiting.number);
        ++counts_.unsent;
        --counts_.queued;
        counts_.queued_bytes -= waiting.message.size();
        return true;
    });
    has_any_.store(!waiting_.empty(), std::memory_order_seq_cst);
    return first;
}

std::uint64_t ControlLane::first_open() const
{
    std::lock_guard lock{mutex_};
    return std::min(writing_from_, waiting_.empty() ? no_number : waiting_.front().number);
}

ControlLane::Counts ControlLane::counts() const
{
    std::lock_guard lock{mutex_};
    return counts_;
}

} // namespace sidecar::detail
