#include "link/intake.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace sidecar::detail {

Intake::Intake(LinkServices& services, LinkId link, std::size_t max_message_bytes,
               std::string endpoint, const Overflow& overflow)
    : services_{services},
      link_{link},
      max_message_bytes_{max_message_bytes},
      endpoint_{std::move(endpoint)}
{
    if (is_plain(overflow))
        return;
    queue_ = &services.inbox.open_queue(link, resolved(overflow, max_message_bytes));
    is_unusual_ = true;
}

Intake::~Intake()
{
    if (queue_)
        services_.inbox.close_queue(*queue_);
}

/// From the request on, not only once the loop has seen it: who waits may have been told `stopped`
/// by then.
bool Intake::refuses() const noexcept { return is_quiesced_ || services_.stop.is_made(); }

void Intake::quiesce()
{
    is_quiesced_ = is_unusual_ = true;
    space_.set();
}

void Intake::watch(MessageWatcher& watcher)
{
    watchers_.push_back(&watcher);
    note_if_unusual();
}

void Intake::unwatch(MessageWatcher& watcher)
{
    std::erase(watchers_, &watcher);
    note_if_unusual();
    space_.set();
}

bool Intake::is_watcher_full() const
{
    return std::any_of(watchers_.begin(), watchers_.end(),
                       [](const auto* watcher) { return watcher->is_full(); });
}

bool Intake::may_be_taken(std::size_t payload_bytes) const
{
    return std::any_of(watchers_.begin(), watchers_.end(),
                       [&](const auto* watcher) { return watcher->may_take(payload_bytes); });
}

/// One may go while it is asked.
MessageWatcher::Verdict Intake::ask_watchers(const MessageView& message)
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

void Intake::put_first(std::deque<Message> messages)
{
    if (!messages.empty())
        backlog_ = std::make_unique<std::deque<Message>>(std::move(messages));
    note_if_unusual();
    (void)push_pending();
}

bool Intake::push_now(const Message& message)
{
    if (refuses()) {
        services_.discarded.fetch_add(1);
        return true;
    }
    if (!push_whole(message.view()))
        return false;
    services_.inbox.publish();
    return true;
}

Task<> Intake::wait_for_space(LoopEvent& event)
{
    if (want_space())
        co_return;
    const SpaceWaiters::Entry entry{services_.space, event};
    co_await event.wait();
}

Task<bool> Intake::wait_for_room(Context ctx, TimePoint deadline)
{
    for (;;) {
        if (refuses()) {
            drop_pending();
            break;
        }
        if (push_pending() && !is_watcher_full() && has_space())
            break;
        begin_pause();
        if (!is_watcher_full() && want_space())
            continue;
        if (deadline <= ctx.now())
            co_return false;
        ctx.waiting_for("room in the inbox");
        const SpaceWaiters::Entry entry{services_.space, space_};
        const bool is_in_time = co_await ctx.wait(space_, deadline);
        if (!is_in_time)
            co_return false;
    }
    end_pause();
    co_return true;
}

bool Intake::has_space_for(std::size_t payload_bytes)
{
    return queue_ ? services_.inbox.want_room_in(*queue_, payload_bytes)
                  : services_.inbox.has_space(payload_bytes);
}

bool Intake::want_space()
{
    return queue_ ? services_.inbox.want_room_in(*queue_, max_message_bytes_)
                        || services_.inbox.ended()
                  : services_.inbox.want_space(max_message_bytes_);
}

bool Intake::push_whole(const MessageView& message)
{
    return queue_ ? put_into_own_queue(message.kind(), message.bytes())
                  : services_.inbox.push(link_, message.kind(), message.bytes());
}

/// False: it is full, and the link's policy is to pause.
bool Intake::put_into_own_queue(MessageKind kind, std::span<const std::byte> payload)
{
    const auto put = services_.inbox.push_to(*queue_, kind, payload);
    if (put == SideQueue::Put::failed)
        throw Exception{
            Failure{Error::overflow,
                    {.attempted = "take in a message",
                     .endpoint = endpoint_,
                     .explanation = "the link's queue is full, and its policy is to fail then"}}};
    return put == SideQueue::Put::taken;
}

Task<> Intake::deliver_pending(Context ctx)
{
    while (has_pending() && !refuses() && !push_pending()) {
        if (want_space())
            continue;
        const SpaceWaiters::Entry entry{services_.space, space_};
        (void)co_await ctx.wait(space_, TimePoint::max());
    }
}

void Intake::begin_pause()
{
    if (is_paused())
        return;
    paused_.count.fetch_add(1, std::memory_order_relaxed);
    paused_.since.store(services_.loop.now().time_since_epoch().count());
}

void Intake::end_pause() noexcept
{
    if (!is_paused())
        return;
    const auto since = paused_.since.exchange(not_paused);
    const auto now = services_.loop.now();
    paused_.ended.fetch_add(now.time_since_epoch().count() - since);
    if (keep_alive_)
        keep_alive_->signs().resumed.note(now);
}

