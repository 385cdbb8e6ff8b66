#include "link/writer.hpp"

#include "base/failures.hpp"
#include "base/text.hpp"
#include "link/link.hpp"
#include "queue/stored_message.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <new>
#include <string>
#include <utility>

namespace sidecar::detail {
namespace {

std::string too_big_text(std::size_t payload_bytes, std::size_t max_bytes)
{
    return fmt::format("{} bytes, the outbox takes at most {}: raise outbox.bytes", payload_bytes,
                       max_bytes);
}

} // namespace

Failure no_topics()
{
    return {Error::bad_message,
            {.attempted = "send",
             .explanation = "the transport carries no topic, no reply_to and no headers"}};
}

Result<void> validate_message(const LinkConfig& config, StoredKind kind,
                              std::span<const std::byte> stored)
{
    try {
        return config.check_send(kind, stored);
    } catch (const std::bad_alloc&) {
        throw;
    } catch (...) {
        return to_failure(std::current_exception(), Error::callback_failed, "send",
                          config.endpoint());
    }
}

Result<void> validate_subscription(const LinkConfig& config, std::size_t max_bytes,
                                   std::string_view key, const SubscriptionMessage& message)
{
    const auto refused = [&](Error code, std::string why) {
        return Failure{code,
                       {.attempted = "subscribe",
                        .endpoint = config.endpoint(),
                        .explanation = std::move(why)}};
    };
    if (key.empty())
        return refused(Error::bad_options, "the key is empty");
    if (message.payload.size() > max_bytes)
        return refused(Error::too_big, too_big_text(message.payload.size(), max_bytes));
    return validate_message(config, message.kind, message.bytes());
}

Writer::Writer(LinkImpl& link, const std::optional<RateLimit>& limit)
    : link_{link},
      services_{link.services()},
      outbox_{link.outbox()},
      limiter_{limit ? std::make_unique<RateLimiter>(*limit) : nullptr}
{
}

// --- the application's side

Failure Writer::failed(Error code, const char* attempted, std::string explanation) const
{
    const Failure why{code,
                      {.attempted = attempted,
                       .endpoint = link_.endpoint(),
                       .explanation = std::move(explanation)}};
    return why.with_link(link_.id());
}

/// Returns why a listener refuses a call for a peer; empty: the link is none.
std::optional<Failure> Writer::refused_by_listener(const char* attempted) const
{
    if (!link_.clients()) [[likely]]
        return std::nullopt;
    return failed(Error::misuse, attempted,
                  "a listener has no peer: call broadcast(), or link(id) for a client");
}

Result<void> Writer::send(MessageKind kind, std::span<const std::byte> payload,
                          const SendOptions& options)
{
    if (auto failure = refused_by_listener("send")) [[unlikely]]
        return std::move(*failure);
    const auto envelope = envelope_of(options);
    if (is_empty(envelope))
        return send_stored(kind, payload, options);
    if (auto valid = validate(envelope); !valid) {
        services_.sends_refused.fetch_add(1, std::memory_order_relaxed);
        return valid.error().with_link(link_.id());
    }
    const StoredMessage message{kind, payload, envelope};
    return send_stored(message.kind(), message.bytes(), options);
}

/// Errors: too_big. The peer counts headers too, but no topic.
Result<void> Writer::validate_for_peer(const MessageView& message) const
{
    const auto max = max_send_bytes_.load(std::memory_order_relaxed);
    // As NATS writes headers, the only protocol with such a limit
    constexpr std::size_t around_headers = 12, around_header = 4;
    auto bytes = message.size() + (message.headers().empty() ? 0 : around_headers);
    for (const auto& [name, value] : message.headers())
        bytes += around_header + name.size() + value.size();
    if (bytes <= max)
        return {};
    return failed(Error::too_big, "send",
                  fmt::format("{} bytes, the peer takes at most {}", bytes, max));
}

Result<void> Writer::send_stored(StoredKind kind, std::span<const std::byte> stored,
                                 const SendOptions& options)
{
    auto valid = validate_message(link_.config(), kind, stored);
    if (valid && stored.size() > max_send_bytes_.load(std::memory_order_relaxed)) [[unlikely]]
        valid = validate_for_peer({link_.id(), kind, stored});
    if (!valid) [[unlikely]] {
        services_.sends_refused.fetch_add(1, std::memory_order_relaxed);
        return valid.error().with_link(link_.id());
    }
    auto result = queue(kind, stored, options);
    if (!result)
        services_.sends_refused.fetch_add(1, std::memory_order_relaxed);
    return result;
}

void Writer::acknowledge_taken(const MessageView& taken)
{
    const auto text = acknowledgement_of(taken);
    if (text.empty())
        return;
    const StoredMessage message{
        MessageKind::text, std::as_bytes(std::span{text}), {.topic = taken.reply_to()}};
    if (outbox_.push_acknowledgement(
            Message{MessageView{link_.id(), message.kind(), message.bytes()}}))
        services_.wake_writer(link_.shared_from_this());
}

Result<void> Writer::queue(StoredKind kind, std::span<const std::byte> stored,
                           const SendOptions& options)
{
    using Push = Outbox::Push;
    Outbox::Sender sender{.connection = options.connection, .priority = options.priority};
    if (options.expires_after != Duration::max())
        sender.deadline = deadline_after(services_.loop.now(), options.expires_after);
    if (const auto* const of = link_.client_of()) [[unlikely]]
        if (const auto& key = of->settings().overflow.key)
            sender.key = key(MessageView{link_.id(), kind, stored});
    auto push = outbox_.push(kind, stored, sender);
    // On virtual time the loop writes only while a thread waits, be it for no time
    const bool is_virtual = services_.loop.is_virtual() && !services_.loop.is_loop_thread();
    if (push == Push::full && (options.timeout > Duration{} || is_virtual)) {
        if (services_.loop.is_loop_thread())
            return called_on_loop("wait for room", link_.endpoint());
        const auto deadline = deadline_after(services_.loop.now(), options.timeout);
        (void)services_.written.wait_until(services_.loop, deadline, [&] {
            push = outbox_.push(kind, stored, sender);
            return push != Push::full;
        });
    }
    switch (push) {
    case Push::queued: break;
    case Push::closed: return link_.refusal("send");
    case Push::too_big:
        return failed(Error::too_big, "send",
                      too_big_text(stored.size(), outbox_.largest_message()));
    case Push::wrong_connection:
        return failed(Error::wrong_connection, "send",
                      fmt::format("meant for connection {}", *options.connection));
    case Push::full:
        if (outbox_.want_room(stored.size(), options.priority))
            services_.wake_writer(link_.shared_from_this());
        if (link_.client_of() && outbox_.is_too_slow())
            link_.client_of()->end_slow(link_);
        if (options.timeout <= Duration{})
            return Failure{Error::full}.with_link(link_.id()).with_retry(true);
        return failed(Error::full, "send",
                      fmt::format("it stayed full for {}", readable(options.timeout)))
            .with_retry(true);
    }
    // Before the connection is restored, an ordinary message does not wake the writer; a control
    // message always does
    if (outbox_.wakes_writer() || options.priority == Priority::high) {
        wakeups_.fetch_add(1, std::memory_order_relaxed);
        services_.wake_writer(link_.shared_from_this());
    }
    services_.inbox.hint_reply_expected();
    return {};
}

Result<void> Writer::flush(Duration timeout)
{
    if (auto failure = refused_by_listener("flush"))
        return std::move(*failure);
    if (services_.stop.is_over())
        return link_.refusal("flush");
    const auto deadline = deadline_after(services_.loop.now(), std::max(timeout, Duration{}));
    if (services_.loop.is_loop_thread())
        return called_on_loop("flush", link_.endpoint());
    using FlushResult = Outbox::FlushResult;
    Outbox::Mark mark{outbox_};
    const auto last_subscription = link_.subscriptions().last_unwritten();
    const auto look = [&] {
        const auto result = outbox_.result(mark);
        return result != FlushResult::lost && link_.subscriptions().is_unwritten(last_subscription)
                   ? FlushResult::waiting
                   : result;
    };
    auto result = FlushResult::waiting;
    const bool woke = services_.written.wait_until(services_.loop, deadline, [&] {
        result = look();
        return result != FlushResult::waiting || !outbox_.is_open() || services_.stop.is_made();
    });
    // A message that was written just before the link went down counts as written.
    if (result == FlushResult::waiting)
        result = look();
    switch (result) {
    case FlushResult::written: return {};
    case FlushResult::late:
        return failed(Error::expired, "flush", "some of it waited for too long");
    case FlushResult::lost:
        if (outbox_.is_open() && !services_.stop.is_made())
            return failed(Error::wrong_connection, "flush", "some of it was meant for another one");
        break;
    case FlushResult::waiting:
        if (!woke)
            return failed(Error::timed_out, "flush", {}).with_retry(true);
        break;
    }
    return link_.refusal("flush");
}

Result<void> Writer::subscribe(std::string key, SubscriptionMessage message)
{
    if (auto failure = refused_by_listener("subscribe"))
        return std::move(*failure);
    if (link_.is_over())
        return link_.refusal("subscribe");
    if (auto valid = validate_subscription(link_.config(), outbox_.limit_bytes(), key, message);
        !valid)
        return valid;
    if (link_.subscriptions().add(std::move(key), std::move(message)))
        services_.wake_writer(link_.shared_from_this());
    return {};
}

Result<bool> Writer::unsubscribe(std::string_view key, SubscriptionMessage message)
{
    if (auto failure = refused_by_listener("unsubscribe"))
        return std::move(*failure);
    if (link_.is_over())
        return link_.refusal("unsubscribe");
    if (!message.payload.empty())
        if (auto valid = validate_message(link_.config(), message.kind, message.bytes()); !valid)
            return valid.error();
    const bool was_there = link_.subscriptions().remove(key, std::move(message));
    if (was_there) {
        services_.wake_writer(link_.shared_from_this());
        services_.written.wake(); // a flush() may have less to wait for
    }
    return was_there;
}

// --- waking

void LinkServices::wake_writer(std::shared_ptr<LinkImpl> link) noexcept
{
    try {
        std::lock_guard lock{to_wake_mutex};
        if (wakes_no_more)
            return;
        to_wake.push_back(std::move(link));
    } catch (const std::bad_alloc&) { // an accepted message must be written nevertheless
        wakes_all_writers = true;
    }
    loop.wake();
}

void LinkServices::wake_writers()
{
    constexpr std::size_t kept = 1024; // more was a rare burst
    {
        std::lock_guard lock{to_wake_mutex};
        waking.swap(to_wake);
    }
    for (const auto& link : waking) {
        try {
            link->wake_writer();
        } catch (...) { // the others must be woken nevertheless
            journal.record(std::current_exception(), "write");
        }
    }
    waking.clear();
    if (waking.capacity() > kept)
        waking.shrink_to_fit();
}

void LinkServices::wake_no_more() noexcept
{
    std::vector<std::shared_ptr<LinkImpl>> forgotten; // freed without the lock
    std::lock_guard lock{to_wake_mutex};
    wakes_no_more = true;
    forgotten.swap(to_wake);
}

// --- the coroutine

/// Moves the rate's window to the end of the write: a slow write is no pause in sending.
struct Writer::WriteEnd {
    Writer& writer;
    ~WriteEnd()
    {
        if (writer.limiter_ && writer.outbox_.is_rate_limited())
            writer.limiter_->written(writer.services_.loop.now());
    }
};

Task<> Writer::run(Context ctx, AnyTransport& transport, Connection& connection)
{
    for (;;) {
        connection.look_whether_restored();
        auto batch = outbox_.next_batch();
        outbox_.look_for_room(); // after it: it drops messages whose time is over
        if (!batch) {
            connection.nothing_to_write();
            if (outbox_.prepare_sleep()) {
                ctx.waiting_for("messages to send");
                co_await work_.wait();
            }
            outbox_.woke();
            continue;
        }
        if (limiter_ && outbox_.is_rate_limited()) {
            batch = allowed(*batch);
            if (!batch) {
                outbox_.put_back();
                co_await wait_for_rate(ctx);
                continue;
            }
        }
        outbox_.begin_write(*batch);
        if (outbox_.is_priority())
            connection.watch_for_answers();
        ctx.waiting_for("the peer to take what is written");
        const WriteEnd end{*this}; // also if the write fails
        co_await transport.write(ctx, *batch);
        writes_.fetch_add(1, std::memory_order_relaxed);
        outbox_.finish(*batch);
    }
}

/// Returns the part of the batch that may go now and then counts as sent; empty: none.
std::optional<Batch> Writer::allowed(const Batch& batch)
{
    const auto now = services_.loop.now();
    const auto begin = batch.begin(), end = batch.end();
    auto at = begin;
    while (at != end && limiter_->take(at->size(), now))
        ++at;
    if (at == begin)
        return std::nullopt;
    is_refused_ = false;
    return batch.until(at);
}

Task<> Writer::wait_for_rate(Context ctx)
{
    ctx.waiting_for("the rate limit");
    waits_.begin(services_.loop.now(), !std::exchange(is_refused_, true));
    try {
        (void)co_await ctx.wait(work_, limiter_->next_at());
    } catch (...) {
        waits_.end(services_.loop.now());
        throw;
    }
    waits_.end(services_.loop.now());
}

} // namespace sidecar::detail
