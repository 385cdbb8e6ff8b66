#include "queue/outbox.hpp"

#include <algorithm>
#include <utility>

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

Outbox::Push Outbox::push(LinkId link, MessageKind kind, std::span<const std::byte> payload,
                          Sender& sender)
{
    std::lock_guard lock{push_mutex_};
    if (stop_.is_made())
        return Push::closed;
    if (sender.connection && *sender.connection != loss_.connection)
        return Push::wrong_connection;
    if (!is_open() || sender.drops.value_or(loss_.drops) != loss_.drops)
        return Push::closed;
    sender.drops = loss_.drops;
    if (sender.connection)
        link = static_cast<LinkId>(static_cast<std::uint32_t>(link) | bound_bit);
    auto& ring = make_ring();
    if (payload.size() > ring.largest_message())
        return Push::too_big;
    if (sender.lane == Lane::control) [[unlikely]]
        return control_.push(link, kind, payload, sender.connection.value_or(0), sender.deadline)
                   ? Push::queued
                   : Push::full;
    if (sender.deadline != TimePoint::max()) [[unlikely]]
        return push_with_deadline(ring, link, kind, payload, sender.deadline);
    if (!ring.push(link, kind, payload))
        return Push::full;
    ring.publish();
    return Push::queued;
}

/// With push_mutex_ held.
Outbox::Push Outbox::push_with_deadline(RecordRing& ring, LinkId link, MessageKind kind,
                                        std::span<const std::byte> payload, TimePoint deadline)
{
    deadlines_.pending.add(ring.write_position(), deadline);
    if (!ring.push(link, kind, payload)) {
        deadlines_.pending.take_back_last();
        return Push::full;
    }
    deadlines_.is_any.store(true, std::memory_order_relaxed); // which the publication shows
    ring.publish();
    return Push::queued;
}

bool Outbox::wakes_writer() noexcept
{
    return writer_sleeps_.load(std::memory_order_seq_cst) && writer_sleeps_.exchange(false);
}

Outbox::Mark::Mark(Outbox& outbox) : outbox_{outbox}
{
    std::lock_guard lock{outbox.push_mutex_};
    position_ = outbox.owner_ ? outbox.owner_->write_position() : 0;
    control_ = outbox.control_.counts().accepted;
    outbox.loss_.marks.push_back(this);
    if (std::exchange(outbox.loss_.is_late_untold, false))
        loss_ = Fate::late;
}

Outbox::Mark::~Mark()
{
    std::lock_guard lock{outbox_.push_mutex_};
    std::erase(outbox_.loss_.marks, this);
    if (loss_.load() == Fate::late && !is_late_told_)
        outbox_.loss_.is_late_untold = true;
}

std::uint64_t Outbox::pushed_position()
{
    std::lock_guard lock{push_mutex_};
    return owner_ ? owner_->write_position() : 0;
}

Outbox::Fate Outbox::fate(Mark& mark)
{
    const bool is_over = (mark.position_ == 0 || ring()->reads_published() >= mark.position_)
                         && control_.first_open() > mark.control_;
    if (!is_over)
        return mark.loss_.load() == Fate::lost ? Fate::lost : Fate::waiting;
    // What is lost is told and leaves the queue with the mutex held
    std::lock_guard lock{push_mutex_};
    const auto loss = mark.loss_.load();
    mark.is_late_told_ = loss == Fate::late;
    return loss == Fate::waiting ? Fate::written : loss;
}

/// With push_mutex_ held. What is lost with its connection says more than what was late.
template <class IsBefore>
void Outbox::tell_marks(Fate loss, IsBefore is_before) noexcept
{
    bool is_told = false;
    for (auto* mark : loss_.marks) {
        if (!is_before(*mark))
            continue;
        is_told = true;
        if (mark->loss_.load() != Fate::lost)
            mark->loss_ = loss;
    }
    if (loss == Fate::late && !is_told)
        loss_.is_late_untold = true;
}

/// With push_mutex_ held: the message there is lost.
void Outbox::tell_loss(std::uint64_t position, Fate loss) noexcept
{
    tell_marks(loss, [position](const Mark& mark) { return position < mark.position_; });
}

/// The same, for the control message of this number; with no_number nothing happens.
void Outbox::tell_control_loss(std::uint64_t number, Fate loss) noexcept
{
    if (number != ControlLane::no_number)
        tell_marks(loss, [number](const Mark& mark) { return number <= mark.control_; });
}

void Outbox::open(std::uint32_t connection)
{
    std::lock_guard lock{push_mutex_};
    loss_.connection = connection;
    is_open_.store(true, std::memory_order_seq_cst);
}

void Outbox::end_connection(bool keep)
{
    {
        std::lock_guard lock{push_mutex_};
        const bool was_open = is_open();
        loss_.connection = 0;
        is_open_.store(keep && was_open, std::memory_order_seq_cst);
        auto* const ring = owner_.get();
        if (keep && was_open && ring) {
            keep_what_may_follow(*ring);
        } else if (!keep) {
            ++loss_.drops;
            if (ring)
                lose_until(*ring, ring->write_position());
        }
        loss_.batch_end = 0;
        tell_control_loss(control_.note_failed(), Fate::lost);
        tell_control_loss(control_.lose(!keep), Fate::lost);
    }
    written_.wake();
}

