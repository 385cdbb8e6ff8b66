// What a queue's limits mean where they are left to us.
#pragma once

#include <sidecar/options.hpp>

#include <algorithm>
#include <cstddef>

namespace sidecar::detail {

/// How many messages a queue may hold: where the limit is 0, one for every 64 bytes, which small
/// messages reach at about the time when they fill the ring.
[[nodiscard]] constexpr std::size_t message_limit(const QueueLimits& limits) noexcept
{
    return limits.messages != 0 ? limits.messages : std::max<std::size_t>(limits.bytes / 64, 1);
}

/// The limits with nothing left open.
[[nodiscard]] constexpr QueueLimits resolved(QueueLimits limits, std::size_t default_bytes) noexcept
{
    if (limits.bytes == 0)
        limits.bytes = default_bytes;
    limits.messages = message_limit(limits);
    return limits;
}

} // namespace sidecar::detail
