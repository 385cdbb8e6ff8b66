// Liveness: how a link detects a peer that is gone without a close.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/message.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace sidecar {

/// A ping of the application's protocol, for a transport without pings (TCP), or for a peer that
/// expects it instead of the transport's ping.
struct Heartbeat {
    std::string message{};                ///< may be empty if the transport can send that
    MessageKind kind = MessageKind::text; ///< the kind that `message` is sent as
    /// Recognises the answer, which measures the round trip. Empty: nothing is measured; the answer
    /// still is a sign of life, like any byte.
    /// Side: the loop's thread, for each received message of at most 64 KiB; must not block. An
    /// exception is recorded as callback_failed, and the message counts as no answer.
    std::function<bool(const MessageView&)> is_answer{};
    /// Whether the application receives the answers too. If not, they are not data: no queue holds
    /// them, and no count of messages includes them.
    bool keeps_answers = false;
};

/// The action of a link after Liveness::data_timeout without data.
enum class OnStale : std::uint8_t {
    tell, ///< reports `stale`, once; and `fresh` when data arrives again
    drop, ///< reports `stale`, then ends the link with Error::unresponsive
};

/// Two timers for a silent peer:
/// 1. The ping timer counts from the last received byte. After `interval` the link pings the peer
///    (the transport's ping, or the heartbeat). If then no byte arrives for `timeout`, the link
///    ends at once with Error::unresponsive, without a close handshake.
/// 2. The data timer counts from the last message. It finds a server that answers pings but sends
///    no data.
///
/// Both stop while reading pauses because the inbox is full, and restart when reading continues. If
/// a timer fires late (the process was stopped, or the thread was held), the link judges only after
/// the reader has emptied the socket.
///
/// A link without a ping and without a heartbeat has the data timer only.
struct Liveness {
    /// Silence before a ping. Zero: never pings. Must not exceed `timeout` (bad_options): a shorter
    /// interval finds a dead peer as soon, and drops fewer peers that are only slow.
    Duration interval = std::chrono::seconds{15};
    /// Longest wait for the answer, from the ping's write. A ping that cannot be written for so
    /// long, while the system takes no other byte either, counts the same. So a link notices a dead
    /// peer within interval + timeout of its last byte. Must be positive if `interval` is.
    Duration timeout = std::chrono::seconds{15};
    /// Longest silence of data. Zero: unlimited.
    Duration data_timeout{};
    OnStale on_stale = OnStale::tell; ///< `drop` needs a data_timeout (bad_options)
    /// Replaces the transport's ping. Needs an interval (bad_options).
    std::optional<Heartbeat> heartbeat{};
};

} // namespace sidecar
