#include "link/link_sink.hpp"

#include "base/failures.hpp"
#include "link/requests.hpp"
#include "queue/stored_message.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace sidecar::detail {
namespace {

/// Returns the key function with its failures naming it.
ConflationKey named(ConflationKey key, const std::string& endpoint)
{
    if (!key)
        return key;
    return [key = std::move(key), endpoint](const MessageView& message) {
        try {
            return key(message);
        } catch (...) {
            throw Exception{thrown_by("the key function", std::current_exception(),
                                      Error::callback_failed, "take in a message", endpoint)};
        }
    };
}

} // namespace

void LinkServices::wake_space_waiters()
{
    for (auto* link : std::exchange(space_waiters, {})) {
        link->waits_for_space_ = false;
        link->space_came();
    }
}

LinkSink::LinkSink(LinkServices& services, KeepAlive& keep_alive, LinkId link,
                   std::size_t max_message_bytes, const std::string& endpoint,
                   const Overflow& overflow)
    : services_{services},
      keep_alive_{keep_alive},
      link_{link},
      max_message_bytes_{max_message_bytes},
      endpoint_{endpoint}
{
    if (keep_alive.heartbeat())
        watch(keep_alive);
    if (is_plain(overflow))
        return;
    auto its_overflow = resolved(overflow, max_message_bytes);
    its_overflow.key = named(std::move(its_overflow.key), endpoint_);
    queue_ = &services.inbox.open_queue(link, std::move(its_overflow));
    is_unusual_ = true;
}

LinkSink::~LinkSink()
{
    stop_waiting_for_space();
    if (queue_)
        services_.inbox.close_queue(*queue_);
}

void LinkSink::begin_connection(std::function<void()> on_failure)
{
    failure_ = nullptr;
    is_shut_ = is_announced_ = false;
    pending_gap_ = 0; // of a connection that never came up
    on_failure_ = std::move(on_failure);
    look_whether_unusual();
}

/// Refuses from the request on, before the loop has seen it: a receiver may have got `stopped`
/// already.
bool LinkSink::refuses() const noexcept
{
    return is_quiesced_ || is_shut_ || services_.stop.is_made() || services_.inbox.ended();
}

void LinkSink::quiesce()
{
    is_quiesced_ = true;
    look_whether_unusual();
    space_came();
}

void LinkSink::shut()
{
    is_shut_ = true;
    look_whether_unusual();
    space_came();
}

void LinkSink::look_whether_unusual() noexcept
{
    is_unusual_ =
        is_quiesced_ || is_shut_ || queue_ || has_pending() || failure_ || !watchers_.empty();
}

/// Records a failure outside the listener's calls.
void LinkSink::fail(std::exception_ptr why) noexcept
{
    if (std::exchange(failure_, std::move(why)))
        return;
    look_whether_unusual();
    if (on_failure_)
        on_failure_();
}

// --- watchers

void LinkSink::watch(MessageWatcher& watcher)
{
    watchers_.push_back(&watcher);
    look_whether_unusual();
}

void LinkSink::unwatch(MessageWatcher& watcher)
{
    std::erase(watchers_, &watcher);
    look_whether_unusual();
    space_.set();
}

bool LinkSink::is_watcher_full() const
{
    return std::any_of(watchers_.begin(), watchers_.end(),
                       [](const auto* watcher) { return watcher->is_full(); });
}

/// A watcher may remove itself while it is asked.
MessageWatcher::Verdict LinkSink::ask_watchers(const MessageView& message)
{
    auto verdict = MessageWatcher::Verdict::pass;
    for (std::size_t i = 0; i < watchers_.size() && verdict == MessageWatcher::Verdict::pass;) {
        auto* const watcher = watchers_[i];
        verdict = watcher->offer(message);
        if (i < watchers_.size() && watchers_[i] == watcher)
            ++i;
    }
    return verdict;
}

// --- messages of the transport

void LinkSink::validate_size(std::size_t payload_bytes) const
{
    if (payload_bytes > max_message_bytes_)
        throw Exception{
            Failure{Error::too_big,
                    {.attempted = "take in a message",
                     .endpoint = endpoint_,
                     .explanation = fmt::format("{} bytes; the option max_message_bytes is {}",
                                                payload_bytes, max_message_bytes_)}}};
}

bool LinkSink::put(MessageKind kind, std::span<const std::byte> payload)
{
    return put_stored(kind, payload);
}

inline bool LinkSink::put_stored(StoredKind kind, std::span<const std::byte> stored)
{
    if (stored.size() <= max_message_bytes_ && !is_unusual_ && !services_.stop.is_made()
        && services_.inbox.push(link_, kind, stored, connection_)) [[likely]] {
        has_put_ = true;
        return true;
    }
    return put_unusual({link_, kind, stored});
}

