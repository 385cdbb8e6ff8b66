// What a link does after it went down: Reconnect, and what an attempt to connect knows.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

namespace sidecar {

/// An attempt to connect, as the coroutine sees it that makes its options.
struct Attempt {
    std::uint32_t connection = 1;          ///< the number that the connection will have
    std::uint32_t number = 1;              ///< counted from the start, or from the latest `down`
    std::optional<Failure> last_failure{}; ///< why the one before failed, or why the link went down
};

/// What becomes of the messages that wait in the outbox when a connection breaks.
enum class QueuedSends : std::uint8_t {
    drop, ///< they are lost and counted as unsent; while the link is down send() says not_connected
    keep, ///< they go out on the next connection, but for those that name a connection (see
          ///< SendOptions) and those of which a part may be written; send() goes on queueing
};

/// Whether trying again can help while the program stays as it is. Failure::is_passing() says it where
/// that is known (a refused certificate never passes, a file that could not be read may); else not
/// where the address or the options are wrong, where a message is too big, nor after an HTTP answer of
/// 400 to 499 other than 408, 425 and 429.
[[nodiscard]] SIDECAR_API bool can_heal(const Failure& failure) noexcept;

/// How a link comes back. The wait before an attempt is drawn evenly from zero to the window, which
/// doubles with each attempt, so that many who lose their server at once do not come back at once.
/// It begins anew only after a connection that was up for `stable_after`: one that is accepted and
/// thrown out goes on growing. A `Retry-After` of the peer's is waited for before that.
struct Reconnect {
    Duration window = std::chrono::milliseconds{500}; ///< the first one; not zero
    Duration max_window = std::chrono::seconds{30};   ///< not below `window`
    Duration stable_after = std::chrono::seconds{20}; ///< zero: every connection counts as good
    /// Waited for in addition after the close codes 1012 and 1013 (the server restarts, or is
    /// overloaded), and the window is then five times that at least; both together never exceed
    /// max_window.
    Duration busy_delay = std::chrono::seconds{5};
    std::uint32_t max_attempts = 0;        ///< of one outage; 0: no limit
    Duration max_outage = Duration::max(); ///< from `down` to giving up; max(): no limit
    Duration connect_timeout = std::chrono::seconds{10}; ///< of each attempt
    /// The attempts of start() and open() too: they keep trying until their timeout, not only until
    /// the first failure.
    bool at_start = false;
    QueuedSends queued = QueuedSends::drop;
    /// Says whether to try again after this failure. Empty: can_heal(). Side: sidecar; what it
    /// throws ends the link.
    std::function<bool(const Failure&)> retry_if{};
    /// A number drawn evenly from all that a std::uint64_t holds. Side: sidecar. Empty: a generator
    /// of the link's own, whose seed differs by process and by link.
    std::function<std::uint64_t()> random{};
};

} // namespace sidecar
