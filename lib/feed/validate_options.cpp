#include "feed/validate_options.hpp"

#include "link/backoff.hpp"
#include "link/keep_alive.hpp"
#include "link/rate_limit.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace sidecar::detail {
namespace {

Result<void> check_limits(const char* name, const QueueLimits& limits,
                          std::size_t max_message_bytes, std::size_t factor)
{
    const auto refuse = [&](std::string why) -> Result<void> {
        return Failure{
            Error::bad_options,
            {.attempted = "start", .explanation = fmt::format("{}: {}", name, std::move(why))}};
    };
    if (max_message_bytes == 0)
        return refuse("a message limit of 0 bytes lets nothing through");
    if (max_message_bytes > UINT32_MAX)
        return refuse(fmt::format("messages of up to {} bytes; the most there can be is {}",
                                  max_message_bytes, UINT32_MAX));
    if (limits.bytes / factor < max_message_bytes)
        return refuse(
            fmt::format("{} bytes are too few for messages of up to {}; it needs at least {}",
                        limits.bytes, max_message_bytes, factor * max_message_bytes));
    return {};
}

} // namespace

Result<void> check_outbox(const QueueLimits& limits)
{
    return check_limits("outbox", limits, 64, 4);
}

Result<void> check_inbox(const QueueLimits& limits, std::size_t max_message_bytes)
{
    return check_limits("inbox", limits, max_message_bytes, 4);
}

Result<void> check_link(const LinkOptions& options)
{
    if (options.on_connected_timeout <= Duration{} || options.confirm_timeout <= Duration{})
        return Failure{
            Error::bad_options,
            {.attempted = "connect",
             .explanation = "on_connected_timeout and confirm_timeout must be positive"}};
    if (options.outbox)
        if (auto checked = check_outbox(*options.outbox); !checked)
            return checked;
    return options.reconnect ? validate_reconnect(*options.reconnect) : Result<void>{};
}

Result<void> check_upkeep(const LinkOptions& options, const LinkConfig& config)
{
    if (options.rate_limit)
        if (auto checked = validate_rate_limit(*options.rate_limit); !checked)
            return checked;
    if (!options.liveness)
        return {};
    if (auto checked = validate_liveness(*options.liveness); !checked)
        return checked;
    if (const auto& heartbeat = options.liveness->heartbeat)
        return config.check_send(heartbeat->kind, std::as_bytes(std::span{heartbeat->message}));
    return {};
}

Result<void> check_options(const Options& options)
{
    const auto refuse = [](const char* why) -> Result<void> {
        return Failure{Error::bad_options, {.attempted = "start", .explanation = why}};
    };
    const auto zero = Duration{};
    const auto& stop = options.stop;
    if (stop.total <= zero || stop.drain < zero || stop.close < zero || stop.cancel < zero)
        return refuse("stop: the total must be positive, no stage negative");
    if (options.spin < zero)
        return refuse("spin: the time must not be negative");
    return check_outbox(options.outbox);
}

} // namespace sidecar::detail
