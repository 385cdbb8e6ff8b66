// Sticky messages: a link sends them anew on every connection. Subscriptions are the usual ones.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace sidecar {

/// Recognises the peer's answer to a sticky message. The library calls it for every received
/// message until one is the answer; the application receives that message too. Side: sidecar; must
/// not block. An exception counts as "no".
using IsAnswer = std::function<bool(const MessageView&)>;

/// The state of a sticky message on the present connection.
enum class StickyState : std::uint8_t {
    waiting,         ///< not sent on this connection yet, or there is no connection
    pending,         ///< sent, not answered
    confirmed,       ///< answered, or written if no answer is expected
    removal_pending, ///< unstick() was called; the peer has not got it, or has not answered
};
[[nodiscard]] SIDECAR_API std::string_view to_string(StickyState state) noexcept;

/// The number of sticky messages in each state.
struct StickyCounts {
    std::size_t waiting = 0, pending = 0, confirmed = 0, removal_pending = 0;
};

} // namespace sidecar
