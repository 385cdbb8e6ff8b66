// Liveness: how a link detects a peer that is gone without a close.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/message.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
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

/// The action of a link after `idle_timeout` without data.
enum class OnIdle : std::uint8_t {
    report, ///< reports `stale`, once; and `fresh` when data arrives again
    drop,   ///< reports `stale`, then ends the link with Error::unresponsive
};

/// A transport's default for the pings of LinkOptions; see T::default_liveness().
struct Liveness {
    Duration ping_interval = std::chrono::seconds{15}; ///< zero: never pings
    Duration ping_timeout = std::chrono::seconds{15};  ///< zero: 15 s
};

} // namespace sidecar
