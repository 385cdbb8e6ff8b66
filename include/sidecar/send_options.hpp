// SendOptions: the options of one send.
#pragma once

#include <sidecar/clock.hpp>

#include <cstdint>
#include <optional>

namespace sidecar {

/// The queue of a link in which a message waits. Each queue keeps its messages in order.
enum class Priority : std::uint8_t {
    normal, ///< the outbox
    /// Overtakes ordinary messages that the transport does not have yet (for a cancel, a
    /// heartbeat), and does not wait for answers to subscriptions. For few and small messages: it
    /// holds at most 64 messages and 64 KiB, or one larger message. They do not count in the
    /// outbox, so a full outbox does not block them.
    high,
};

/// The options of one send.
struct SendOptions {
    Duration timeout{}; ///< how long to wait for space; zero: not at all
    /// Sends on this connection only (see Link::connection, Event::connection,
    /// Message::connection). If it is gone, the send returns wrong_connection. If it ends before
    /// the message was written, the message is dropped and counted as unsent. Empty: any
    /// connection.
    std::optional<std::uint32_t> connection{};
    /// Drops the message when its turn comes this long after the call, or later. Stats::unsent and
    /// unsent_late count it, and a waiting flush() returns `expired`. max(): never.
    Duration expires_after = Duration::max();
    Priority priority = Priority::normal;
};

} // namespace sidecar
