// What a link does beside moving messages: watching its peer, and keeping to its rate.
#pragma once

#include "link/keep_alive.hpp"
#include "link/pacer.hpp"

#include <sidecar/detail/any_transport.hpp>
#include <sidecar/options.hpp>

namespace sidecar::detail {

/// Owned by the link, over all its connections.
struct Upkeep {
    /// Lifetime: `loop` and `link` outlive it.
    Upkeep(EventLoop& loop, KeepAliveLink& link, const LinkOptions& options,
           const LinkConfig& config)
        : keep_alive{loop, link, options.liveness.value_or(config.default_liveness()),
                     config.can_ping()},
          pacer{options.rate_limit, loop}
    {
    }

    KeepAlive keep_alive; // as its members say
    Pacer pacer;          // as its members say
};

/// Errors: bad_options; what the transport has against sending the heartbeat. Side: app.
[[nodiscard]] inline Result<void> check_upkeep(const LinkOptions& options, const LinkConfig& config)
{
    if (options.rate_limit)
        if (auto checked = check_rate_limit(*options.rate_limit); !checked)
            return checked;
    if (!options.liveness)
        return {};
    if (auto checked = check_liveness(*options.liveness); !checked)
        return checked;
    if (const auto& heartbeat = options.liveness->heartbeat)
        return config.check_send(heartbeat->kind, std::as_bytes(std::span{heartbeat->message}));
    return {};
}

} // namespace sidecar::detail
