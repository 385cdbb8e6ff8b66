// The loop's side of the inbox: putting in, memory, waiting for space.
#include "queue/inbox.hpp"

#include <algorithm>
#include <utility>

namespace sidecar::detail {

// --- sidecar side

void Inbox::publish_some()
{
    if (++producer_.unannounced >= bits_to_wake_for)
        publish_all();
    else
        publish_ring();
}

void Inbox::publish_ring()
{
    arrivals_.note(ring_.unpublished_position(), clock_.turn_began());
    ring_.publish();
}

void Inbox::publish_all()
{
    producer_.unannounced = 0;
    publish_ring();
    if (arrived_.wake())
        producer_.wakeups.fetch_add(1, std::memory_order_relaxed);
    ready_.raise();
}

void Inbox::push_event(LinkEvent event)
{
    publish();
    if (event.at == TimePoint{})
        event.at = clock_.now();
    event.position = ring_.write_position();
    side_.push(std::move(event));
    arrived_.wake();
    ready_.raise();
}

/// Who is told that something stands beside the ring must find there what comes before it.
SideQueue::Put Inbox::push_to(LinkQueue& queue, MessageKind kind,
                              std::span<const std::byte> payload)
{
    if (!ring_.is_published())
        publish_ring();
    const auto put = side_.put(queue, ring_.write_position(), kind, payload, clock_.turn_began());
    if (put == SideQueue::Put::taken && ++producer_.unannounced >= bits_to_wake_for)
        publish_all();
    return put;
}

std::span<std::byte> Inbox::receive_buffer(std::size_t at_least)
{
    // A receiver that is close behind still finds in the cache what it reads, and gives back
    // memory that is there too.
    if (receive_memory_.is_far_ahead(at_least))
        (void)producer_.yield.until([&] { return !receive_memory_.is_far_ahead(at_least); },
                                    ring_.pushed_bytes_so_far());
    return receive_memory_.buffer(at_least, producer_.largest_limit);
}

Block Inbox::reserve(std::size_t payload_bytes)
{
    auto& budget = ring_.budget();
    if (payload_bytes <= ring_.largest_copied()
        || producer_.reserved_bytes + payload_bytes > budget.limit() / 2
        || !budget.take(payload_bytes, producer_.largest_limit))
        return {};
    try {
        auto block = ring_.take_block(payload_bytes);
        producer_.reserved_bytes += payload_bytes;
        return block;
    } catch (...) {
        budget.put_back(payload_bytes);
        throw;
    }
}

bool Inbox::push_reserved(LinkId link, MessageKind kind, Block& block, std::size_t payload_bytes)
{
    if (!ring_.push_block(link, kind, block, payload_bytes, payload_bytes))
        return false;
    producer_.reserved_bytes -= payload_bytes;
    return true;
}

void Inbox::cancel_reserved(std::size_t payload_bytes) noexcept
{
    producer_.reserved_bytes -= payload_bytes;
    ring_.budget().put_back(payload_bytes);
    if (space_wanted_.exchange(false) && on_space)
        on_space();
}

void Inbox::ask_for_space() noexcept
{
    space_wanted_.store(true, std::memory_order_seq_cst);
    right_.synchronise();
}

// --- both

void Inbox::end()
{
    ended_.store(true, std::memory_order_seq_cst);
    arrived_.wake();
    right_.wake();
    ready_.raise();
}

void Inbox::end_from_signal() noexcept
{
    ended_.store(true, std::memory_order_seq_cst);
    arrived_.wake_from_signal();
    right_.wake_from_signal();
    ready_.raise_for_good(); // from now on there is always something to be told
}

void Inbox::set_terminal_failure(std::optional<Failure> why)
{
    const bool is_terminal = why.has_value();
    terminal_.set(std::move(why));
    arrived_.wake();
    if (is_terminal)
        ready_.raise();
}

Inbox::Counts Inbox::counts() const
{
    const auto ring = ring_.counts();
    const auto side = side_.counts();
    return {.received = ring.pushed + side.received,
            .received_bytes = ring.pushed_bytes + side.received_bytes,
            .taken = ring.popped + side.taken,
            .queued = ring.queued() + side.queued(),
            .queued_bytes = ring.queued_bytes() + side.queued_bytes(),
            .peak_messages = ring_.peak_messages() + side.peak_messages,
            .peak_bytes = ring_.peak_bytes() + side.peak_bytes,
            .lost = side.lost};
}

Duration Inbox::oldest_age() const
{
    auto oldest = side_.oldest();
    if (!ring_.empty())
        if (const auto at = arrivals_.peek(ring_.reads_published());
            at && (!oldest || *at < *oldest))
            oldest = at;
    return oldest ? std::max(clock_.now() - *oldest, Duration{}) : Duration{};
}

bool Inbox::has_something() const noexcept
{
    return !ring_.empty() || side_.has_any() || is_final();
}

} // namespace sidecar::detail