bool LinkSink::put_envelope(MessageKind kind, std::span<const std::byte> payload,
                            const Envelope& envelope)
{
    if (is_empty(envelope))
        return put(kind, payload);
    if (auto valid = validate(envelope); !valid)
        throw Exception{valid.error().with_attempt("take in a message", endpoint_)};
    if (auto* const requests = requests_.load(std::memory_order_acquire);
        requests && requests->offer(kind, payload, envelope)) {
        has_put_ = true; // it is data
        return true;
    }
    const StoredMessage message{kind, payload, envelope};
    if (!put_stored(message.kind(), message.bytes()))
        return false;
    services_.topics.add(envelope.topic, payload.size(), services_.loop.iteration_began());
    return true;
}

bool LinkSink::put_unusual(const MessageView& message)
{
    validate_size(Stored{message}.bytes.size());
    if (failure_)
        std::rethrow_exception(failure_);
    const bool is_first = !has_put_;
    if (refuses()) {
        if (keep_alive_.offer(message) == MessageWatcher::Verdict::answer)
            return true;
        has_put_ = true;
        services_.discarded.fetch_add(1);
        return true;
    }
    // Before the watchers look: they see each message once
    if (!is_first && (has_pending() || is_watcher_full()))
        return false;
    const bool has_watchers = !watchers_.empty();
    const auto verdict = ask_watchers(message);
    if (verdict == MessageWatcher::Verdict::answer)
        return true;
    has_put_ = true;
    if (verdict == MessageWatcher::Verdict::taken)
        return true;
    if (!has_pending() && push_whole(message))
        return true;
    if (!is_first && !has_watchers)
        return false;
    // Kept, not refused: a read's first message was promised capacity, which another link has
    // taken; a later one was seen by the watchers
    set_aside(message);
    return true;
}

void LinkSink::put_gap(std::uint64_t missing)
{
    if (refuses())
        return;
    pending_gap_ += missing;
    if (!has_pending())
        push_gap();
}

/// Before `up` it waits, as the messages of on_connected do.
void LinkSink::push_gap()
{
    if (pending_gap_ == 0 || !is_announced_)
        return;
    services_.inbox.push_gap(link_, pending_gap_);
    pending_gap_ = 0;
}

void LinkSink::set_aside(const MessageView& message)
{
    pending_.emplace_back(message);
    look_whether_unusual();
}

std::span<std::byte> LinkSink::receive_buffer(std::size_t at_least)
{
    return services_.inbox.receive_buffer(at_least);
}

std::span<std::byte> LinkSink::prepare(std::size_t payload_bytes)
{
    validate_size(payload_bytes);
    const auto may_take = [&](const auto* watcher) { return watcher->may_take(payload_bytes); };
    if (in_place_.block || has_pending() || queue_
        || std::any_of(watchers_.begin(), watchers_.end(), may_take))
        return {}; // a message for the link's queue is copied there
    in_place_ = {.block = services_.inbox.reserve(payload_bytes), .bytes = payload_bytes};
    if (!in_place_.block)
        return {};
    return {in_place_.block.get(), payload_bytes};
}

void LinkSink::commit(MessageKind kind)
{
    has_put_ = true;
    in_place_.kind = kind;
    in_place_.is_whole = true;
    look_whether_unusual();
    const MessageView message{link_, kind, {in_place_.block.get(), in_place_.bytes}};
    if (refuses())
        drop_pending();
    else if (!watchers_.empty() && ask_watchers(message) == MessageWatcher::Verdict::taken)
        cancel_in_place();
    else
        (void)push_pending();
}

void LinkSink::on_bytes() { keep_alive_.on_bytes(); }

void LinkSink::on_pong(std::span<const std::byte> payload) { keep_alive_.ponged(payload); }

// --- into the inbox

bool LinkSink::push_whole(const MessageView& message)
{
    auto& inbox = services_.inbox;
    const Stored stored{message};
    if (!queue_)
        return inbox.push(link_, stored.kind, stored.bytes, connection_);
    const auto outcome = inbox.push_to(*queue_, stored.kind, stored.bytes);
    if (outcome == LinkQueue::PutOutcome::failed)
        throw Exception{Failure{Error::overflow,
                                {.attempted = "take in a message",
                                 .endpoint = endpoint_,
                                 .explanation = "its overflow policy is to fail then"}}};
    return outcome == LinkQueue::PutOutcome::taken;
}

bool LinkSink::push_pending()
{
    auto& inbox = services_.inbox;
    while (!pending_.empty() && push_whole(pending_.front().view()))
        pending_.pop_front();
    if (pending_.empty() && in_place_.is_whole
        && inbox.push_reserved(link_, in_place_.kind, in_place_.block, in_place_.bytes,
                               connection_))
        in_place_ = {};
    if (!has_pending())
        push_gap();
    inbox.publish();
    look_whether_unusual();
    return !has_pending();
}

