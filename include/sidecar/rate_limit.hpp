// RateLimit: how much a link may send per time.
#pragma once

#include <sidecar/clock.hpp>

#include <cstdint>

namespace sidecar {

/// Limits the messages and the payload bytes that a link sends. Without a burst no window of `per`,
/// wherever it begins, has more than the limit; a slow write counts until it ends. With a burst it
/// is a token bucket, which begins full, holds the burst and fills evenly. Messages over the limit
/// wait in the outbox in order: send() returns `full` only if that is full. The limit belongs to
/// the link, not to the connection, so a reconnect does not reset it. The drain of a stop obeys it
/// too, and ends when its time is over.
///
/// A message of more bytes than the limit is sent alone, after a silence, and later messages wait
/// until it is paid for. Pings, pongs, heartbeats and close frames do not count.
struct RateLimit {
    std::uint64_t messages = 0; ///< in each `per`; zero: unlimited
    std::uint64_t bytes = 0;    ///< in each `per`; zero: unlimited
    /// Must be positive, and a day at most, if a limit is set (bad_options).
    Duration per = std::chrono::seconds{1};
    std::uint64_t burst_messages = 0; ///< at once, after a silence; zero: none
    std::uint64_t burst_bytes = 0;    ///< at once, after a silence; zero: none
};

} // namespace sidecar
