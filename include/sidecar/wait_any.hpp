// wait_any: one wait for several feeds.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>

#include <cstddef>
#include <initializer_list>
#include <span>

namespace sidecar {

class Feed;

/// Waits until one of the feeds has something to give, a message, an event or its end, and gives its
/// index: next_event() on it would not have to wait. So would receive() and poll(), but for what they
/// pass over (an `up`); and, like a descriptor that is readable, it is a hint where several threads
/// take from one feed. A feed that was not started or has stopped has something to say, at once and
/// each time: leave it out then. Null stands for a feed that is left out. Each feed may have a thread
/// of its own or share one.
///
/// The look begins at index `first` and goes around, so who passes the last index plus one lets no
/// busy feed keep the others waiting.
///
/// Side: app, any thread. Blocks: at most `timeout`; zero only looks. On virtual time it passes in the
/// feeds that have it as in receive(); the wait is over when it has passed in all. Errors: timed_out;
/// misuse (all are null, or the calling thread is the loop of one); forked. Cancellation: a feed's
/// request_stop() ends it, with that feed's index. Lifetime: the feeds outlive the call.
[[nodiscard]] SIDECAR_API Result<std::size_t> wait_any(std::span<Feed* const> feeds,
                                                       Duration timeout, std::size_t first = 0);
[[nodiscard]] inline Result<std::size_t> wait_any(std::initializer_list<Feed*> feeds,
                                                  Duration timeout, std::size_t first = 0)
{
    return wait_any(std::span<Feed* const>{feeds.begin(), feeds.size()}, timeout, first);
}

} // namespace sidecar
