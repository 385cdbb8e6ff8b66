// RateLimit: how much a link may send in which time.
#pragma once

#include <sidecar/clock.hpp>

#include <cstdint>

namespace sidecar {

/// A token bucket for messages and one for bytes of payload, of a link's sending. Both begin full,
/// hold a burst, and fill evenly; what is sent takes from both. Messages over the limit wait in the
/// outbox in their order: send() says `full` only where that is full. The buckets are the link's
/// and not the connection's, so a reconnect does not fill them. The drain of a stop obeys the limit
/// too, and ends when its time is over.
///
/// A message of more bytes than the burst goes when the bucket is full, and the next ones wait until
/// what it took too much is paid. Pings, pongs, heartbeats and closes are not counted.
struct RateLimit {
    std::uint64_t messages = 0; ///< in each `per`; zero: any number
    std::uint64_t bytes = 0;    ///< in each `per`; zero: any number
    /// Must be positive, and a day at most, where a limit is given (bad_options).
    Duration per = std::chrono::seconds{1};
    std::uint64_t burst_messages = 0; ///< at once, after a silence; zero: as `messages`
    std::uint64_t burst_bytes = 0;    ///< at once, after a silence; zero: as `bytes`
};

} // namespace sidecar