void LinkSink::drop_pending() noexcept
{
    services_.discarded.fetch_add(pending_.size() + (in_place_.is_whole ? 1 : 0));
    pending_.clear();
    if (in_place_.is_whole)
        cancel_in_place();
    look_whether_unusual();
}

void LinkSink::cancel_in_place() noexcept
{
    if (!in_place_.block)
        return;
    services_.inbox.cancel_reserved(in_place_.bytes); // another link may wait for this capacity
    in_place_ = {};
    look_whether_unusual();
}

bool LinkSink::prepend(std::deque<Message>* messages) noexcept
{
    try {
        if (messages)
            pending_.insert(pending_.begin(), std::move_iterator{messages->begin()},
                            std::move_iterator{messages->end()});
        look_whether_unusual();
    } catch (...) {
        services_.discarded.fetch_add(messages ? messages->size() : 0);
        fail(std::current_exception());
        return false;
    }
    space_came();
    return !failure_;
}

void LinkSink::validate_fits_inbox(std::size_t payload_bytes) const
{
    const auto max = services_.inbox.largest_message();
    if (!queue_ && payload_bytes > max)
        throw Exception{Failure{
            Error::too_big,
            {.attempted = "pass on a message",
             .endpoint = endpoint_,
             .explanation = fmt::format("{} bytes, the inbox takes at most {}: raise inbox.bytes",
                                        payload_bytes, max)}}};
}

Task<> LinkSink::pass_on(Message message)
{
    validate_fits_inbox(stored_bytes(message));
    const auto space = std::make_shared<LoopEvent>();
    std::erase_if(passing_on_, [](const auto& other) { return other.expired(); });
    passing_on_.push_back(space);
    while (!refuses()) {
        if (push_whole(message.view())) {
            services_.inbox.publish();
            co_return;
        }
        if (!want_space(stored_bytes(message)))
            co_await space->wait();
    }
    services_.discarded.fetch_add(1);
}

// --- waiting for space

bool LinkSink::has_space_for(std::size_t payload_bytes)
{
    return queue_ ? services_.inbox.want_room_in(*queue_, payload_bytes)
                  : services_.inbox.has_space(payload_bytes);
}

bool LinkSink::want_space(std::size_t payload_bytes)
{
    const bool has_space = queue_ ? services_.inbox.want_room_in(*queue_, payload_bytes)
                                  : services_.inbox.want_space(payload_bytes);
    if (!has_space && !waits_for_space_) {
        services_.space_waiters.push_back(this);
        waits_for_space_ = true;
    }
    return has_space;
}

void LinkSink::stop_waiting_for_space() noexcept
{
    if (std::exchange(waits_for_space_, false))
        std::erase(services_.space_waiters, this);
}

void LinkSink::space_came()
{
    try {
        while (has_pending() && !failure_ && !refuses() && !push_pending()
               && want_space(max_message_bytes_)) {
        }
    } catch (...) {
        fail(std::current_exception());
    }
    space_.set();
    for (const auto& waiting : passing_on_)
        if (const auto event = waiting.lock())
            event->set();
}

Task<bool> LinkSink::wait_for_room(Context ctx, TimePoint deadline)
{
    for (;;) {
        if (failure_)
            std::rethrow_exception(failure_);
        if (refuses()) {
            drop_pending();
            break;
        }
        if (push_pending() && !is_watcher_full() && has_space_for(max_message_bytes_))
            break;
        pauses_.begin(services_.loop.now());
        if (!is_watcher_full() && want_space(max_message_bytes_))
            continue;
        if (deadline <= ctx.now())
            co_return false;
        ctx.waiting_for("room in the inbox");
        const bool is_in_time = co_await ctx.wait(space_, deadline);
        if (!is_in_time)
            co_return false;
    }
    end_pause();
    co_return true;
}

Task<> LinkSink::deliver_pending(Context ctx)
{
    for (;;) {
        if (failure_)
            std::rethrow_exception(failure_);
        if (refuses() || push_pending())
            co_return;
        if (!want_space(max_message_bytes_))
            (void)co_await ctx.wait(space_, TimePoint::max());
    }
}

void LinkSink::end() noexcept
{
    end_pause();
    try {
        if (!failure_ && !refuses()) // nothing comes behind `stopped`
            (void)push_pending();
    } catch (...) { // application code threw; the end is reported anyway
    }
    services_.inbox.publish();
    stop_waiting_for_space();
    drop_pending();    // nobody is left to wait for space
    cancel_in_place(); // it never became complete
}

void LinkSink::end_pause() noexcept
{
    const auto now = services_.loop.now();
    if (pauses_.end(now))
        keep_alive_.on_resumed(now);
}

} // namespace sidecar::detail
