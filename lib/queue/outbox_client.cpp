// The part of Outbox that keeps the messages to a listener's client.
#include "queue/outbox.hpp"

#include <algorithm>
#include <utility>

namespace sidecar::detail {

/// With mutex_ held.
ClientQueue& Outbox::make_client_queue()
{
    if (!client_)
        client_ = std::make_unique<ClientQueue>(limits_, *overflow_);
    return *client_;
}

/// With mutex_ held.
Outbox::Push Outbox::push_to_client(StoredKind kind, std::span<const std::byte> payload,
                                    const Sender& sender)
{
    if (payload.size() > limits_.bytes)
        return Push::too_big;
    if (sender.priority == Priority::high)
        return push_high(kind, payload, sender);
    const auto pushed = make_client_queue().push({std::make_shared<SharedMessage>(kind, payload),
                                                  sender.deadline, sender.connection.value_or(0)},
                                                 sender.key);
    return pushed == ClientQueue::Push::queued ? Push::queued : Push::full;
}

Outbox::Broadcast Outbox::push_broadcast(const std::shared_ptr<SharedMessage>& message,
                                         std::optional<std::string_view> key)
{
    std::lock_guard lock{mutex_};
    if (stop_.is_made() || !is_open())
        return Broadcast::closed;
    auto& queue = make_client_queue();
    if (queue.push({message}, key) == ClientQueue::Push::queued)
        return Broadcast::queued;
    queue.drop_newest();
    return queue.is_too_slow(clock_.now()) ? Broadcast::too_slow : Broadcast::full;
}

bool Outbox::is_too_slow()
{
    std::lock_guard lock{mutex_};
    return client_ && client_->is_too_slow(clock_.now());
}

/// With mutex_ held. Does nothing for no_position.
void Outbox::report_client_loss(std::uint64_t position, FlushResult loss) noexcept
{
    if (position != ClientQueue::no_position)
        report_loss(position, loss);
}

/// Lets the application put its text in the place of messages that were dropped.
void Outbox::report_gap()
{
    if (!overflow_->on_gap)
        return;
    std::uint64_t missing = 0;
    {
        std::lock_guard lock{mutex_};
        missing = client_ ? client_->take_gap() : 0;
    }
    if (missing == 0)
        return;
    const auto text = overflow_->on_gap(missing); // code of the application, so without the lock
    auto message =
        std::make_shared<SharedMessage>(MessageKind::text, std::as_bytes(std::span{text}));
    std::lock_guard lock{mutex_};
    client_->push_front(std::move(message), missing);
}

std::optional<Batch> Outbox::next_client_batch()
{
    if (out_.gate != SendGate::open)
        return std::nullopt;
    report_gap();
    ClientQueue::Taken taken;
    std::optional<Batch> batch;
    {
        std::lock_guard lock{mutex_};
        if (!client_)
            return std::nullopt;
        taken = client_->take(connection_, clock_.now());
        report_client_loss(taken.first_late, FlushResult::late);
        report_client_loss(taken.first_lost, FlushResult::lost);
        if (taken.is_any)
            batch = hand_out(client_->writing_begin(), client_->writing_end());
    }
    if (std::min(taken.first_late, taken.first_lost) != ClientQueue::no_position)
        written_.wake();
    return batch;
}

SharedMessage* Outbox::shared(std::uint64_t position) const
{
    if (!overflow_ || (position & priority_bit) != 0)
        return nullptr;
    return &client_->read(position);
}

void Outbox::mark_client_written(std::size_t count)
{
    {
        std::lock_guard lock{mutex_};
        client_->written(count);
    }
    written_.wake();
    look_for_room();
}

} // namespace sidecar::detail
