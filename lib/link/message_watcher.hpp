// MessageWatcher: sees a link's messages before they go into the inbox.
#pragma once

#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>

namespace sidecar::detail {

/// Looks at each message of a link once: for the answer to a heartbeat, for the answer to a
/// subscription, or to keep it for on_connected. Side: sidecar.
class MessageWatcher {
public:
    enum class Verdict : std::uint8_t {
        pass,   ///< it continues to the inbox
        taken,  ///< the watcher keeps it
        answer, ///< consumed, and no data: it answers a ping of the library
    };
    /// Sees a message. Called once for each, and only while no watcher of the link is full.
    [[nodiscard]] virtual Verdict offer(const MessageView& message) = 0;
    /// Returns whether it has no capacity for a message. Call space_came() when it has again.
    [[nodiscard]] virtual bool is_full() const { return false; }
    /// Returns whether it might take a message of this size, which then is not received in place.
    [[nodiscard]] virtual bool may_take(std::size_t payload_bytes) const
    {
        (void)payload_bytes;
        return false;
    }

protected:
    ~MessageWatcher() = default;
};

} // namespace sidecar::detail
