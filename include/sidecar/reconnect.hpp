// Reconnect: how a link connects again after it went down; and Attempt.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

namespace sidecar {

/// One attempt to connect, for the coroutine that makes its options and for the transport.
struct Attempt {
    std::uint32_t connection = 1;          ///< the number that the connection will have
    std::uint32_t number = 1;              ///< 1: the first ever; an outage's attempts count from 2
    std::optional<Failure> last_failure{}; ///< of the attempt before, or the reason of `down`
    LinkId link{};                         ///< the link that connects
};

/// The fate of queued messages when a connection breaks. `discard` is the default, because a late
/// order would reach another market.
enum class OnDisconnect : std::uint8_t {
    discard, ///< lost, and counted as unsent; send() returns not_connected while the link is down
    /// Sent on the next connection, except those bound to a connection (SendOptions) and those that
    /// may be written in part; send() continues to queue.
    keep,
};

/// Whether another attempt can help while the program stays as it is. Failure::is_passing() decides
/// if it is set: a refused certificate never passes, a file that could not be read may. Otherwise
/// the result is false for a wrong address, wrong options, misuse, a fork, a closed link, a refused
/// login, a message that is too big, and an HTTP answer of 400 to 499 other than 408, 425 and 429.
/// Side: any thread; pure.
[[nodiscard]] SIDECAR_API bool is_retryable(const Failure& failure) noexcept;

/// How a link reconnects. The wait before an attempt is random, evenly between zero and the window.
/// The window doubles with each attempt, so that many clients of one lost server do not return at
/// once. An outage ends, and the window starts again, only after a connection that was up for
/// `stable_after`: with a peer that accepts and drops connections the window continues to grow. A
/// `Retry-After` of the peer is waited for before that.
struct Reconnect {
    Duration window = std::chrono::milliseconds{500}; ///< the first window; not zero
    Duration max_window = std::chrono::seconds{30};   ///< not below `window`
    Duration stable_after = std::chrono::seconds{20}; ///< zero: every connection counts as stable
    /// Added to the wait after the close codes 1012 and 1013 (the server restarts, or is
    /// overloaded). The window is then at least five times this; both together never exceed
    /// max_window.
    Duration busy_delay = std::chrono::seconds{5};
    std::uint32_t max_attempts = 0;        ///< of one outage; 0: no limit
    Duration max_outage = Duration::max(); ///< from its first failure to giving up; max(): no limit
    Duration connect_timeout = std::chrono::seconds{10}; ///< of each attempt
    /// True: start() and open() try until their timeout, not only until the first failure;
    /// start_in_background() without a timeout tries for ever.
    bool at_start = false;
    OnDisconnect on_disconnect = OnDisconnect::discard;
    /// Decides whether to try again after this failure. Empty: is_retryable(). Side: sidecar; an
    /// exception ends the link.
    std::function<bool(const Failure&)> retry_if{};
    /// Returns a number drawn evenly from all values of std::uint64_t. Empty: the link's generator,
    /// whose seed differs by process and by link. Side: sidecar; an exception ends the link.
    std::function<std::uint64_t()> random{};
};

} // namespace sidecar
