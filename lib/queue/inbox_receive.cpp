// The application's side of the inbox: receive, next_event, poll.
#include "queue/inbox.hpp"

#include "queue/told.hpp"

#include <algorithm>
#include <utility>

namespace sidecar::detail {
namespace {

Failure nested(const char* attempted)
{
    return {Error::misuse,
            {.attempted = attempted,
             .explanation = "called within a handler of poll(), which has the messages to itself"}};
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
            inbox_.consumer_.ages.ran_dry();
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
    if (side_.is_due(ring_.read_position())) [[unlikely]]
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
    const auto arrived_at = arrival(position);
    Result<Message> message{Result<Message>::in_place_value, view(position), arrived_at};
    count_taken(arrived_at);
    ring_.pop();
    return message;
}

Result<Message> Inbox::take_block_of(std::uint64_t position)
{
    const auto seen = view(position);
    const auto arrived_at = arrival(position);
    Result<Message> message{Result<Message>::in_place_value,
                            seen.link(),
                            seen.kind(),
                            ring_.take_block_of(position),
                            seen.size(),
                            seen.connection(),
                            arrived_at};
    count_taken(arrived_at);
    ring_.pop();
    return message;
}

Result<Message> Inbox::take_message()
{
    const auto position = ring_.find_message(ring_.read_position());
    return ring_.has_block(position) ? take_block_of(position) : take_copy(position);
}

/// Null if there was nothing to take after all, or it is left where it is.
SideQueue::Entry Inbox::take_beside(SideQueue::Ends ends, bool& is_left)
{
    auto taken = side_.take(ring_.read_position(), ends);
    is_left = taken.is_left;
    if (taken.frees_space)
        on_space();
    if (taken.entry)
        note_beside(*taken.entry);
    return std::move(taken.entry);
}

/// A message's time is that of the turn in which it came, or of a stamp before, so an event that
/// stands before it may seem to be later. Events of levels do not stand where they happened, and a
/// message that has replaced others stands where these came.
void Inbox::note_beside(SideEntry& entry)
{
    if (entry.what != SideEntry::What::event) {
        entry.at = std::max(entry.at, consumer_.told_until);
        if (entry.what == SideEntry::What::gap || entry.missing == 0)
            consumer_.told_until = entry.at;
        if (entry.what == SideEntry::What::message)
            count_taken(entry.at);
        return;
    }
    const auto& event = *entry.event;
    consumer_.connections.note(event);
    if (event.kind != Event::Kind::high_water && event.kind != Event::Kind::low_water)
        consumer_.told_until = std::max(consumer_.told_until, event.at);
}

Result<Message> Inbox::receive(Duration timeout)
{
    Turn turn{*this, timeout};
    bool is_left = false;
    for (;;) {
        switch (turn.wait()) {
        case Next::nothing: return turn.failure();
        case Next::message: return take_message();
        case Next::event:
            const auto entry = take_beside(SideQueue::Ends::take, is_left);
            if (!entry)
                break;
            if (entry->what == SideEntry::What::message)
                return message_of(*entry);
            if (auto failure = failure_of(*entry))
                return std::move(*failure);
        }
    }
}

Result<Event> Inbox::next_event(Duration timeout)
{
    Turn turn{*this, timeout};
    bool is_left = false;
    Event event;
    for (;;) {
        switch (turn.wait()) {
        case Next::nothing:
            if (!(turn.failure() == Error::stopped))
                return turn.failure();
            event.at = clock_.now();
            event.wall_time = wall_time(event.at);
            return event; // which is `stopped`
        case Next::message:
            event.kind = Event::Kind::message;
            event.message = *take_message();
            event.link = event.message.link();
            event.connection = event.message.connection();
            event.at = event.message.arrival();
            event.wall_time = wall_time(event.at);
            return event;
        case Next::event:
            if (const auto entry = take_beside(SideQueue::Ends::take, is_left)) {
                event = event_of(*entry);
                if (event.wall_time == WallTime{})
                    event.wall_time = wall_time(event.at);
                return event;
            }
        }
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
        // Where messages were handed over before, what ends the call is for the next one.
        bool is_left = false;
        const auto entry =
            take_beside(count == 0 ? SideQueue::Ends::take : SideQueue::Ends::leave, is_left);
        if (is_left)
            break;
        if (!entry)
            continue;
        if (auto failure = failure_of(*entry))
            return std::move(*failure);
        if (entry->what == SideEntry::What::message) {
            ++count;
            handler(entry->view());
        }
    }
    if (count != 0) {
        consumer_.idle_since = {};
    } else {
        consumer_.ages.ran_dry();
        if (ring_.has_spare_blocks())
            note_idle();
    }
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
    const GiveBack give_back{*this};           // also when the handler throws
    (void)arrivals_.of(ring_.read_position()); // so that those of what is read go
    // In this order: what comes beside the ring later stands behind what is published now.
    const auto published = ring_.published();
    const auto until = std::min(published, side_.next_position());
    const auto most = std::min(limit, stride);
    std::size_t count = 0;
    const auto bytes_at_start = ring_.popped_bytes_so_far();
    do {
        struct Pop {
            RecordRing& ring;
            ~Pop() { ring.pop(); }
        } pop{ring_};
        ++count;
        if (consumer_.ages.count_one()) [[unlikely]]
            consumer_.ages.note(arrival(ring_.read_position()), clock_.now());
        handler(view(ring_.find_message(ring_.read_position())));
    } while (count < most && ring_.read_position() < until
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
