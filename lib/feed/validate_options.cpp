#include "feed/validate_options.hpp"

#include "base/failures.hpp"
#include "link/backoff.hpp"
#include "link/keep_alive.hpp"
#include "link/rate_limit.hpp"
#include "queue/overflow.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace sidecar::detail {
namespace {

Result<void> validate_queue(const char* name, const QueueLimits& limits,
                            std::size_t max_message_bytes)
{
    constexpr std::size_t factor = 4; // no message takes more than a quarter
    if (max_message_bytes == 0)
        return bad_options(
            fmt::format("{}: a message limit of 0 bytes lets nothing through", name));
    if (max_message_bytes > UINT32_MAX)
        return bad_options(
            fmt::format("{}: messages of up to {} bytes; the most there can be is {}", name,
                        max_message_bytes, UINT32_MAX));
    if (limits.bytes / factor < max_message_bytes)
        return bad_options(
            fmt::format("{}: {} bytes are too few for messages of up to {}; it needs at least {}",
                        name, limits.bytes, max_message_bytes, factor * max_message_bytes));
    return {};
}

Result<void> validate_outbox(const QueueLimits& limits)
{
    return validate_queue("outbox", limits, 64);
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
    return validate_outbox(options.outbox);
}

Result<void> validate_link(const LinkConfig& config, const LinkOptions& options,
                           const QueueLimits& inbox)
{
    if (auto valid = config.check(); !valid)
        return valid;
    if (options.on_connected_timeout <= Duration{} || options.ack_timeout <= Duration{})
        return bad_options("on_connected_timeout and ack_timeout must be positive");
    const auto max_message_bytes = config.max_message_bytes();
    const Result<void> unset;
    for (const auto& valid : {validate_queue("inbox", inbox, max_message_bytes),
                              options.outbox ? validate_outbox(*options.outbox) : unset,
                              options.reconnect ? validate_reconnect(*options.reconnect) : unset,
                              options.rate_limit ? validate_rate_limit(*options.rate_limit) : unset,
                              options.liveness ? validate_liveness(*options.liveness) : unset,
                              validate_overflow(options.overflow, max_message_bytes)})
        if (!valid)
            return valid;
    if (!options.liveness || !options.liveness->heartbeat)
        return {};
    const auto& heartbeat = *options.liveness->heartbeat;
    const auto valid =
        config.check_send(heartbeat.kind, std::as_bytes(std::span{heartbeat.message}));
    if (valid)
        return {};
    const auto& why = valid.error().explanation();
    return Failure{static_cast<Error>(valid.error().code().value()),
                   {.cause = valid.error().cause(),
                    .explanation = fmt::format("liveness: the heartbeat cannot be sent{}{}",
                                               why.empty() ? "" : ": ", why)}};
}

} // namespace sidecar::detail
