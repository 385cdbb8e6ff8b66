#include "queue/outbox.hpp"

#include <algorithm>
#include <utility>

namespace sidecar::detail {
namespace {

/// More acknowledgements do not wait; a server has fewer messages that wait for one.
constexpr std::uint64_t max_acknowledgements = 64u << 10;

} // namespace

/// With mutex_ held. A ring costs two kilobytes before its memory.
RecordRing& Outbox::make_ring()
{
    if (!owner_) {
        owner_ = std::make_unique<RecordRing>(limits_, RecordRing::Share::all);
        // Before wakes_writer() reads writer_sleeps_
        ring_.store(owner_.get(), std::memory_order_seq_cst);
    }
    return *owner_;
}

// --- pushing

Outbox::Push Outbox::push(StoredKind kind, std::span<const std::byte> payload, Sender& sender)
{
    std::lock_guard lock{mutex_};
    if (stop_.is_made())
        return Push::closed;
    if (sender.connection && *sender.connection != connection_)
        return Push::wrong_connection;
    if (!is_open() || sender.drops.value_or(drops_) != drops_)
        return Push::closed;
    sender.drops = drops_;
    if (overflow_) [[unlikely]]
        return push_to_client(kind, payload, sender);
    auto& ring = make_ring();
    if (payload.size() > ring.largest_copied() && payload.size() > largest_message())
        return Push::too_big;
    if (sender.priority == Priority::high || sender.connection
        || sender.deadline != TimePoint::max()) [[unlikely]]
        return push_conditionally(ring, kind, payload, sender);
    if (!ring.push(link_, kind, payload))
        return Push::full;
    ring.publish();
    return Push::queued;
}

/// With mutex_ held. Adds a message of the application to the priority queue.
Outbox::Push Outbox::push_high(StoredKind kind, std::span<const std::byte> payload,
                               const Sender& sender)
{
    if (!priority_.has_room(payload.size()))
        return Push::full;
    priority_.push({.message = Message{MessageView{link_, kind, payload}},
                    .connection = sender.connection.value_or(0),
                    .deadline = sender.deadline});
    update_has_priority();
    return Push::queued;
}

/// With mutex_ held.
Outbox::Push Outbox::push_conditionally(RecordRing& ring, StoredKind kind,
                                        std::span<const std::byte> payload, const Sender& sender)
{
    if (sender.priority == Priority::high)
        return push_high(kind, payload, sender);
    if (conditions_.size() == conditions_.capacity()) // first: if it throws, nothing is queued
        conditions_.reserve(2 * conditions_.size() + 8);
    const auto position = ring.write_position();
    if (!ring.push(link_, kind, payload))
        return Push::full;
    conditions_.push_back({position, sender.deadline, sender.connection.value_or(0)});
    has_conditions_.store(true, std::memory_order_relaxed); // publish() makes it visible
    ring.publish();
    return Push::queued;
}

bool Outbox::want_room(std::size_t payload_bytes, Priority priority)
{
    std::lock_guard lock{mutex_};
    return written_.want(payload_bytes, priority);
}

/// With mutex_ held.
bool Outbox::has_room(std::size_t payload_bytes, Priority priority) const
{
    if (!is_open())
        return false;
    if (priority == Priority::high)
        return priority_.has_room(payload_bytes);
    if (overflow_)
        return !client_ || client_->has_room(payload_bytes);
    return !owner_ || owner_->empty() || (owner_->half_free() && owner_->has_space(payload_bytes));
}

void Outbox::grant_wishes() noexcept
{
    try {
        bool is_granted = false;
        {
            std::lock_guard lock{mutex_};
            is_granted = written_.grant(
                [this](std::size_t bytes, Priority priority) { return has_room(bytes, priority); });
        }
        if (is_granted)
            written_.on_room();
    } catch (...) { // no memory; the next look tries again
        (void)want_room(0, Priority::normal);
    }
}

std::uint64_t Outbox::push_priority(PriorityMessage message, bool keeps_place)
{
    std::lock_guard lock{mutex_};
    if (keeps_place && owner_)
        message.place = owner_->write_position();
    const auto number = priority_.push(std::move(message));
    update_has_priority();
    return number;
}

bool Outbox::push_acknowledgement(Message message)
{
    std::lock_guard lock{mutex_};
    if (priority_.counts().acknowledgements >= max_acknowledgements)
        return false;
    priority_.push(
        {.message = std::move(message), .origin = PriorityMessage::Origin::acknowledgement});
    update_has_priority();
    return true;
}

bool Outbox::withdraw(std::uint64_t number)
{
    std::lock_guard lock{mutex_};
    const bool was_there = priority_.withdraw(number);
    update_has_priority();
    return was_there;
}

bool Outbox::replace(std::uint64_t number, Message message)
{
    std::lock_guard lock{mutex_};
    return priority_.replace(number, message);
}

void Outbox::close() noexcept
{
    is_open_.store(false, std::memory_order_seq_cst);
    written_.wake();
}

// --- connections

void Outbox::open(std::uint32_t connection)
{
    std::lock_guard lock{mutex_};
    connection_ = connection;
    has_lost_ = false;
    is_open_.store(true, std::memory_order_seq_cst);
}

void Outbox::end_connection(bool keep)
{
    out_.gate = SendGate::shut;
    out_.keep_at_end = keep && out_.keep_at_end.value_or(true);
    {
        std::lock_guard lock{mutex_};
        connection_ = 0;
        is_open_.store(keep && is_open(), std::memory_order_seq_cst);
        if (!keep)
            ++drops_;
        if (!out_.is_out)
            settle_end();
    }
    written_.wake();
}

/// With mutex_ held, and no batch out.
void Outbox::settle_end()
{
    if (!out_.keep_at_end)
        return;
    const bool keep = *std::exchange(out_.keep_at_end, std::nullopt);
    report_priority_loss(priority_.end_connection(keep), FlushResult::lost);
    update_has_priority();
    if (client_) // a client does not come back
        report_client_loss(client_->lose_waiting(), FlushResult::lost);
    if (!owner_)
        return;
    if (!keep)
        return lose_until(*owner_, owner_->write_position());
    // Each mark behind the first bound message waits for a message that will be dropped in its turn
    for (const auto& condition : conditions_)
        if (condition.connection != 0 && condition.position >= owner_->read_position())
            return report_loss(condition.position, FlushResult::lost);
}

/// With mutex_ held.
void Outbox::lose_until(RecordRing& ring, std::uint64_t position)
{
    if (ring.read_position() < std::min(position, ring.published()))
        report_loss(ring.read_position(), FlushResult::lost);
    while (ring.read_position() < position && ring.read_position() != ring.published()) {
        ring.pop();
        lost_.fetch_add(1);
    }
    ring.publish_reads();
}

// --- writing

std::optional<Batch> Outbox::next_batch()
{
    auto* const ring = ring_.load(std::memory_order_seq_cst);
    auto end = ring ? ring->published() : 0;
    // After published(): a subscription that was added before an ordinary message is then seen
    const auto priority = [&]() -> std::optional<Batch> {
        if (!has_priority_.load(std::memory_order_seq_cst) || !take_priority(end)) [[likely]]
            return std::nullopt;
        out_.end = priority_bit | priority_.writing_end();
        return Batch{*this, priority_bit | priority_.writing().front().number, out_.end};
    };
    // After acknowledgements alone it is the turn of ordinary messages: a receiver that takes without
    // a pause would never send
    const bool is_their_turn = std::exchange(out_.origin, PriorityMessage::Origin::application)
                                   == PriorityMessage::Origin::acknowledgement
                               && ring && out_.gate == SendGate::open && ring->read_position() < end
                               && !holds_ordinary_messages();
    if (auto batch = is_their_turn ? std::nullopt : priority())
        return batch;
    if (overflow_) [[unlikely]]
        return next_client_batch();
    if (!ring || out_.gate != SendGate::open)
        return std::nullopt;
    if (has_conditions_.load(std::memory_order_relaxed)) [[unlikely]]
        end = pass_over_unmet(*ring, end);
    if (ring->read_position() >= end)
        return priority(); // a subscription may have waited for dropped messages
    return hand_out(ring->read_position(), end);
}

/// Makes the batch of ordinary messages that is out.
Batch Outbox::hand_out(std::uint64_t begin, std::uint64_t end) noexcept
{
    out_.is_out = true;
    out_.was_marked = false;
    out_.end = end;
    return {*this, begin, end};
}

/// Takes messages of the priority queue. False: none may be written now. Reduces `end` to where
/// ordinary messages must wait for a subscription.
bool Outbox::take_priority(std::uint64_t& end)
{
    PriorityQueue::Dropped dropped;
    {
        std::lock_guard lock{mutex_};
        if (out_.gate >= SendGate::restoring) {
            dropped = priority_.drop(connection_, clock_.now());
            report_priority_loss(dropped.first_unsent, FlushResult::lost);
            report_priority_loss(dropped.first_late, FlushResult::late);
        }
        out_.is_out = priority_.take(out_.gate, owner_ ? owner_->read_position() : 0);
        end = std::min(end, priority_.first_place());
        update_has_priority();
    }
    if (dropped.first_late != PriorityQueue::no_number
        || dropped.first_unsent != PriorityQueue::no_number)
        written_.wake(); // flush() may wait for dropped messages
    out_.was_marked = false;
    if (out_.is_out)
        out_.origin = priority_.writing().back().origin;
    return out_.is_out;
}

/// Drops messages at the front that are late or bound to another connection. Returns the position
/// of the next such message, or `end`.
std::uint64_t Outbox::pass_over_unmet(RecordRing& ring, std::uint64_t end)
{
    {
        std::lock_guard lock{mutex_};
        const auto now = clock_.now();
        for (const auto& [position, deadline, bound_to] : conditions_) {
            const bool is_late = deadline <= now;
            const bool is_met = !is_late && (bound_to == 0 || bound_to == connection_);
            if (is_met || position < ring.read_position())
                continue;
            if (position != ring.read_position() || position >= end) {
                end = std::min(end, position);
                break;
            }
            report_loss(position, is_late ? FlushResult::late : FlushResult::lost);
            ring.pop();
            lost_.fetch_add(1);
            late_.fetch_add(is_late ? 1 : 0);
        }
        std::erase_if(conditions_, [&](const auto& condition) {
            return condition.position < ring.read_position();
        });
        if (conditions_.empty())
            conditions_ = std::vector<SendCondition>{}; // releases a burst's memory
        has_conditions_.store(!conditions_.empty(), std::memory_order_relaxed);
        ring.publish_reads();
    }
    written_.wake();
    return end;
}

void Outbox::begin_write(const Batch& part)
{
    out_.end = part.end_position();
    if ((out_.end & priority_bit) == 0) [[likely]] {
        if (overflow_) {
            std::lock_guard lock{mutex_};
            client_->put_back(out_.end);
        }
        return;
    }
    {
        std::lock_guard lock{mutex_};
        priority_.put_back(out_.end & ~priority_bit);
    }
    for (const auto& message : priority_.writing())
        if (message.on_step)
            message.on_step(message.number, PriorityMessage::Step::writing);
}

void Outbox::put_back()
{
    std::lock_guard lock{mutex_};
    priority_.put_back(0);
    update_has_priority();
    if (client_)
        client_->put_back(0);
    out_.is_out = false;
    settle_end();
}

void Outbox::finish(const Batch& batch)
{
    batch.mark_written(SIZE_MAX);
    out_.is_out = false;
    if (!out_.keep_at_end) [[likely]]
        return;
    std::lock_guard lock{mutex_};
    settle_end();
}

/// If the transport marked messages, only the first one without a mark may be written in part;
/// otherwise any may be.
void Outbox::give_up()
{
    {
        std::lock_guard lock{mutex_};
        if (out_.is_out && (out_.end & priority_bit) != 0) {
            report_priority_loss(priority_.lose_writing(out_.was_marked ? 1 : SIZE_MAX),
                                 FlushResult::lost);
            priority_.put_back(0);
            update_has_priority();
        } else if (out_.is_out && overflow_) {
            // All of them: the queue of a client ends with its connection
            report_client_loss(client_->lose_writing(), FlushResult::lost);
        } else if (out_.is_out) {
            const auto begin = owner_->read_position();
            if (out_.end > begin)
                lose_until(*owner_, out_.was_marked ? begin + 1 : out_.end);
        }
        out_.is_out = false;
        settle_end();
    }
    written_.wake();
}

bool Outbox::has_unsent() const
{
    if (out_.is_out || (ring() && !ring()->empty()))
        return true;
    std::lock_guard lock{mutex_};
    return priority_.counts().queued != 0 || priority_.counts().acknowledgements != 0
           || (client_ && !client_->empty());
}

/// Does not look at the priority queue: each of its senders wakes the writer.
bool Outbox::prepare_sleep() noexcept
{
    if (out_.gate != SendGate::open)
        return true;
    writer_sleeps_.store(true, std::memory_order_seq_cst);
    if (overflow_) {
        std::lock_guard lock{mutex_};
        return !client_ || !client_->has_waiting();
    }
    auto* const ring = ring_.load(std::memory_order_seq_cst);
    if (ring && ring->has_spare_blocks())
        ring->free_spare_blocks();
    if (ring && ring->is_worth_restarting()) {
        std::lock_guard lock{mutex_};
        if (ring->empty())
            ring->restart();
    }
    return !ring || ring->published() == ring->read_position();
}

MessageView Outbox::read(std::uint64_t& position) const
{
    if ((position & priority_bit) != 0) [[unlikely]] {
        auto number = position & ~priority_bit;
        const auto message = priority_.read(number);
        position = priority_bit | number;
        return message;
    }
    if (overflow_)
        return client_->read(position).view(link_);
    // A record holds only 24 bits of the link's number
    return ring_.load(std::memory_order_relaxed)->read(position, link_);
}

Outbox::Counts Outbox::counts() const
{
    Counts counts;
    std::lock_guard lock{mutex_};
    const auto& priority = priority_.counts();
    counts.sent = sent_.load();
    counts.sent_bytes = sent_bytes_.load();
    counts.accepted = priority.accepted;
    counts.late = late_.load() + priority.late;
    counts.lost = lost_.load() + priority.unsent + priority.late;
    counts.queued = priority.queued;
    counts.queued_bytes = priority.queued_bytes;
    if (client_) {
        const auto& client = client_->counts();
        counts.accepted += client.accepted;
        counts.sent += client.sent;
        counts.sent_bytes += client.sent_bytes;
        counts.late += client.late;
        counts.dropped = client.dropped;
        counts.conflated = client.conflated;
        counts.lost += client.lost + client.late + client.dropped + client.conflated;
        counts.queued += client.queued;
        counts.queued_bytes += client.queued_bytes;
        counts.peak_messages = client.peak_messages;
        counts.peak_bytes = client.peak_bytes;
    }
    if (owner_) {
        const auto ring = owner_->counts();
        counts.accepted += ring.pushed;
        counts.queued += ring.queued();
        counts.queued_bytes += ring.queued_bytes();
        counts.peak_messages = ring.peak_messages;
        counts.peak_bytes = ring.peak_bytes;
    }
    return counts;
}

} // namespace sidecar::detail
