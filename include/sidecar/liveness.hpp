// Liveness: how a link finds out that its peer is gone without having said so.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/message.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace sidecar {

/// A question of the application's own protocol, for a transport that has none (TCP), or for a peer
/// that wants it in place of the transport's ping.
struct Heartbeat {
    std::string message{};                ///< may be empty, where the transport can send that
    MessageKind kind = MessageKind::text; ///< what `message` is sent as
    /// Recognises the answer, which then gives the round-trip time. Empty: nothing is measured; like
    /// any byte the answer still is a sign of life. Side: the loop's thread, for each message that
    /// comes and has at most 64 KiB; must not block. What it throws is recorded as callback_failed,
    /// and the message counts as no answer.
    std::function<bool(const MessageView&)> is_answer{};
    /// Whether the application receives the answers too. Those that it does not receive are no data:
    /// they are in no queue and in no count of messages.
    bool keeps_answers = false;
};

/// What follows when no data has come for Liveness::data_timeout.
enum class OnStale : std::uint8_t {
    tell, ///< the event `stale`, once; and `fresh` when data comes again
    drop, ///< the event, and then the link ends with Error::unresponsive
};

/// Two clocks for the silence of a peer. The first counts from the last byte that came, whatever it
/// belonged to: after `interval` the peer is asked (the transport's ping, or the heartbeat), and if
/// then nothing at all comes for `timeout`, the link ends at once with Error::unresponsive, without
/// a goodbye. The second counts from the last message: a server that answers pings and sends
/// nothing more is alive for the first clock only.
///
/// While reading pauses because the inbox is full, both clocks stand still; they begin anew when it
/// goes on. A timer that fires late, because the process was stopped or the thread was held, judges
/// only after what waits in the socket was read.
///
/// A link whose transport has no ping, and that has no heartbeat, has the second clock only.
struct Liveness {
    /// Silence before the peer is asked. Zero: it is never asked, and the first clock is off. May
    /// not be longer than `timeout` (bad_options): who wants to know sooner gains as much from
    /// asking sooner, and calls fewer peers dead that were only slow.
    Duration interval = std::chrono::seconds{15};
    /// For the answer, from when the question was written; what the system has not taken of it for
    /// so long, while it takes nothing else either, counts the same. A peer that is gone is so
    /// noticed within interval + timeout of its last byte. Must be positive where `interval` is.
    Duration timeout = std::chrono::seconds{15};
    /// Silence of data. Zero: never too long.
    Duration data_timeout{};
    OnStale on_stale = OnStale::tell; ///< `drop` needs a data_timeout (bad_options)
    /// In place of the transport's ping. Needs an interval (bad_options).
    std::optional<Heartbeat> heartbeat{};
};

} // namespace sidecar
