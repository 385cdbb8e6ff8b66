// The loop's side of the inbox: putting in, memory, waiting for space.
#include "queue/inbox.hpp"

#include <utility>

namespace sidecar::detail {

// --- sidecar side

void Inbox::publish_some()
{
    if (++producer_.unannounced >= bits_to_wake_for)
        publish_all();
    else
        ring_.publish();
}

void Inbox::publish_all()
{
    producer_.unannounced = 0;
    ring_.publish();
    if (arrived_.wake())
        wakeups_.fetch_add(1, std::memory_order_relaxed);
    ready_.raise();
}

void Inbox::push_event(LinkEvent event)
{
    publish();
    event.position = ring_.write_position();
    events_.push(std::move(event));
    arrived_.wake();
    ready_.raise();
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

bool Inbox::has_something() const noexcept
{
    return !ring_.empty() || events_.has_any() || is_final();
}

} // namespace sidecar::detail
