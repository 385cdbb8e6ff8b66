// What a sidecar can be told, apart from what its transport wants to know.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/loop_thread.hpp>

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
/// Half of `bytes` is for large messages, whole or not, and for the buffers (256 KiB each, or an
/// eighth of `bytes`) in which transports receive small ones.
struct QueueLimits {
    std::size_t bytes = 0;    ///< memory the queue may hold; 0: as much as by default
    std::size_t messages = 0; ///< messages the queue may hold; 0: one for every 64 bytes
};

struct Options {
    /// The one inbox of all links. At least four times the largest message limit in use; when it is
    /// full, reading from the peers pauses.
    QueueLimits inbox{.bytes = 8u << 20, .messages = 1u << 17};
    /// The outbox of each link; when it is full, send says so.
    QueueLimits outbox{.bytes = 4u << 20, .messages = 1u << 16};
    StopBudget stop{};
    /// How long receive(), and the loop where it has nothing to do, look again and again before
    /// they sleep. Zero: not at all. It buys latency (no wake-up by the system) with a core for
    /// each of them.
    Duration spin{};
    /// Empty: warnings and errors go to stderr.
    LogHook log{};
    /// Empty: the system's getaddrinfo.
    Lookup lookup{};
    /// Empty: a thread of the sidecar's own, from start() to the stop's end.
    std::optional<LoopThread> thread{};
};

/// What one link is told, apart from what its transport wants to know.
struct LinkOptions {
    /// The link's own outbox; without it Options::outbox.
    std::optional<QueueLimits> outbox{};
};

[[nodiscard]] std::string_view to_string(LogLevel level) noexcept;

} // namespace sidecar
