// RateLimit: how much a link may send in which time.
#pragma once

#include <sidecar/clock.hpp>

#include <cstdint>

namespace sidecar {

/// Limits the messages and the bytes of payload that a link sends. Without a burst no window of `per`,
/// wherever it begins, has more than the limit; what is written slowly counts until its write ends.
/// With a burst it is a token bucket, which begins full, holds the burst and fills evenly. Messages
/// over the limit wait in the outbox in their order: send() says `full` only where that is full. The
/// limit is the link's and not the connection's, so a reconnect does not begin it anew. The drain of a
/// stop obeys it too, and ends when its time is over.
///
/// A message of more bytes than the limit goes alone, after a silence, and the next ones wait until it
/// is paid. Pings, pongs, heartbeats and closes are not counted.
struct RateLimit {
    std::uint64_t messages = 0; ///< in each `per`; zero: any number
    std::uint64_t bytes = 0;    ///< in each `per`; zero: any number
    /// Must be positive, and a day at most, where a limit is given (bad_options).
    Duration per = std::chrono::seconds{1};
    std::uint64_t burst_messages = 0; ///< at once, after a silence; zero: none
    std::uint64_t burst_bytes = 0;    ///< at once, after a silence; zero: none
};

} // namespace sidecar
