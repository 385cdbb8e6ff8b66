// What a sidecar can be told, apart from what its transport wants to know.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/liveness.hpp>
#include <sidecar/overflow.hpp>
#include <sidecar/rate_limit.hpp>
#include <sidecar/reconnect.hpp>
#include <sidecar/session.hpp>

#include <boost/asio/ip/address.hpp>

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar {

enum class LogLevel { debug, info, warning, error };

/// Receives log lines. Side: called on any thread, also on the loop's own; must not block and must
/// not call back into the sidecar's waiting calls. What it throws is swallowed and counted in
/// Stats::callback_failures.
using LogHook = std::function<void(LogLevel, std::string_view)>;

/// Resolves a host name, blocking; throws, or returns nothing, where it cannot. Side: a helper
/// thread of its own.
using Lookup = std::function<std::vector<boost::asio::ip::address>(const std::string& host)>;

/// How long a stop may take, and how that time is divided. A stage that ends early leaves its time
/// to the next ones: the stages end at the latest at drain, drain + close, drain + close + cancel
/// and total after the request. Where the total is too small for their sum, the cancelling keeps up
/// to a quarter of it, and the thread's end an eighth.
struct StopBudget {
    /// Never passed, whatever the peer or a callback does
    Duration total = std::chrono::seconds{2};
    Duration drain = std::chrono::milliseconds{500};  ///< for writing what was sent before the stop
    Duration close = std::chrono::milliseconds{1000}; ///< for the polite close
    /// For cancelled coroutines to end; the rest is for the thread
    Duration cancel = std::chrono::milliseconds{250};
};

/// Bounds of a queue. A message counts with its payload and 8 to 16 bytes of record and padding.
/// Small messages, up to 32 KiB or a 16th of `bytes`, share a ring. In the inbox the ring has half of
/// `bytes` (rounded down to a power of two); the rest is for large messages, whole or not, and for the
/// buffers (256 KiB each, or an eighth of `bytes`) in which transports receive small ones. In an
/// outbox small messages may take all of `bytes`, and so may large ones; together they stay within
/// it. An outbox that is never empty for long uses up to twice `bytes` of memory (three times where
/// `bytes` is no power of two), until it is.
struct QueueLimits {
    std::size_t bytes = 0;    ///< memory the queue may hold; 0: as much as by default
    std::size_t messages = 0; ///< messages the queue may hold; 0: one for every 64 bytes
};

/// What one link is told, apart from what its transport wants to know.
struct LinkOptions {
    /// The link's own outbox; without it Options::outbox.
    std::optional<QueueLimits> outbox{};
    /// Without it a link that went down stays down: `.reconnect = Reconnect{}` turns it on.
    std::optional<Reconnect> reconnect{};
    /// Prepares each new connection before anything else is sent on it. Empty: there is nothing to
    /// prepare. Start() and open() wait for it.
    OnConnected on_connected{};
    /// How long on_connected may take; then the connection is given up.
    Duration on_connected_timeout = std::chrono::seconds{10};
    /// How long ordinary sends of a new connection wait for the answers to sticky messages. Then
    /// they go out, and Event::Kind::ready says which were not answered.
    Duration confirm_timeout = std::chrono::seconds{10};
    Overflow overflow{};
    /// Empty: as the transport wants it.
    std::optional<Liveness> liveness{};
    std::optional<RateLimit> rate_limit{};
};

struct Options {
    /// The one inbox of all links. At least four times the largest message limit in use; when it is
    /// full, reading from the peers pauses.
    QueueLimits inbox{.bytes = 8u << 20, .messages = 1u << 17};
    /// The outbox of each link; when it is full, send says so.
    QueueLimits outbox{.bytes = 2u << 20, .messages = 1u << 15};
    StopBudget stop{};
    /// How long receive(), and the loop where it has nothing to do, look again and again before
    /// they sleep. Zero: not at all. It buys latency (no wake-up by the system) with a core for
    /// each of them.
    Duration spin{};
    /// Empty: warnings and errors go to stderr.
    LogHook log{};
    /// Empty: the system's getaddrinfo.
    Lookup lookup{};
    /// For the link that start() connects.
    LinkOptions link{};
};

[[nodiscard]] SIDECAR_API std::string_view to_string(LogLevel level) noexcept;

} // namespace sidecar
