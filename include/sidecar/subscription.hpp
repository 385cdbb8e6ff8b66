// Subscriptions: a link sends them again on every connection.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace sidecar {

/// Recognises the peer's answer to a subscription. The library calls it for every received
/// message until one is the answer; the application receives that message too. Side: sidecar; must
/// not block. An exception counts as "no".
using AckPredicate = std::function<bool(const MessageView&)>;

/// A subscription that is given in the options: `{"ACME", "subscribe ACME", is_answer}`.
struct Subscription {
    std::string key{};                    ///< not empty, and different for each (bad_options)
    std::string message{};                ///< sent on each connection
    AckPredicate is_answer{};             ///< as for Link::subscribe
    MessageKind kind = MessageKind::text; ///< the kind that `message` is sent as
};

/// The state of a subscription on the present connection.
enum class SubscriptionState : std::uint8_t {
    waiting,         ///< not sent on this connection yet, or there is no connection
    pending,         ///< sent, not answered
    acknowledged,    ///< answered, or written if no answer is expected
    removal_pending, ///< unsubscribe() was called; the peer has not got it, or has not answered
};
[[nodiscard]] SIDECAR_API std::string_view to_string(SubscriptionState state) noexcept;

/// The number of subscriptions in each state.
struct SubscriptionCounts {
    std::size_t waiting = 0, pending = 0, acknowledged = 0, removal_pending = 0;
};

} // namespace sidecar
