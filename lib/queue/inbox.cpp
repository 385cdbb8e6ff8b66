#include "queue/inbox.hpp"

#include <algorithm>
#include <utility>

namespace sidecar::detail {

/// The right to consume, held by one thread at a time.
class Inbox::Consumer {
public:
    /// `deadline` is filled in by the first who has to wait: only then is the clock asked.
    Consumer(Inbox& inbox, Duration timeout, std::optional<TimePoint>& deadline) : inbox_{inbox}
    {
        if (inbox.consumer_.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
            is_nested_ = true; // called from a poll() handler: waiting for oneself would never end
            return;
        }
        const auto acquire = [&inbox] {
            return !inbox.consuming_.exchange(true, std::memory_order_seq_cst);
        };
        held_ = acquire();
        // Another thread consumes, perhaps for long: a stop must wake this one all the same
        if (!held_ && timeout > Duration{})
            (void)inbox.consumer_free_.wait_until(
                inbox.clock_, inbox.deadline(timeout, deadline),
                [&] { return (held_ = held_ || acquire()) || inbox.ended(); });
        if (held_)
            inbox.consumer_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    }
    Consumer(const Consumer&) = delete;
    Consumer& operator=(const Consumer&) = delete;
    ~Consumer()
    {
        if (!held_)
            return;
        inbox_.consumer_.store({}, std::memory_order_relaxed);
        inbox_.consuming_.store(false, std::memory_order_seq_cst);
        inbox_.consumer_free_.wake();
    }
    [[nodiscard]] std::optional<Failure> refused() const
    {
        if (is_nested_)
            return Failure{
                Error::misuse,
                {.attempted = "receive", .explanation = "called from within a poll() handler"}};
        if (!held_)
            return Failure{inbox_.ended() ? Error::stopped : Error::timed_out};
        return std::nullopt;
    }

private:
    Inbox& inbox_;
    bool held_ = false;
    bool is_nested_ = false;
};

void Inbox::publish_some()
{
    if (++unannounced_ >= bits_to_wake_for)
        publish_all();
    else
        ring_.publish();
}

void Inbox::publish_all()
{
    unannounced_ = 0;
    ring_.publish();
    if (arrived_.wake())
        wakeups_.fetch_add(1, std::memory_order_relaxed);
    raise_fd();
}

void Inbox::push_event(Event::Kind kind, LinkId link, std::optional<Failure> failure)
{
    publish();
    {
        std::lock_guard lock{events_mutex_};
        events_.push_back({ring_.write_position(), kind, link, std::move(failure)});
        event_count_.store(events_.size(), std::memory_order_seq_cst);
    }
    arrived_.wake();
    raise_fd();
}

bool Inbox::want_room(std::size_t payload_bytes)
{
    room_wanted_.store(true, std::memory_order_seq_cst);
    return ring_.has_room(payload_bytes) || ended();
}

void Inbox::end()
{
    ended_.store(true, std::memory_order_seq_cst);
    arrived_.wake();
    consumer_free_.wake();
    raise_fd();
}

void Inbox::end_from_signal() noexcept
{
    ended_.store(true, std::memory_order_seq_cst);
    arrived_.wake_from_signal();
    consumer_free_.wake_from_signal();
    if (const auto* fd = raw_fd_.load(std::memory_order_seq_cst))
        fd->raise(); // for good: from now on there is always something to be told
}

void Inbox::set_hopeless(std::optional<Failure> why)
{
    {
        std::lock_guard lock{events_mutex_};
        hopeless_ = std::move(why);
        is_hopeless_.store(hopeless_.has_value(), std::memory_order_seq_cst);
    }
    arrived_.wake();
}

bool Inbox::has_something() const noexcept
{
    return !ring_.empty() || event_count_.load(std::memory_order_seq_cst) != 0 || ended()
           || is_hopeless_.load(std::memory_order_seq_cst);
}

Inbox::Next Inbox::next()
{
    const auto published = ring_.published();
    if (event_count_.load(std::memory_order_seq_cst) != 0) {
        std::lock_guard lock{events_mutex_};
        if (events_.front().position <= ring_.read_position())
            return Next::event;
    }
    return ring_.read_position() < published ? Next::message : Next::nothing;
}

Inbox::LinkEvent Inbox::take_event()
{
    std::lock_guard lock{events_mutex_};
    auto event = std::move(events_.front());
    events_.pop_front();
    event_count_.store(events_.size(), std::memory_order_seq_cst);
    return event;
}

Message Inbox::take_message()
{
    auto message = ring_.take(ring_.settle(ring_.read_position()));
    ring_.pop();
    took();
    return message;
}

void Inbox::took()
{
    ring_.publish_reads();
    if (room_wanted_.load(std::memory_order_seq_cst) && ring_.half_free()
        && room_wanted_.exchange(false))
        on_room();
}

TimePoint Inbox::deadline(Duration timeout, std::optional<TimePoint>& known) const
{
    if (!known)
        known = deadline_after(clock_.now(), timeout);
    return *known;
}

Failure Inbox::nothing_left() const
{
    if (ended())
        return Error::stopped;
    std::lock_guard lock{events_mutex_};
    return hopeless_ ? *hopeless_ : Failure{Error::timed_out};
}

/// Runs `take` until it gives a result, sleeping in between; `take` gives nothing (an empty
/// optional) when the queue is empty.
template <class Take>
auto Inbox::wait_and_take(Duration timeout, Take take) -> decltype(take())
{
    std::optional<TimePoint> deadline;
    for (;;) {
        {
            Consumer consumer{*this, timeout, deadline};
            if (auto failure = consumer.refused())
                return *failure;
            for (;;) {
                auto result = take();
                if (result) {
                    settle_fd();
                    return result;
                }
                // The end is looked at before the queue is looked at again, or a last message could
                // be missed.
                const bool is_final = ended() || is_hopeless_.load(std::memory_order_seq_cst);
                if (next() != Next::nothing)
                    continue;
                settle_fd();
                if (is_final)
                    return std::optional<typename decltype(take())::value_type>{nothing_left()};
                break;
            }
        }
        if (timeout <= Duration{})
            return std::optional<typename decltype(take())::value_type>{Failure{Error::timed_out}};
        if (!clock_.is_virtual()
            && linger_.until([this] { return has_something(); }, ring_.popped_bytes()))
            continue;
        if (!arrived_.wait_until(
                clock_, this->deadline(timeout, deadline), [this] { return has_something(); },
                spin_))
            return std::optional<typename decltype(take())::value_type>{Failure{Error::timed_out}};
    }
}

Result<Message> Inbox::receive(Duration timeout)
{
    return *wait_and_take(timeout, [this]() -> std::optional<Result<Message>> {
        for (;;) {
            switch (next()) {
            case Next::nothing: return std::nullopt;
            case Next::message: return take_message();
            case Next::event:
                if (auto event = take_event(); event.kind == Event::Kind::down)
                    return std::move(*event.failure);
            }
        }
    });
}

Result<Event> Inbox::next_event(Duration timeout)
{
    auto result = *wait_and_take(timeout, [this]() -> std::optional<Result<Event>> {
        switch (next()) {
        case Next::nothing: return std::nullopt;
        case Next::message: {
            auto message = take_message();
            const auto link = message.link();
            return Event{Event::Kind::message, link, std::move(message), std::nullopt};
        }
        case Next::event: break;
        }
        auto event = take_event();
        return Event{event.kind, event.link, {}, std::move(event.failure)};
    });
    if (!result && result.error() == Error::stopped)
        return Event{Event::Kind::stopped, {}, {}, std::nullopt};
    return result;
}

Result<std::size_t> Inbox::poll(MessageHandler handler, std::size_t limit)
{
    std::optional<TimePoint> no_deadline;
    Consumer consumer{*this, Duration{}, no_deadline};
    if (auto failure = consumer.refused()) {
        if (!(*failure == Error::misuse))
            return std::size_t{0}; // another thread is taking them
        return *failure;
    }
    std::size_t count = 0;
    // Room is given back now and then, so that the loop can go on while a long poll lasts.
    constexpr std::size_t stride = 256, stride_bytes = 64u << 10;
    struct GiveBack {
        Inbox& inbox;
        ~GiveBack() { inbox.took(); }
    };
    const bool is_final = ended() || is_hopeless_.load(std::memory_order_seq_cst);
    while (count < limit) {
        const auto published = ring_.published();
        const bool has_events = event_count_.load(std::memory_order_seq_cst) != 0;
        const auto state = next();
        if (state == Next::event) {
            if (auto event = take_event(); event.kind == Event::Kind::down) {
                if (count == 0)
                    return std::move(*event.failure);
                // The messages before it were handed over; the failure is for the next call.
                std::lock_guard lock{events_mutex_};
                events_.push_front(std::move(event));
                event_count_.store(events_.size(), std::memory_order_seq_cst);
                break;
            }
            continue;
        }
        if (state == Next::nothing)
            break;
        const auto stop_at = std::min<std::size_t>(limit, count + stride);
        const auto bytes_at_start = ring_.popped_bytes_so_far();
        const GiveBack give_back{*this}; // also when the handler throws
        do {
            struct Pop {
                RecordRing& ring;
                ~Pop() { ring.pop(); }
            } pop{ring_};
            ++count;
            handler(ring_.view(ring_.settle(ring_.read_position())));
        } while (count < stop_at && !has_events && ring_.read_position() < published
                 && ring_.popped_bytes_so_far() - bytes_at_start < stride_bytes);
    }
    settle_fd();
    if (count == 0 && is_final && limit != 0)
        return nothing_left();
    return count;
}

void Inbox::notify_through(std::shared_ptr<const NotifyFd> fd)
{
    {
        std::lock_guard lock{fd_mutex_};
        fd_ = std::move(fd);
        fd_raised_ = false;
        fd_->lower();
        raw_fd_.store(fd_.get(), std::memory_order_seq_cst);
    }
    if (has_something())
        raise_fd();
}

void Inbox::raise_fd()
{
    if (!raw_fd_.load(std::memory_order_seq_cst))
        return;
    std::lock_guard lock{fd_mutex_};
    if (!std::exchange(fd_raised_, true))
        fd_->raise();
}

void Inbox::settle_fd()
{
    if (!raw_fd_.load(std::memory_order_relaxed))
        return;
    std::lock_guard lock{fd_mutex_};
    if (!fd_raised_ || has_something())
        return;
    fd_->lower();
    fd_raised_ = false;
    // A message published between the look and the lowering found the flag up and wrote nothing.
    if (has_something()) {
        fd_raised_ = true;
        fd_->raise();
    }
}

} // namespace sidecar::detail