/// With push_mutex_ held. Of the batch whose write failed a message may be written in part, but if
/// the transport marks, it is the first that is not marked. If it does not, any of them may be.
void Outbox::keep_what_may_follow(RecordRing& ring)
{
    const auto published = ring.published();
    if (const auto begin = ring.read_position(); loss_.batch_end > begin)
        lose_until(ring, loss_.batch_was_marked ? begin + 1 : loss_.batch_end);
    loss_.stale_until = published;
    for (auto at = ring.read_position(); at < published; at = ring.after(at)) {
        at = ring.find_message(at);
        if (is_stale(ring, at))
            return tell_loss(at, Fate::lost); // who waits for a later one waits for this one too
    }
}

/// It is bound to a connection that is gone.
bool Outbox::is_stale(const RecordRing& ring, std::uint64_t position) const noexcept
{
    return position < loss_.stale_until
           && (static_cast<std::uint32_t>(ring.view(position).link()) & bound_bit) != 0;
}

/// With push_mutex_ held.
void Outbox::lose_until(RecordRing& ring, std::uint64_t position)
{
    tell_loss(ring.read_position(), Fate::lost);
    while (ring.read_position() < position && ring.read_position() != ring.published())
        lose_one(ring);
    ring.publish_reads();
}

void Outbox::lose_one(RecordRing& ring)
{
    ring.pop();
    loss_.messages.fetch_add(1);
}

void Outbox::close() noexcept
{
    is_open_.store(false, std::memory_order_seq_cst);
    written_.wake();
}

std::optional<Batch> Outbox::next_batch(std::uint64_t limit)
{
    auto* const ring = ring_.load(std::memory_order_seq_cst);
    if (!ring)
        return std::nullopt;
    auto end = std::min(ring->published(), limit);
    if (ring->read_position() < std::min(end, loss_.stale_until)) [[unlikely]]
        end = pass_over_stale(*ring, end);
    if (deadlines_.is_any.load(std::memory_order_relaxed)) [[unlikely]]
        end = pass_over_late(*ring, end);
    if (ring->read_position() >= end)
        return std::nullopt;
    loss_.is_writing = true;
    loss_.batch_end = end;
    loss_.batch_was_marked = false;
    return Batch{*this, ring->read_position(), end};
}

/// What is stale at the front is lost; gives where the next of it stands, or `end`.
std::uint64_t Outbox::pass_over_stale(RecordRing& ring, std::uint64_t end)
{
    {
        std::lock_guard lock{push_mutex_};
        while (ring.read_position() < end
               && is_stale(ring, ring.find_message(ring.read_position()))) {
            tell_loss(ring.read_position(), Fate::lost);
            lose_one(ring);
        }
        ring.publish_reads();
    }
    written_.wake();
    for (auto at = ring.read_position(); at < std::min(end, loss_.stale_until);
         at = ring.after(at)) {
        at = ring.find_message(at);
        if (is_stale(ring, at))
            return at;
    }
    return end;
}

/// What is late at the front is lost; gives where the next that is late stands, or `end`.
std::uint64_t Outbox::pass_over_late(RecordRing& ring, std::uint64_t end)
{
    {
        std::lock_guard lock{push_mutex_};
        const auto now = clock_.now();
        for (;;) {
            deadlines_.pending.forget_until(ring.read_position());
            const auto late = deadlines_.pending.first_late(end, now);
            if (late == end || late != ring.read_position()) {
                end = late;
                break;
            }
            tell_loss(late, Fate::late);
            lose_one(ring);
            deadlines_.late.fetch_add(1);
        }
        deadlines_.is_any.store(!deadlines_.pending.empty(), std::memory_order_relaxed);
        ring.publish_reads();
    }
    written_.wake();
    return end;
}

std::vector<Message> Outbox::take_control()
{
    ControlLane::Taken taken;
    {
        std::lock_guard lock{push_mutex_};
        taken = control_.take(loss_.connection, clock_.now());
        tell_control_loss(taken.first_unsent, Fate::lost);
        tell_control_loss(taken.first_late, Fate::late);
    }
    if (taken.messages.empty())
        written_.wake(); // who waits for what was dropped
    return std::move(taken.messages);
}

void Outbox::give_up_batch()
{
    loss_.is_writing = false;
    std::lock_guard lock{push_mutex_};
    tell_control_loss(control_.note_failed(), Fate::lost);
}

void Outbox::note_control_written()
{
    const auto before = control_.counts();
    control_.note_written();
    const auto after = control_.counts();
    sent_.messages.fetch_add(after.written - before.written, std::memory_order_relaxed);
    sent_.bytes.fetch_add(after.written_bytes - before.written_bytes, std::memory_order_relaxed);
    written_.wake();
}

void Outbox::finish(const Batch& batch)
{
    batch.mark_written(SIZE_MAX);
    loss_.is_writing = false;
    loss_.batch_end = 0;
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
    return (!ring || ring->published() == ring->read_position()) && !control_.has_any();
}

MessageView Outbox::read(std::uint64_t& position) const
{
    const auto& ring = *ring_.load(std::memory_order_relaxed);
    const auto at = ring.find_message(position);
    position = ring.after(at);
    const auto view = ring.view(at);
    const auto link = static_cast<std::uint32_t>(view.link()) & ~bound_bit;
    return {static_cast<LinkId>(link), view.kind(), view.bytes()};
}

void Outbox::mark_written(std::size_t count, std::uint64_t end)
{
    ++progress_;
    auto& ring = *ring_.load(std::memory_order_relaxed);
    loss_.batch_was_marked = true;
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
