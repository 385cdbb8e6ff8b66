// The application's side of a link.
#include "link/link.hpp"

#include "base/misuse.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace sidecar::detail {
void LinkImpl::set_outcome(Result<void> outcome)
{
    if (outcome_.set(std::move(outcome)))
        services_.progressed.wake();
}

Failure LinkImpl::refusal(const char* attempted) const
{
    const auto code = services_.stop.is_made()   ? services_.stop.refusal()
                      : gauges_.is_closed.load() ? Error::link_closed
                                                 : Error::not_connected;
    return {code, {.attempted = attempted, .endpoint = settings_.endpoint}};
}

Failure LinkImpl::too_big(std::size_t payload_bytes) const
{
    const auto most = outbox_.largest_message();
    return {
        Error::too_big,
        {.attempted = "send",
         .endpoint = settings_.endpoint,
         .explanation = fmt::format("{} bytes, the outbox takes at most {}", payload_bytes, most)}};
}

Result<void> LinkImpl::send(MessageKind kind, std::span<const std::byte> payload,
                            const SendOptions& options)
{
    using Push = Outbox::Push;
    Outbox::Sender sender{.connection = options.connection, .lane = options.lane};
    if (options.expires_after != Duration::max())
        sender.deadline = deadline_after(services_.loop.now(), options.expires_after);
    auto push = outbox_.push(kind, payload, sender);
    if (push == Push::full && options.timeout > Duration{}) {
        if (services_.loop.is_loop_thread())
            return called_on_loop("wait for room", settings_.endpoint);
        const auto deadline = deadline_after(services_.loop.now(), options.timeout);
        (void)services_.written.wait_until(services_.loop, deadline, [&] {
            push = outbox_.push(kind, payload, sender);
            return push != Push::full;
        });
    }
    switch (push) {
    case Push::queued: break;
    case Push::closed: return refusal("send");
    case Push::too_big: return too_big(payload.size());
    case Push::wrong_connection:
        return Failure{
            Error::wrong_connection,
            {.attempted = "send",
             .endpoint = settings_.endpoint,
             .explanation = fmt::format("meant for connection {}", *options.connection)}};
    case Push::full:
        if (options.timeout <= Duration{})
            return Error::full;
        return Failure{Error::timed_out,
                       {.attempted = "send",
                        .endpoint = settings_.endpoint,
                        .explanation = "the outbox stayed full"}};
    }
    // Ordinary messages may have to wait for others, and do not wake the writer then
    if (outbox_.wakes_writer() || options.lane == Lane::control) {
        gauges_.wakeups.fetch_add(1, std::memory_order_relaxed);
        try {
            wake_writer();
        } catch (...) {
            outbox_.note_not_woken();
            throw;
        }
    }
    services_.inbox.expect_answer();
    return {};
}

void LinkImpl::wake_writer()
{
    services_.loop.post([self = shared_from_this()] { self->writer_.wake(); });
}

Result<void> LinkImpl::flush(TimePoint deadline)
{
    if (services_.loop.is_loop_thread())
        return called_on_loop("flush", settings_.endpoint);
    using Fate = Outbox::Fate;
    Outbox::Mark mark{outbox_};
    const auto last_subscription = subscriptions_.last_unwritten();
    const auto look = [&] {
        const auto fate = outbox_.fate(mark);
        return fate != Fate::lost && subscriptions_.is_unwritten(last_subscription) ? Fate::waiting
                                                                                    : fate;
    };
    auto fate = Fate::waiting;
    const bool woke = services_.written.wait_until(services_.loop, deadline, [&] {
        fate = look();
        return fate != Fate::waiting || !outbox_.is_open() || services_.stop.is_made();
    });
    // What was written just before it went down counts as written.
    if (fate == Fate::waiting)
        fate = look();
    switch (fate) {
    case Fate::written: return {};
    case Fate::late: return flush_failed(Error::expired, "some of it waited for too long");
    case Fate::lost:
        if (outbox_.is_open() && !services_.stop.is_made())
            return flush_failed(Error::wrong_connection, "some of it was meant for another one");
        break;
    case Fate::waiting:
        if (!woke)
            return flush_failed(Error::timed_out, {});
        break;
    }
    return refusal("flush");
}

Failure LinkImpl::flush_failed(Error code, std::string why) const
{
    return {code,
            {.attempted = "flush", .endpoint = settings_.endpoint, .explanation = std::move(why)}};
}

Result<void> LinkImpl::stick(std::string key, SubscriptionMessage message)
{
    if (services_.stop.is_made() || gauges_.is_closed.load() || gauges_.has_ended.load())
        return refusal("add a sticky message");
    if (message.payload.size() > outbox_.limit_bytes())
        return too_big(message.payload.size());
    if (subscriptions_.add(std::move(key), std::move(message)))
        wake_writer();
    return {};
}

Result<bool> LinkImpl::unstick(std::string_view key, SubscriptionMessage message)
{
    if (services_.stop.is_made() || gauges_.is_closed.load() || gauges_.has_ended.load())
        return refusal("take a sticky message back");
    const auto removal = subscriptions_.remove(key, std::move(message));
    if (removal.has_changed) {
        wake_writer();
        services_.written.wake(); // who flushes, perhaps for what is not to be written any more
    }
    return removal.was_there;
}

Result<void> LinkImpl::close(Duration timeout)
{
    auto& loop = services_.loop;
    if (loop.is_loop_thread())
        return called_on_loop("close", settings_.endpoint);
    if (gauges_.has_ended.load())
        return {};
    if (services_.stop.is_made())
        return refusal("close");
    gauges_.is_closed = true;
    const auto now = loop.now();
    const auto deadline = deadline_after(now, std::max(timeout, Duration{}));
    const auto drain_by = deadline_after(now, std::max(timeout, Duration{}) / 2);
    loop.post(
        [self = shared_from_this(), drain_by, deadline] { self->close_alone(drain_by, deadline); });
    // The loop cuts it off at the deadline; this moment more lets it do so.
    const auto patience = deadline_after(deadline, std::chrono::milliseconds{20});
    const bool woke = services_.progressed.wait_until(
        loop, patience, [&] { return closed_.is_known() || services_.stop.is_made(); });
    if (closed_.is_known())
        return closed_.get();
    return woke ? refusal("close")
                : Failure{Error::timed_out, {.attempted = "close", .endpoint = settings_.endpoint}};
}

void LinkImpl::withdraw()
{
    gauges_.is_closed = true;
    services_.loop.post([self = shared_from_this()] {
        const auto now = self->services_.loop.now();
        self->close_alone(now, deadline_after(now, std::chrono::seconds{1}));
    });
}

std::string LinkImpl::describe() const
{
    return fmt::format("link {} ({}): {}, outbox {} messages", static_cast<std::uint32_t>(id()),
                       settings_.endpoint, note_.text(), outbox_.counts().queued);
}

} // namespace sidecar::detail
