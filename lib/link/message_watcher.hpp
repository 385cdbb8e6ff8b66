// Sees a link's messages before they go into the inbox.
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
        pass,   ///< it goes on
        taken,  ///< it does not: the watcher keeps it
        answer, ///< it does not, and is no data: it answers a question of the library's
    };
    /// Called once for each message, and only while no watcher of the link is full.
    [[nodiscard]] virtual Verdict offer(const MessageView& message) = 0;
    /// Whether there is no room for another message; call space_came() when there is again.
    [[nodiscard]] virtual bool is_full() const { return false; }
    /// Whether it might take a message of this size, which then is not received in place.
    [[nodiscard]] virtual bool may_take(std::size_t payload_bytes) const
    {
        (void)payload_bytes;
        return false;
    }

protected:
    ~MessageWatcher() = default;
};

} // namespace sidecar::detail
