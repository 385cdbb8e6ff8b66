#include "queue/outbox.hpp"

namespace sidecar::detail {

/// With push_mutex_ held. A ring costs two kilobytes before its memory.
RecordRing& Outbox::make_ring()
{
    if (!owner_) {
        owner_ = std::make_unique<RecordRing>(limits_);
        largest_.store(owner_->largest_message());
        // Before the look at writer_sleeps_
        ring_.store(owner_.get(), std::memory_order_seq_cst);
    }
    return *owner_;
}

Outbox::Push Outbox::push(LinkId link, MessageKind kind, std::span<const std::byte> payload)
{
    std::lock_guard lock{push_mutex_};
    if (!is_open() || stop_.is_made())
        return Push::closed;
    auto& ring = make_ring();
    if (payload.size() > ring.largest_message())
        return Push::too_big;
    if (!ring.push(link, kind, payload))
        return Push::full;
    ring.publish();
    return Push::queued;
}

bool Outbox::wakes_writer() noexcept
{
    return writer_sleeps_.load(std::memory_order_seq_cst) && writer_sleeps_.exchange(false);
}

std::uint64_t Outbox::pushed_position()
{
    std::lock_guard lock{push_mutex_};
    return owner_ ? owner_->write_position() : 0;
}

void Outbox::close() noexcept
{
    is_open_.store(false, std::memory_order_seq_cst);
    written_.wake();
}

std::optional<Batch> Outbox::next_batch()
{
    auto* const ring = ring_.load(std::memory_order_seq_cst);
    const auto end = ring ? ring->published() : 0;
    if (!ring || ring->read_position() == end)
        return std::nullopt;
    is_writing_ = true;
    return Batch{*this, ring->read_position(), end};
}

void Outbox::finish(const Batch& batch)
{
    batch.mark_written(SIZE_MAX);
    is_writing_ = false;
}

bool Outbox::prepare_sleep() noexcept
{
    writer_sleeps_.store(true, std::memory_order_seq_cst);
    auto* const ring = ring_.load(std::memory_order_seq_cst);
    if (ring && ring->has_spare_blocks())
        ring->free_spare_blocks();
    if (ring && ring->is_worth_restarting()) {
        std::lock_guard lock{push_mutex_};
        if (ring->empty())
            ring->restart();
    }
    return !ring || ring->published() == ring->read_position();
}

MessageView Outbox::read(std::uint64_t& position) const
{
    const auto& ring = *ring_.load(std::memory_order_relaxed);
    const auto at = ring.find_message(position);
    position = ring.after(at);
    return ring.view(at);
}

void Outbox::mark_written(std::size_t count, std::uint64_t end)
{
    auto& ring = *ring_.load(std::memory_order_relaxed);
    const auto messages = ring.popped_so_far();
    const auto bytes = ring.popped_bytes_so_far();
    for (; count != 0 && ring.read_position() < end; --count)
        ring.pop();
    sent_.messages.fetch_add(ring.popped_so_far() - messages, std::memory_order_relaxed);
    sent_.bytes.fetch_add(ring.popped_bytes_so_far() - bytes, std::memory_order_relaxed);
    ring.publish_reads();
    written_.wake();
}

} // namespace sidecar::detail
