// Options of a sidecar, apart from its transport's.
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

/// Receives log lines. Side: any thread, also the loop's own; must not block, and must not make a
/// call of the sidecar that waits. Exceptions are swallowed and counted in
/// Stats::callback_failures.
using LogHook = std::function<void(LogLevel, std::string_view)>;

/// Resolves a host name; may block. Throws, or returns nothing, if it cannot. Side: a separate
/// helper thread.
using Lookup = std::function<std::vector<boost::asio::ip::address>(const std::string& host)>;

/// How long a stop may take, and how its stages divide that time. A stage that ends early leaves
/// its time to the next ones: the stages end at the latest at drain, drain + close, drain + close +
/// cancel and total after the request. If the total is too small for their sum, the cancel stage
/// keeps up to a quarter of it, and the thread's end an eighth, at most 50 ms.
struct StopBudget {
    /// Never exceeded, whatever the peer or a callback does
    Duration total = std::chrono::seconds{2};
    Duration drain = std::chrono::milliseconds{500};  ///< for writing what was sent before the stop
    Duration close = std::chrono::milliseconds{1000}; ///< for the protocol's close handshake
    /// For the end of cancelled coroutines; the rest is for the thread's end
    Duration cancel = std::chrono::milliseconds{250};
};

/// Bounds of a queue. A message counts with its payload and 8 to 16 bytes of record and padding.
/// Small messages, up to 32 KiB or a 16th of `bytes`, share a ring.
///
/// Inbox: the ring has half of `bytes` (rounded down to a power of two). The rest is for large
/// messages, whole or not, and for the buffers in which transports receive small ones (256 KiB
/// each, or an eighth of this rest).
///
/// Outbox: small messages may take all of `bytes`, and so may large ones; together they stay within
/// it. An outbox that is not empty for long uses up to twice `bytes` of memory (three times if
/// `bytes` is no power of two), until it is empty.
struct QueueLimits {
    std::size_t bytes = 0;    ///< memory the queue may hold; 0: the default
    std::size_t messages = 0; ///< messages the queue may hold; 0: one for every 64 bytes
};

/// Options of one link, apart from its transport's.
struct LinkOptions {
    /// Bounds of the link's outbox. Empty: Options::outbox.
    std::optional<QueueLimits> outbox{};
    /// Empty: a link that went down stays down. `.reconnect = Reconnect{}` turns reconnecting on.
    std::optional<Reconnect> reconnect{};
    /// Prepares each new connection; start() and open() wait for it. Empty: no preparation.
    OnConnected on_connected{};
    /// How long on_connected may take before the link drops the connection.
    Duration on_connected_timeout = std::chrono::seconds{10};
    /// How long ordinary sends of a new connection wait for answers to subscriptions. Then they
    /// are sent, and Event::Kind::ready names the messages without an answer.
    Duration ack_timeout = std::chrono::seconds{10};
    Overflow overflow{};
    /// Empty: the transport's default.
    std::optional<Liveness> liveness{};
    std::optional<RateLimit> rate_limit{};
};

struct Options {
    /// The inbox of all links. At least four times the largest message limit in use. When it is
    /// full, reading pauses. A transport's max_message_bytes limits received messages.
    QueueLimits inbox{.bytes = 8u << 20, .messages = 1u << 17};
    /// The outbox of each link. When it is full, send() returns `full`. It also limits sent
    /// messages.
    QueueLimits outbox{.bytes = 2u << 20, .messages = 1u << 15};
    StopBudget stop{};
    /// How long receive(), and an idle loop, poll before they sleep. Zero: not at all. Polling
    /// saves the system's wake-up latency and costs a core for each of them.
    Duration busy_poll{};
    /// Empty: warnings and errors go to stderr.
    LogHook log{};
    /// Empty: the system's getaddrinfo.
    Lookup lookup{};
    /// Options of the link that start() connects.
    LinkOptions link{};
};

[[nodiscard]] SIDECAR_API std::string_view to_string(LogLevel level) noexcept;

} // namespace sidecar
