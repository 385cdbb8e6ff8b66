// The application's side of the inbox: receive, next_event, poll.
#include "queue/inbox.hpp"

#include <utility>

namespace sidecar::detail {
namespace {

Failure nested(const char* attempted)
{
    return {Error::misuse,
            {.attempted = attempted, .explanation = "called from within a poll() handler"}};
}

} // namespace

/// A receiver's turn: it has the right to consume while it takes, and gives it up while it sleeps.
/// Its end gives back what was freed.
class Inbox::Turn {
public:
    Turn(Inbox& inbox, Duration timeout) noexcept : inbox_{inbox}, timeout_{timeout} {}
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn()
    {
        if (has_right_)
            give_back();
    }

    /// What comes next, waited for; this thread has the right to take it. `nothing`: see failure().
    [[nodiscard]] Next wait()
    {
        if (!take_right())
            return Next::nothing;
        const auto what = inbox_.next();
        return what != Next::nothing ? what : wait_for_more();
    }
    [[nodiscard]] const Failure& failure() const noexcept { return *failure_; }

private:
    [[nodiscard]] bool take_right()
    {
        if (has_right_)
            return true;
        has_right_ = inbox_.right_.try_take();
        return has_right_ || wait_for_right();
    }
    [[gnu::cold]] bool wait_for_right()
    {
        if (inbox_.right_.is_in_handler()) {
            failure_ = nested("receive");
            return false;
        }
        if (timeout_ > Duration{})
            has_right_ =
                inbox_.right_.take(inbox_.clock_, deadline(), [this] { return inbox_.ended(); });
        if (!has_right_)
            failure_ = Failure{inbox_.ended() ? Error::stopped : Error::timed_out};
        return has_right_;
    }
    [[nodiscard, gnu::noinline]] Next wait_for_more()
    {
        while (take_right()) {
            // The end is looked at before the queue is looked at again, or a last message could be
            // missed.
            const bool is_final = inbox_.is_final();
            if (const auto what = inbox_.next(); what != Next::nothing)
                return what;
            if (is_final) {
                failure_ = inbox_.nothing_left();
                break;
            }
            give_back();
            if (!sleep()) {
                failure_ = Failure{Error::timed_out};
                break;
            }
        }
        return Next::nothing;
    }
    /// False: the time is up.
    [[nodiscard]] bool sleep()
    {
        const auto has_come = [this] { return inbox_.has_something(); };
        if (timeout_ <= Duration{})
            return false;
        if (!inbox_.clock_.is_virtual()
            && inbox_.consumer_.yield.until(has_come, inbox_.ring_.popped_bytes()))
            return true;
        auto& clock = inbox_.clock_;
        if (inbox_.ring_.has_spare_blocks() && !clock.is_virtual()) {
            const auto idle = deadline_after(clock.now(), idle_time);
            if (idle < deadline()) {
                if (inbox_.arrived_.wait_until(clock, idle, has_come, inbox_.spin_))
                    return true;
                inbox_.ring_.free_spare_blocks();
            }
        }
        return inbox_.arrived_.wait_until(clock, deadline(), has_come, inbox_.spin_);
    }
    void give_back()
    {
        inbox_.ring_.publish_reads(std::memory_order_release);
        inbox_.ready_.lower_unless([this] { return inbox_.has_something(); });
        has_right_ = false;
        inbox_.right_.give_back(); // orders what was freed before the look at who wants space
        inbox_.wake_space_waiters();
    }
    /// Only who has to wait asks the clock.
    [[nodiscard]] TimePoint deadline()
    {
        if (!deadline_)
            deadline_ = deadline_after(inbox_.clock_.now(), timeout_);
        return *deadline_;
    }

