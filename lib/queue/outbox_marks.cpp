// The part of Outbox that reports to flush() how the messages before it ended.
#include "queue/outbox.hpp"

#include <utility>

namespace sidecar::detail {

Outbox::Mark::Mark(Outbox& outbox) : outbox_{outbox}
{
    std::lock_guard lock{outbox.mutex_};
    position_ = outbox.owner_    ? outbox.owner_->write_position()
                : outbox.client_ ? outbox.client_->next_position()
                                 : 0;
    number_ = outbox.priority_.last_number();
    outbox.marks_.push_back(this);
    if (std::exchange(outbox.is_late_untold_, false))
        loss_ = FlushResult::late;
    if (outbox.has_lost_ && !outbox.is_open())
        loss_ = FlushResult::lost;
}

Outbox::Mark::~Mark()
{
    std::lock_guard lock{outbox_.mutex_};
    std::erase(outbox_.marks_, this);
    if (loss_.load() == FlushResult::late && !is_late_reported_)
        outbox_.is_late_untold_ = true;
}

Outbox::FlushResult Outbox::result(Mark& mark)
{
    const bool is_ring_over =
        overflow_ || mark.position_ == 0 || ring()->reads_published() >= mark.position_;
    if (!is_ring_over)
        return mark.loss_.load() == FlushResult::lost ? FlushResult::lost : FlushResult::waiting;
    // A loss is recorded, and its message leaves the queue, with the mutex held
    std::lock_guard lock{mutex_};
    if (client_ && !client_->is_past(mark.position_))
        return mark.loss_.load() == FlushResult::lost ? FlushResult::lost : FlushResult::waiting;
    const auto loss = mark.loss_.load();
    if (priority_.first_open() <= mark.number_)
        return loss == FlushResult::lost ? FlushResult::lost : FlushResult::waiting;
    mark.is_late_reported_ = loss == FlushResult::late;
    return loss == FlushResult::waiting ? FlushResult::written : loss;
}

/// With mutex_ held. Reports a loss to marks; `lost` overrides `late`.
template <class IsBefore>
void Outbox::report_to_marks(FlushResult loss, IsBefore is_before) noexcept
{
    bool is_told = false;
    for (auto* mark : marks_) {
        if (!is_before(*mark))
            continue;
        is_told = true;
        if (mark->loss_.load() != FlushResult::lost)
            mark->loss_ = loss;
    }
    if (loss == FlushResult::lost)
        has_lost_ = true;
    else if (!is_told)
        is_late_untold_ = true;
}

/// With mutex_ held. Reports the loss of the message at `position`.
void Outbox::report_loss(std::uint64_t position, FlushResult loss) noexcept
{
    report_to_marks(loss, [position](const Mark& mark) { return position < mark.position_; });
}

/// Reports the loss of the message with this number; does nothing for no_number.
void Outbox::report_priority_loss(std::uint64_t number, FlushResult loss) noexcept
{
    if (number != PriorityQueue::no_number)
        report_to_marks(loss, [number](const Mark& mark) { return number <= mark.number_; });
}

// --- what is written

void Outbox::mark_written(std::size_t count, std::uint64_t end)
{
    ++progress_;
    out_.was_marked = true;
    if ((end & priority_bit) != 0) [[unlikely]]
        return mark_priority_written(count);
    if (overflow_)
        return mark_client_written(count);
    auto& ring = *ring_.load(std::memory_order_relaxed);
    const auto messages = ring.popped_so_far();
    const auto bytes = ring.popped_bytes_so_far();
    for (; count != 0 && ring.read_position() < end; --count)
        ring.pop();
    sent_.fetch_add(ring.popped_so_far() - messages, std::memory_order_relaxed);
    sent_bytes_.fetch_add(ring.popped_bytes_so_far() - bytes, std::memory_order_relaxed);
    ring.publish_reads();
    written_.wake();
    look_for_room();
}

/// Ends the batch before its first message without a mark, so that give_up() loses none.
void Outbox::mark_rest_unwritten() noexcept
{
    if ((out_.end & priority_bit) == 0) {
        if (!overflow_)
            out_.end = owner_->read_position();
        return;
    }
    std::lock_guard lock{mutex_};
    priority_.put_back(0);
    update_has_priority();
}

void Outbox::mark_priority_written(std::size_t count)
{
    PriorityQueue::Messages written;
    {
        std::lock_guard lock{mutex_};
        written = priority_.written(count);
        update_has_priority();
    }
    for (const auto& message : written)
        if (!is_not_limited(message.origin)) {
            sent_.fetch_add(1, std::memory_order_relaxed);
            sent_bytes_.fetch_add(stored_bytes(message.message), std::memory_order_relaxed);
        }
    for (const auto& message : written)
        if (message.on_step)
            message.on_step(message.number, PriorityMessage::Step::written);
    written_.wake();
    look_for_room();
}

} // namespace sidecar::detail
