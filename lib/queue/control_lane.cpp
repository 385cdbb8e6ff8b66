#include "queue/control_lane.hpp"

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
    waiting_.push_back({Message{MessageView{link, kind, payload}}, connection, deadline});
    ++counts_.accepted;
    ++counts_.queued;
    counts_.queued_bytes += payload.size();
    has_any_.store(true, std::memory_order_seq_cst);
    return true;
}

std::vector<Message> ControlLane::take(std::uint32_t connection, TimePoint now)
{
    std::vector<Message> taken;
    std::lock_guard lock{mutex_};
    taken.reserve(waiting_.size());
    for (auto& [message, bound_to, deadline] : waiting_) {
        const bool is_late = deadline <= now;
        if (is_late || (bound_to != 0 && bound_to != connection)) {
            ++(is_late ? counts_.late : counts_.unsent);
            --counts_.queued;
            counts_.queued_bytes -= message.size();
            continue;
        }
        ++writing_;
        writing_bytes_ += message.size();
        taken.push_back(std::move(message));
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
}

void ControlLane::note_failed()
{
    std::lock_guard lock{mutex_};
    counts_.unsent += writing_;
    counts_.queued -= std::exchange(writing_, 0);
    counts_.queued_bytes -= std::exchange(writing_bytes_, 0);
}

void ControlLane::lose(bool all)
{
    std::lock_guard lock{mutex_};
    std::erase_if(waiting_, [&](const Waiting& waiting) {
        if (!all && waiting.connection == 0)
            return false;
        ++counts_.unsent;
        --counts_.queued;
        counts_.queued_bytes -= waiting.message.size();
        return true;
    });
    has_any_.store(!waiting_.empty(), std::memory_order_seq_cst);
}

ControlLane::Counts ControlLane::counts() const
{
    std::lock_guard lock{mutex_};
    return counts_;
}

} // namespace sidecar::detail
