// What one send can be told.
#pragma once

#include <sidecar/clock.hpp>

#include <cstdint>
#include <optional>

namespace sidecar {

/// Which of a link's queues a message waits in.
enum class Lane : std::uint8_t {
    ordinary,
    control, ///< overtakes what is ordinary (a cancel, a heartbeat)
};

struct SendOptions {
    Duration timeout{}; ///< how long to wait for room; zero: not at all
    /// Only on this connection (see Link::connection, Event::connection, Message::connection). If
    /// it is gone the send is refused with wrong_connection; if it goes before the message was
    /// written, the message is dropped and counted as unsent. Empty: on any.
    std::optional<std::uint32_t> connection{};
    /// If it is not being written by then, it is dropped and counted as unsent. max(): never.
    Duration expires_after = Duration::max();
    Lane lane = Lane::ordinary;
};

} // namespace sidecar