Intake::Pauses Intake::pauses() const noexcept
{
    const auto since = paused_.since.load();
    const auto now =
        since == not_paused ? 0 : services_.loop.now().time_since_epoch().count() - since;
    return {paused_.count.load(std::memory_order_relaxed), Duration{paused_.ended.load() + now}};
}

bool Intake::push_pending()
{
    auto& inbox = services_.inbox;
    if (backlog_ && !push_backlog())
        return false;
    if (held_ && push_whole(held_->view()))
        held_.reset();
    if (in_place_.is_whole
        && inbox.push_reserved(link_, in_place_.kind, in_place_.block, in_place_.bytes))
        in_place_ = {};
    inbox.publish();
    return !held_ && !in_place_.is_whole;
}

bool Intake::push_backlog()
{
    while (!backlog_->empty() && push_whole(backlog_->front().view()))
        backlog_->pop_front();
    if (backlog_->empty())
        backlog_.reset();
    note_if_unusual();
    services_.inbox.publish();
    return !backlog_;
}

void Intake::drop_pending()
{
    if (backlog_)
        services_.discarded.fetch_add(backlog_->size());
    backlog_.reset();
    note_if_unusual();
    if (held_ || in_place_.is_whole)
        services_.discarded.fetch_add(1);
    held_.reset();
    if (in_place_.is_whole)
        cancel_in_place();
}

void Intake::cancel_in_place() noexcept
{
    if (!in_place_.block)
        return;
    services_.inbox.cancel_reserved(in_place_.bytes);
    in_place_ = {};
    services_.space.wake_all(); // another link may wait for just this
}

void Intake::end()
{
    end_pause();
    services_.inbox.publish();
    try {
        (void)push_pending();
    } catch (...) { // the application's code, of which the connection's end says enough
    }
    drop_pending();    // nobody is left to wait for space
    cancel_in_place(); // what never came whole
}

void Intake::check_size(std::size_t payload_bytes) const
{
    if (payload_bytes > max_message_bytes_)
        throw Exception{Failure{Error::too_big,
                                {.attempted = "take in a message",
                                 .endpoint = endpoint_,
                                 .explanation = fmt::format("{} bytes, the limit is {}",
                                                            payload_bytes, max_message_bytes_)}}};
}

bool Intake::put(MessageKind kind, std::span<const std::byte> payload)
{
    const bool is_usual = payload.size() <= max_message_bytes_ && !is_unusual_
                          && !services_.stop.is_made() && !held_ && !in_place_.is_whole;
    if (is_usual && services_.inbox.push(link_, kind, payload)) [[likely]] {
        has_put_ = true;
        return true;
    }
    return put_aside(kind, payload);
}

bool Intake::put_aside(MessageKind kind, std::span<const std::byte> payload)
{
    check_size(payload.size());
    if (refuses()) {
        has_put_ = true;
        services_.discarded.fetch_add(1);
        return true;
    }
    // Asked once only, so not before it is certain that the message will not be put again.
    if (!watchers_.empty() && (!has_put_ || has_space_for(payload.size()))) {
        const auto verdict = ask_watchers({link_, kind, payload});
        if (verdict == MessageWatcher::Verdict::full)
            return false;
        if (verdict == MessageWatcher::Verdict::taken) {
            has_put_ = true;
            return true;
        }
    }
    if (!has_pending() && push_whole({link_, kind, payload})) {
        has_put_ = true;
        return true;
    }
    if (has_put_)
        return false;
    // Promised space that another link has taken meanwhile: this one message waits here.
    held_ = std::make_unique<Message>(MessageView{link_, kind, payload});
    has_put_ = true;
    return true;
}

std::span<std::byte> Intake::receive_buffer(std::size_t at_least)
{
    return services_.inbox.receive_buffer(at_least);
}

std::span<std::byte> Intake::prepare(std::size_t payload_bytes)
{
    check_size(payload_bytes);
    if (in_place_.block || has_pending() || queue_ || may_be_taken(payload_bytes))
        return {}; // what goes into a queue of its own is copied there
    in_place_ = {.block = services_.inbox.reserve(payload_bytes), .bytes = payload_bytes};
    if (!in_place_.block)
        return {};
    return {in_place_.block.get(), payload_bytes};
}

void Intake::note_bytes()
{
    if (keep_alive_)
        keep_alive_->signs().heard.note(services_.loop.turn_began());
}

void Intake::note_pong(std::span<const std::byte> payload)
{
    if (keep_alive_)
        keep_alive_->ponged(payload);
}

void Intake::commit(MessageKind kind)
{
    has_put_ = true;
    in_place_.kind = kind;
    in_place_.is_whole = true;
    if (refuses()) {
        drop_pending();
    } else if (!watchers_.empty()
               && ask_watchers({link_, kind, {in_place_.block.get(), in_place_.bytes}})
                      != MessageWatcher::Verdict::pass) {
        cancel_in_place();
    } else {
        (void)push_pending();
    }
}

} // namespace sidecar::detail
