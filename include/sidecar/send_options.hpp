// SendOptions: the options of one send.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/envelope.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

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
    /// The subject of the message, on a transport that carries topics (NATS). A
    /// transport that carries none refuses the three (bad_message). Lifetime: borrowed until the
    /// call returns, like the two below.
    std::string_view topic{};
    std::string_view reply_to{}; ///< the topic for an answer; empty: none
    std::span<const Header> headers{};
};

} // namespace sidecar
