// What one send can be told.
#pragma once

#include <sidecar/clock.hpp>

#include <cstdint>
#include <optional>

namespace sidecar {

/// Which of a link's queues a message waits in. Within one, messages keep their order.
enum class Lane : std::uint8_t {
    ordinary, ///< the outbox
    /// Overtakes all that is ordinary and that the transport was not given yet (a cancel, a
    /// heartbeat), and does not wait for sticky messages to be answered. For few and small ones: 64
    /// messages and 64 KiB at most, which do not count in the outbox, so there is room here while
    /// that is full.
    control,
};

struct SendOptions {
    Duration timeout{}; ///< how long to wait for room; zero: not at all
    /// Only on this connection (see Link::connection, Event::connection, Message::connection). If
    /// it is gone the send is refused with wrong_connection; if it goes before the message was
    /// written, the message is dropped and counted as unsent. Empty: on any.
    std::optional<std::uint32_t> connection{};
    /// If the transport was not given it so long after the call, it is dropped when its turn comes, and
    /// counted as Stats::unsent and unsent_late; who waits in flush() is told `expired`. max(): never.
    Duration expires_after = Duration::max();
    Lane lane = Lane::ordinary;
};

} // namespace sidecar
