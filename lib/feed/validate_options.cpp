#include "feed/validate_options.hpp"

#include "base/failures.hpp"
#include "base/text.hpp"
#include "link/backoff.hpp"
#include "link/keep_alive.hpp"
#include "link/rate_limit.hpp"
#include "link/writer.hpp"
#include "queue/memory_budget.hpp"
#include "queue/overflow.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string_view>

namespace sidecar::detail {
namespace {

Result<void> validate_bytes(const char* name, std::size_t bytes)
{
    constexpr std::size_t min_bytes = 256;
    if (bytes < min_bytes)
        return bad_options(fmt::format("{}: {} bytes are too few; set {}.bytes to at least {}, or "
                                       "to 0 for the default",
                                       name, bytes, name, min_bytes));
    if (bytes > max_queue_bytes)
        return bad_options(
            fmt::format("{}: {} bytes; the most there can be is {}", name, bytes, max_queue_bytes));
    return {};
}

/// Checks that any received message fits. `inbox`: without zeros.
Result<void> validate_inbox(const QueueLimits& inbox, std::size_t max_message_bytes)
{
    if (max_message_bytes == 0)
        return bad_options("inbox: a message limit of 0 bytes lets nothing through");
    if (max_message_bytes > max_message)
        return bad_options(
            fmt::format("inbox: messages of up to {} bytes; the most there can be is {}",
                        max_message_bytes, max_message));
    if (inbox.bytes / inbox_share < max_message_bytes)
        return bad_options(
            fmt::format("inbox: {} bytes are too few for messages of up to {} (max_message_bytes); "
                        "set Options::inbox.bytes to at least {}",
                        inbox.bytes, max_message_bytes, inbox_share * max_message_bytes));
    return {};
}

Result<void> validate_subscriptions(const LinkConfig& config, const LinkOptions& options,
                                    std::size_t max_bytes)
{
    std::set<std::string_view> keys;
    for (const auto& one : options.subscriptions) {
        if (!keys.insert(one.key).second)
            return bad_options(fmt::format("subscriptions: the key \"{}\" is not unique", one.key));
        const auto valid =
            validate_subscription(config, max_bytes, one.key, SubscriptionMessage::of(one));
        if (!valid) {
            const auto& failure = valid.error();
            return bad_options(fmt::format("subscriptions: \"{}\": {}", one.key,
                                           failure.explanation().empty() ? failure.code().message()
                                                                         : failure.explanation()));
        }
    }
    return {};
}

} // namespace

Result<void> validate_run(const Options& options)
{
    const auto zero = Duration{};
    const auto& stop = options.stop;
    if (stop.total <= zero || stop.drain < zero || stop.close < zero || stop.cancel < zero)
        return bad_options("stop: the total must be positive, no stage negative");
    if (options.busy_poll < zero)
        return bad_options("busy_poll: the time must not be negative");
    return validate_bytes("inbox", options.inbox.bytes);
}

Result<void> validate_link(const LinkConfig& config, const LinkOptions& options, const Options& run)
{
    if (auto valid = config.check(); !valid)
        return valid;
    if (options.on_connected_timeout <= Duration{} || options.ack_timeout <= Duration{})
        return bad_options("on_connected_timeout and ack_timeout must be positive");
    const auto max_message_bytes = config.max_message_bytes();
    const auto outbox = outbox_limits(options.outbox, run.outbox, max_message_bytes);
    const Result<void> unset;
    for (const auto& valid :
         {validate_inbox(run.inbox, max_message_bytes), validate_bytes("outbox", outbox.bytes),
          options.reconnect ? validate_reconnect(*options.reconnect) : unset,
          options.rate_limit ? validate_rate_limit(*options.rate_limit) : unset,
          validate_liveness(options, config),
          validate_overflow(options.overflow, max_message_bytes, config.carries_topics()),
          validate_subscriptions(config, options, outbox.bytes)})
        if (!valid)
            return valid;
    if (!options.heartbeat)
        return {};
    const auto& heartbeat = *options.heartbeat;
    const auto valid =
        config.check_send(heartbeat.kind, std::as_bytes(std::span{heartbeat.message}));
    if (valid)
        return {};
    const auto& why = valid.error().explanation();
    return valid.error().with_attempt({}, {}).with_explanation(
        fmt::format("the heartbeat cannot be sent{}{}", why.empty() ? "" : ": ", why));
}

Result<void> validate_listener(const LinkConfig& config, const LinkOptions& clients,
                               const Options& run)
{
    const auto& settings = *config.client_settings();
    const auto& overflow = settings.overflow;
    if (clients.reconnect || !clients.subscriptions.empty())
        return bad_options("reconnect and subscriptions: a listener's client does not connect");
    if (settings.handshake_timeout <= Duration{})
        return bad_options("handshake_timeout must be positive");
    if (overflow.policy == OverflowPolicy::pause_reading)
        return bad_options("overflow: a listener does not wait for its clients; use drop_oldest, "
                           "drop_newest, conflate or fail");
    if (static_cast<bool>(overflow.key) != (overflow.policy == OverflowPolicy::conflate))
        return bad_options("overflow: `conflate` needs a key, and no other policy has one");
    if (overflow.fail_after < Duration{})
        return bad_options("overflow: fail_after must not be negative");
    auto options = clients;
    options.outbox = settings.outbox_or(clients.outbox);
    return validate_link(config, options, run);
}

Result<void> validate_close(const CloseReason& reason)
{
    constexpr std::size_t max_reason_bytes = 123; // a control frame has 125, the code takes two
    const auto code = reason.code;
    const bool may_be_sent = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
                             || (code >= 3000 && code <= 4999);
    if (!may_be_sent)
        return bad_options(fmt::format("the close code {}: it must be 1000 to 1003, 1007 to 1014 "
                                       "or 3000 to 4999",
                                       code));
    if (reason.reason.size() > max_reason_bytes)
        return bad_options(fmt::format("a close reason of {} bytes; the limit is {}",
                                       reason.reason.size(), max_reason_bytes));
    if (clean_utf8(reason.reason) != reason.reason)
        return bad_options("the close reason is not UTF-8");
    return {};
}

} // namespace sidecar::detail

namespace sidecar {

LinkOptions Options::link_options() const
{
    // Names every field, so that a new one does not compile before it is copied here
    const auto& [inbox, outbox, stop, busy_poll, counted_topics, log, lookup, reconnect,
                 on_connected, on_connected_timeout, subscriptions, ack_timeout, overflow,
                 ping_interval, ping_timeout, idle_timeout, on_idle, heartbeat, rate_limit] = *this;
    return {outbox,      reconnect, on_connected,  on_connected_timeout, subscriptions,
            ack_timeout, overflow,  ping_interval, ping_timeout,         idle_timeout,
            on_idle,     heartbeat, rate_limit};
}

} // namespace sidecar
