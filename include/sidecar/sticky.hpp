// Sticky messages: what a link sends on every connection anew, such as subscriptions.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace sidecar {

/// Recognises the peer's answer to a sticky message. It is asked about every message that arrives
/// until one is the answer; the application gets that message too. Side: sidecar; it must not block.
/// What it throws counts as "no".
using IsAnswer = std::function<bool(const MessageView&)>;

/// Where a sticky message stands on the present connection.
enum class StickyState : std::uint8_t {
    waiting,         ///< not sent yet on this connection, or there is none
    pending,         ///< sent, not answered
    confirmed,       ///< answered, or sent where no answer is expected
    removal_pending, ///< taken back, but the peer has not been told or has not answered
};
[[nodiscard]] SIDECAR_API std::string_view to_string(StickyState state) noexcept;

/// How many sticky messages stand where.
struct StickyCounts {
    std::size_t waiting = 0, pending = 0, confirmed = 0, removal_pending = 0;
};

} // namespace sidecar