    Inbox& inbox_;
    const Duration timeout_;
    bool has_right_ = false;
    std::optional<TimePoint> deadline_; // known once somebody asked
    std::optional<Failure> failure_;
};

// --- app side

Inbox::Next Inbox::next()
{
    const auto published = ring_.published();
    if (events_.is_due(ring_.read_position())) [[unlikely]]
        return Next::event;
    return ring_.read_position() < published ? Next::message : Next::nothing;
}

Failure Inbox::nothing_left() const
{
    if (ended())
        return Error::stopped;
    return terminal_.why().value_or(Failure{Error::timed_out});
}

/// Built where the caller will have it: a message holds its bytes, so each move would copy them.
Result<Message> Inbox::take_copy(std::uint64_t position)
{
    Result<Message> message{Result<Message>::in_place_value, ring_.view(position)};
    ring_.pop();
    return message;
}

Result<Message> Inbox::take_block_of(std::uint64_t position)
{
    const auto view = ring_.view(position);
    Result<Message> message{Result<Message>::in_place_value, view.link(), view.kind(),
                            ring_.take_block_of(position), view.size()};
    ring_.pop();
    return message;
}

Result<Message> Inbox::take_message()
{
    const auto position = ring_.find_message(ring_.read_position());
    return ring_.has_block(position) ? take_block_of(position) : take_copy(position);
}

Result<Message> Inbox::receive(Duration timeout)
{
    Turn turn{*this, timeout};
    for (;;) {
        switch (turn.wait()) {
        case Next::nothing: return turn.failure();
        case Next::message: return take_message();
        case Next::event:
            if (auto event = events_.take(); event.kind == Event::Kind::down)
                return std::move(*event.failure);
        }
    }
}

Result<Event> Inbox::next_event(Duration timeout)
{
    Turn turn{*this, timeout};
    switch (turn.wait()) {
    case Next::nothing: break;
    case Next::message: {
        auto message = take_message();
        const auto link = message->link();
        return Event{Event::Kind::message, link, std::move(*message), std::nullopt};
    }
    case Next::event: {
        auto event = events_.take();
        return Event{event.kind, event.link, {}, std::move(event.failure)};
    }
    }
    if (turn.failure() == Error::stopped)
        return Event{Event::Kind::stopped, {}, {}, std::nullopt};
    return turn.failure();
}

Result<std::size_t> Inbox::poll(MessageHandler handler, std::size_t limit)
{
    if (!right_.try_take()) {
        if (right_.is_in_handler())
            return nested("poll");
        return std::size_t{0}; // another thread is taking them
    }
    right_.begin_handler();
    struct GiveBack {
        Inbox& inbox;
        ~GiveBack()
        {
            inbox.ready_.lower_unless([this] { return inbox.has_something(); });
            inbox.right_.end_handler();
            inbox.right_.give_back();
        }
    };
    const GiveBack give_back{*this}; // also when the handler throws
    const bool was_final = is_final();
    std::size_t count = 0;
    while (count < limit) {
        const auto what = next();
        if (what == Next::nothing)
            break;
        if (what == Next::message) {
            count += hand_over(handler, limit - count);
            continue;
        }
        if (auto event = events_.take(); event.kind == Event::Kind::down) {
            if (count == 0)
                return std::move(*event.failure);
            // The messages before it were handed over; the failure is for the next call.
            events_.put_back(std::move(event));
            break;
        }
    }
    if (count != 0)
        consumer_.idle_since = {};
    else if (ring_.has_spare_blocks())
        note_idle();
    if (count == 0 && was_final && limit != 0)
        return nothing_left();
    return count;
}

/// Space is given back now and then, so that the loop can go on while a long poll lasts.
std::size_t Inbox::hand_over(MessageHandler handler, std::size_t limit)
{
    constexpr std::size_t stride = 256, stride_bytes = 64u << 10;
    struct GiveBack {
        Inbox& inbox;
        ~GiveBack() { inbox.publish_reads(); }
    };
    const GiveBack give_back{*this}; // also when the handler throws
    const auto published = ring_.published();
    const bool has_events = events_.has_any();
    const auto most = std::min(limit, stride);
    std::size_t count = 0;
    const auto bytes_at_start = ring_.popped_bytes_so_far();
    do {
        struct Pop {
            RecordRing& ring;
            ~Pop() { ring.pop(); }
        } pop{ring_};
        ++count;
        handler(ring_.view(ring_.find_message(ring_.read_position())));
    } while (count < most && !has_events && ring_.read_position() < published
             && ring_.popped_bytes_so_far() - bytes_at_start < stride_bytes);
    return count;
}

void Inbox::note_idle()
{
    const auto now = clock_.now();
    if (consumer_.idle_since == TimePoint{})
        consumer_.idle_since = now;
    else if (now - consumer_.idle_since >= idle_time)
        ring_.free_spare_blocks();
}

void Inbox::note_nothing_came()
{
    if (ring_.has_spare_blocks())
        ring_.free_spare_blocks();
}

void Inbox::publish_reads() noexcept
{
    ring_.publish_reads(std::memory_order_release);
    right_.synchronise();
    wake_space_waiters();
}

void Inbox::wake_space_waiters()
{
    if (space_wanted_.load(std::memory_order_seq_cst) && ring_.half_free()
        && space_wanted_.exchange(false))
        on_space();
}

void Inbox::notify_through(std::shared_ptr<const NotifyFd> fd)
{
    ready_.attach(std::move(fd));
    if (has_something())
        ready_.raise();
}

} // namespace sidecar::detail
