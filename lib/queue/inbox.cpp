#include "queue/inbox.hpp"

#include "base/failures.hpp"
#include "queue/receive_call.hpp"

#include <algorithm>
#include <thread>
#include <utility>

namespace sidecar::detail {

// --- sidecar side

/// Stamps the messages that follow with the begin of the running handler. Mostly two compares.
void Inbox::stamp(LinkId link, std::uint32_t connection, std::size_t payload_bytes)
{
    const Stamp stamp{link, connection, clock_.iteration_began()};
    if (!(stamp == producer_.stamp))
        ring_.stamp(producer_.stamp = stamp, payload_bytes);
    producer_.stamped_link = static_cast<std::uint32_t>(link);
}

void Inbox::publish_some()
{
    if (++producer_.unannounced >= bits_to_wake_for)
        publish_all();
    else
        publish_ring();
}

void Inbox::publish_ring()
{
    producer_.stamped_link = no_link;
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

void Inbox::push_event(Event event)
{
    publish();
    event.at = clock_.iteration_began();
    beside_.push(ring_.write_position(), std::make_unique<Event>(std::move(event)));
    arrived_.wake();
    ready_.raise();
}

void Inbox::push_gap(LinkId link, std::uint64_t missing)
{
    publish();
    beside_.miss(link, ring_.write_position(), missing, clock_.iteration_began());
    arrived_.wake();
    ready_.raise();
}

/// A consumer that sees the message must see the ring's records before it.
LinkQueue::PutOutcome Inbox::push_to(LinkQueue& queue, StoredKind kind,
                                     std::span<const std::byte> payload)
{
    if (!ring_.is_published())
        publish_ring();
    const auto outcome = beside_.put(queue, ring_.write_position(), {queue.link(), kind, payload},
                                     clock_.iteration_began());
    if (outcome == LinkQueue::PutOutcome::taken && ++producer_.unannounced >= bits_to_wake_for)
        publish_all();
    return outcome;
}

std::span<std::byte> Inbox::receive_buffer(std::size_t at_least)
{
    // A receiver that is close behind finds in the cache all that it reads, and releases memory
    // that is there too.
    constexpr Duration most = std::chrono::microseconds{10};
    if (receive_buffers_.is_far_ahead(at_least) && !clock_.is_virtual())
        (void)producer_.spin_for_consumer.until(
            [&] { return !receive_buffers_.is_far_ahead(at_least); }, most, Spin::considerate);
    return receive_buffers_.buffer(at_least);
}

Block Inbox::reserve(std::size_t payload_bytes)
{
    if (payload_bytes <= ring_.largest_copied() || !ring_.budget().lend(payload_bytes))
        return {};
    return ring_.take_block(payload_bytes, payload_bytes);
}

bool Inbox::push_reserved(LinkId link, StoredKind kind, Block& block, std::size_t payload_bytes,
                          std::uint32_t connection)
{
    stamp(link, connection, payload_bytes);
    return ring_.push_block(LinkId{}, kind, block, payload_bytes, payload_bytes);
}

void Inbox::cancel_reserved(std::size_t payload_bytes) noexcept
{
    ring_.budget().put_back(payload_bytes);
    if (space_wanted_.exchange(false))
        call_on_space();
}

// --- both

void Inbox::end()
{
    ended_.store(true, std::memory_order_seq_cst);
    arrived_.wake();
    lock_.wake();
    ready_.raise();
}

void Inbox::end_from_signal() noexcept
{
    ended_.store(true, std::memory_order_seq_cst);
    arrived_.wake_from_signal();
    lock_.wake_from_signal();
    ready_.raise_for_good(); // from now on there is always something to receive
}

void Inbox::set_terminal_failure(const std::optional<Failure>& why)
{
    {
        std::lock_guard lock{terminal_mutex_};
        terminal_ = why ? std::optional{as_end(*why)} : std::nullopt;
        is_terminal_.store(terminal_.has_value(), std::memory_order_seq_cst);
    }
    arrived_.wake();
    if (is_terminal_.load())
        ready_.raise();
}

void Inbox::notify_through(std::shared_ptr<const NotifyFd> fd)
{
    ready_.attach(std::move(fd));
    if (has_something())
        ready_.raise();
}

bool Inbox::has_something() const noexcept
{
    return !ring_.empty() || beside_.has_any() || is_final();
}

Inbox::Counts Inbox::counts() const
{
    const auto ring = ring_.counts();
    const auto beside = beside_.counts();
    return {.received = ring.pushed + beside.received,
            .received_bytes = ring.pushed_bytes + beside.received_bytes,
            .taken = ring.popped + beside.taken,
            .queued = ring.queued() + beside.queued(),
            .queued_bytes = ring.queued_bytes() + beside.queued_bytes(),
            .peak_messages = ring.peak_messages + beside.peak_messages,
            .peak_bytes = ring.peak_bytes + beside.peak_bytes,
            .lost = beside.lost};
}

Duration Inbox::oldest_age() const
{
    auto oldest = beside_.oldest();
    std::optional<TimePoint> first;
    while (!ring_.empty()) {
        if (lock_.try_lock_to_look()) {
            if (ring_.read_position() < ring_.published()) {
                first = ring_.front().arrival();
            }
            lock_.unlock();
            break;
        }
        const Duration arrival{consumer_.arrival.load(std::memory_order_relaxed)};
        if (arrival != Duration{} && lock_.has_handler()) {
            first = TimePoint{arrival};
            break;
        }
        std::this_thread::yield();
    }
    if (first && (!oldest || *first < *oldest))
        oldest = first;
    return oldest ? std::max(clock_.now() - *oldest, Duration{}) : Duration{};
}

// --- app side

/// For oldest_age() while a handler runs.
void Inbox::update_front() noexcept
{
    consumer_.arrival.store(ring_.front().arrival().time_since_epoch().count(),
                            std::memory_order_relaxed);
}

Inbox::Next Inbox::next()
{
    const auto published = ring_.published();
    if (beside_.is_due(ring_.read_position())) [[unlikely]]
        return Next::event;
    return ring_.read_position() < published ? Next::message : Next::nothing;
}

Failure Inbox::nothing_left() const
{
    if (ended())
        return Error::stopped;
    std::lock_guard lock{terminal_mutex_};
    return terminal_.value_or(nothing_came());
}

/// Constructs the result in place: a message holds its bytes, so each move would copy them.
Result<Message> Inbox::take_message()
{
    using Built = Result<Message>;
    const auto view = ring_.front();
    const Stored stored{view};
    auto message = ring_.front_has_block() ? Built{Built::in_place_value, view.link(),
                                                   stored.kind,           ring_.take_front_block(),
                                                   stored.bytes.size(),   view.connection(),
                                                   view.arrival()}
                                           : Built{Built::in_place_value, view};
    count_taken(view.arrival());
    tell_taken(view);
    ring_.pop();
    return message;
}

PolicyQueue::Taken Inbox::take_beside(PolicyQueue::Ends ends)
{
    auto taken = beside_.take(ring_.read_position(), ends);
    if (taken.frees_space)
        call_on_space();
    if (taken.event && taken.event->kind == Event::Kind::message)
        count_taken(taken.event->at);
    // A link may have been opened since the last one ended
    if (taken.event && taken.event->failure && has_link_.load(std::memory_order_relaxed))
        taken.event->failure = taken.event->failure->with_retry(true);
    return taken;
}

Result<Message> Inbox::receive(Duration timeout)
{
    ReceiveCall call{*this, timeout};
    for (;;) {
        switch (call.wait()) {
        case Next::nothing: return call.failure();
        case Next::message: return take_message();
        case Next::event: break;
        }
        auto event = take_beside(PolicyQueue::Ends::take).event;
        if (!event)
            continue;
        if (event->kind == Event::Kind::message) {
            tell_taken(event->message.view());
            return std::move(event->message);
        }
        if (ends_call(*event))
            return to_failure(*std::move(event));
    }
}

Result<Event> Inbox::next_event(Duration timeout)
{
    ReceiveCall call{*this, timeout};
    for (std::optional<Event> event;;) {
        const auto next = call.wait();
        if (consumer_.has_stopped.load()) // `stopped` was the last, whatever the loop adds
            return Failure{Error::stopped};
        switch (next) {
        case Next::nothing:
            if (!(call.failure() == Error::stopped) || consumer_.has_stopped.exchange(true))
                return call.failure();
            event = Event{.at = clock_.now()}; // its kind is `stopped`
            break;
        case Next::message:
            event = Event{.kind = Event::Kind::message};
            event->message = *take_message();
            event->link = event->message.link();
            event->connection = event->message.connection();
            event->at = event->message.arrival();
            break;
        case Next::event:
            event = take_beside(PolicyQueue::Ends::take).event;
            if (event && event->kind == Event::Kind::message)
                tell_taken(event->message.view());
            break;
        }
        if (!event)
            continue;
        if (event->wall_time == WallTime{})
            event->wall_time = wall_time(event->at);
        return *std::move(event);
    }
}

WallTime Inbox::wall_time(TimePoint at) const
{
    using std::chrono::duration_cast, std::chrono::system_clock;
    if (clock_.is_virtual())
        return WallTime{duration_cast<WallTime::duration>(at.time_since_epoch())};
    return system_clock::now() - duration_cast<WallTime::duration>(clock_.now() - at);
}

Result<std::size_t> Inbox::poll(MessageHandler handler, std::size_t limit)
{
    if (!lock_.try_lock()) {
        if (lock_.is_in_handler())
            return Failure{Error::misuse, {.attempted = "poll", .explanation = nested_in_handler}};
        return std::size_t{0}; // another thread is taking them
    }
    struct Unlock {
        Inbox& inbox;
        ~Unlock()
        {
            inbox.lock_.end_handler();
            inbox.consumer_.arrival.store(0, std::memory_order_relaxed);
            inbox.unlock();
        }
    };
    const Unlock unlock_at_end{*this}; // also when the handler throws
    bool has_popped = false;           // a message, not published yet
    lock_.begin_handler();
    const bool was_final = is_final();
    if (was_final)
        lock_.wake(); // for a receiver that waits for the lock
    std::size_t count = 0;
    while (count < limit) {
        const auto next = this->next();
        if (next == Next::nothing)
            break;
        if (std::exchange(has_popped, next == Next::message))
            publish_reads();
        if (next == Next::message) {
            count += hand_over(handler, limit - count);
            continue;
        }
        // An event that ends the call is for the next call if messages were handed over before.
        auto taken = take_beside(count == 0 ? PolicyQueue::Ends::take : PolicyQueue::Ends::leave);
        if (taken.is_left)
            break;
        auto& event = taken.event;
        if (!event)
            continue;
        if (ends_call(*event))
            return to_failure(*std::move(event));
        if (event->kind == Event::Kind::message) {
            ++count;
            if (ring_.read_position() < ring_.published())
                update_front();
            handler(event->message.view());
            tell_taken(event->message.view());
        }
    }
    poll_found(count);
    if (count == 0 && was_final && limit != 0)
        return nothing_left();
    return count;
}

/// Hands over a part: poll() releases its space then, so that the loop can continue during a long
/// poll.
std::size_t Inbox::hand_over(MessageHandler handler, std::size_t limit)
{
    constexpr std::size_t stride = 256, stride_bytes = 64u << 10;
    update_front();
    // In this order: an entry that is added later is behind all that is published now.
    const auto published = ring_.published();
    const auto until = std::min(published, beside_.next_position());
    const auto most = std::min(limit, stride);
    std::size_t count = 0;
    const auto bytes_at_start = ring_.popped_bytes_so_far();
    do {
        struct Pop {
            RecordRing& ring;
            ~Pop() { ring.pop(); }
        } pop{ring_};
        const auto view = ring_.front();
        ++count;
        count_taken(view.arrival());
        handler(view);
        tell_taken(view);
    } while (count < most && ring_.read_position() < until
             && ring_.popped_bytes_so_far() - bytes_at_start < stride_bytes);
    return count;
}

void Inbox::poll_found(std::size_t count)
{
    if (count != 0) {
        consumer_.idle_since = {};
        return;
    }
    consumer_.ages.ran_dry();
    if (!ring_.has_spare_blocks())
        return;
    const auto now = clock_.now();
    if (consumer_.idle_since == TimePoint{})
        consumer_.idle_since = now;
    else if (now - consumer_.idle_since >= idle_time)
        release_spare_memory();
}

void Inbox::release_spare_memory()
{
    if (ring_.has_spare_blocks())
        ring_.free_spare_blocks();
}

// --- space that the consumer frees

void Inbox::publish_reads() noexcept
{
    ring_.publish_reads(std::memory_order_release);
    lock_.fence();
    wake_space_waiters();
}

void Inbox::unlock() noexcept
{
    ring_.publish_reads(std::memory_order_release);
    ready_.lower_unless([this] { return has_something(); });
    lock_.unlock(); // orders the frees before the check for waiting links
    wake_space_waiters();
}

void Inbox::look_for_space_waiters() noexcept
{
    const bool is_due = space_due_.load(std::memory_order_relaxed) && space_due_.exchange(false);
    const bool is_wanted = space_wanted_.load(std::memory_order_seq_cst) && ring_.half_free()
                           && space_wanted_.exchange(false);
    if (is_due || is_wanted)
        call_on_space();
}

void Inbox::call_on_space() noexcept
{
    try {
        if (on_space)
            on_space();
    } catch (...) { // no memory; the next unlock() tries again
        space_due_.store(true);
    }
}

} // namespace sidecar::detail
