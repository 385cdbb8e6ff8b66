// Options of a sidecar, apart from its transport's.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/liveness.hpp>
#include <sidecar/overflow.hpp>
#include <sidecar/rate_limit.hpp>
#include <sidecar/reconnect.hpp>
#include <sidecar/session.hpp>
#include <sidecar/subscription.hpp>

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

/// Bounds of a queue. The system provides the memory when messages use it. A message counts with
/// its payload and 8 to 16 bytes of record and padding. Small messages, up to 32 KiB or a 16th of
/// `bytes`, share a ring.
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
///
/// Liveness: the ping clock counts from the last received byte, the idle clock from the last
/// message. Both stop while reading pauses because the inbox is full, and restart when reading
/// continues. If a timer fires late (the process was stopped, or the thread was held), the link
/// judges only after the reader has emptied the socket.
struct LinkOptions {
    /// Bounds of the link's outbox. A bound of 0 is the one of Options::outbox.
    QueueLimits outbox{};
    /// Empty: a link that went down stays down. `.reconnect = Reconnect{}` turns reconnecting on.
    std::optional<Reconnect> reconnect{};
    /// Prepares each new connection; start() and open() wait for it. Empty: no preparation.
    OnConnected on_connected{};
    /// How long on_connected may take before the link drops the connection.
    Duration on_connected_timeout = std::chrono::seconds{10};
    /// Sent on each connection, as if Link::subscribe was called before the first one.
    std::vector<Subscription> subscriptions{};
    /// How long ordinary sends of a new connection wait for answers to subscriptions. Then they
    /// are sent, and Event::Kind::ready names the subscriptions without an answer.
    Duration ack_timeout = std::chrono::seconds{10};
    Overflow overflow{};
    /// Silence of the peer before a ping (the transport's ping, or the heartbeat). Zero: never
    /// pings. Empty: the transport's default; 15 s if that is zero and there is a heartbeat. A
    /// positive interval needs a ping or a heartbeat (bad_options).
    std::optional<Duration> ping_interval{};
    /// Longest silence after a ping was written; must be positive if the link pings (bad_options).
    /// Then the link ends at once with Error::unresponsive, without a close handshake. A ping that
    /// cannot be written for so long, while the system takes no other byte either, counts the same.
    /// So a link notices a dead peer within ping_interval + ping_timeout of its last byte. Empty:
    /// the transport's default; 15 s if that is zero.
    std::optional<Duration> ping_timeout{};
    /// Longest silence of data. It finds a server that answers pings but sends no message. Zero:
    /// unlimited.
    Duration idle_timeout{};
    OnIdle on_idle = OnIdle::report; ///< `drop` needs an idle_timeout (bad_options)
    /// Replaces the transport's ping. Needs a ping_interval that is not zero (bad_options).
    std::optional<Heartbeat> heartbeat{};
    std::optional<RateLimit> rate_limit{};
};

/// Options of a sidecar, and of the link that start() connects.
struct Options {
    /// The inbox of all links. When it is full, reading pauses. It must be at least four times the
    /// largest max_message_bytes of a link (bad_options). 0: 8 MiB, or four times the
    /// max_message_bytes of the first link if that is more.
    QueueLimits inbox{};
    /// The outbox of each link. When it is full, send() returns `full`. A message may take all of
    /// it. 0: 2 MiB, or the link's max_message_bytes if that is more.
    QueueLimits outbox{};
    StopBudget stop{};
    /// How long receive(), and an idle loop, poll before they sleep. Zero: receive() polls where
    /// that pays, for some microseconds, and after a send for up to 400; the loop does not. Polling
    /// saves the system's wake-up latency and costs a core for each of them. A thread that loses its
    /// core meanwhile sleeps at once, and does not poll for up to two seconds.
    Duration busy_poll{};
    /// How many topics Feed::topic_stats() counts one by one, where messages have topics; further
    /// ones count together. Each takes about 150 bytes and its text. Zero: none are counted.
    std::size_t counted_topics = 0;
    /// Empty: warnings and errors go to stderr.
    LogHook log{};
    /// Empty: the system's getaddrinfo.
    Lookup lookup{};

    // Options of the first link: LinkOptions documents them.
    std::optional<Reconnect> reconnect{};
    OnConnected on_connected{};
    Duration on_connected_timeout = std::chrono::seconds{10};
    std::vector<Subscription> subscriptions{}; ///< at each start; see Feed::subscribe
    Duration ack_timeout = std::chrono::seconds{10};
    Overflow overflow{};
    std::optional<Duration> ping_interval{};
    std::optional<Duration> ping_timeout{};
    Duration idle_timeout{};
    OnIdle on_idle = OnIdle::report;
    std::optional<Heartbeat> heartbeat{};
    std::optional<RateLimit> rate_limit{};

    /// Returns the options of the first link, to open further ones with the same.
    [[nodiscard]] SIDECAR_API LinkOptions link_options() const;
};

[[nodiscard]] SIDECAR_API std::string_view to_string(LogLevel level) noexcept;

} // namespace sidecar
