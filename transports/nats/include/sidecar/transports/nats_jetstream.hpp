// JetStream of a Nats link: its consumer, and the acknowledgements.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/send_options.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar::nats {

/// The first message that a new consumer delivers.
enum class Begin : std::uint8_t {
    first,    ///< the oldest of the stream
    last,     ///< the newest of the stream
    next,     ///< the next that is published
    sequence, ///< the one with Consumer::sequence, or the first behind it
    time,     ///< the first from Consumer::time on
};

/// A consumer of a stream. A durable one that exists is used as it is. Durable: the server remembers which messages are acknowledged, delivers
/// the others again, and shares them among all links that name the same consumer. Ordered, without
/// a name: this link alone gets all messages in their order, none is acknowledged, and after a
/// reconnect it continues behind the last one; a message that the stream no longer has then is
/// reported as a gap (GapReason::not_delivered), with the exact number unless there is a filter.
struct Consumer {
    std::string stream{};  ///< its name; it must exist
    std::string durable{}; ///< the consumer's name, made if there is none; empty: an ordered one
    std::string filter{};  ///< only messages of this subject; wildcards may be in it; empty: all
    Begin begin = Begin::first;
    std::uint64_t sequence = 0;                   ///< for Begin::sequence
    std::chrono::system_clock::time_point time{}; ///< for Begin::time
    /// Durable: false (default): a message is acknowledged once the application has taken it. True:
    /// the application calls acknowledge(), or another function below.
    bool acknowledge_by_hand = false;
    /// Durable: after so long without an acknowledgement the server delivers a message again.
    Duration acknowledge_within = std::chrono::seconds{30};
    /// The most messages that are on their way, wait in the inbox or are not acknowledged.
    std::uint32_t max_pending = 512;
};

/// Remembers where an ordered consumer continues. A copy begins anew. Side: any thread.
class SIDECAR_API Position {
public:
    Position();
    Position(const Position&) : Position{} {}
    Position(Position&&) noexcept = default;
    Position& operator=(const Position& other)
    {
        if (this != &other)
            *this = Position{};
        return *this;
    }
    Position& operator=(Position&&) noexcept = default;
    ~Position() = default;
    struct State;
    /// For the transport.
    [[nodiscard]] const std::shared_ptr<State>& state() const noexcept { return state_; }

private:
    std::shared_ptr<State> state_; // sidecar side
};

/// The facts of a message's delivery by JetStream. Lifetime: as the message.
struct Delivery {
    std::string_view stream{}, consumer{};
    std::uint64_t delivered = 0; ///< how often so far: 1, or more after a redelivery
    std::uint64_t stream_sequence = 0, consumer_sequence = 0;
    std::chrono::system_clock::time_point stored{}; ///< when the stream took it
    std::uint64_t pending = 0; ///< messages of the consumer behind this one, as of the delivery
};
/// Empty: JetStream has not delivered it. Side: any thread.
[[nodiscard]] SIDECAR_API std::optional<Delivery> delivery(const MessageView& message) noexcept;
[[nodiscard]] inline std::optional<Delivery> delivery(const Message& message) noexcept
{
    return delivery(message.view());
}

/// Sends `text` to the server, as the functions below do.
template <class LinkOrFeed, class M>
[[nodiscard]] Result<void> answer_delivery(LinkOrFeed& to, const M& message, std::string_view text)
{
    if (!delivery(message))
        return Failure{
            Error::misuse,
            {.attempted = "acknowledge", .explanation = "the message is not from JetStream"}};
    return to.send(text, SendOptions{.priority = Priority::high, .topic = message.reply_to()});
}

/// These four are for Consumer::acknowledge_by_hand. `to`: the message's Link, or the Feed if that is
/// its first link. Side, blocks, errors: as send(); misuse if the message is not from JetStream.
/// The application has done its work: the server does not deliver the message again.
template <class LinkOrFeed, class M>
[[nodiscard]] Result<void> acknowledge(LinkOrFeed& to, const M& message)
{
    return answer_delivery(to, message, "+ACK");
}
/// The application failed: the server delivers the message again, now.
template <class LinkOrFeed, class M>
[[nodiscard]] Result<void> deliver_again(LinkOrFeed& to, const M& message)
{
    return answer_delivery(to, message, "-NAK");
}
/// Nobody can use it: the server never delivers it again.
template <class LinkOrFeed, class M>
[[nodiscard]] Result<void> give_up(LinkOrFeed& to, const M& message)
{
    return answer_delivery(to, message, "+TERM");
}
/// The application works on it: Consumer::acknowledge_within begins anew.
template <class LinkOrFeed, class M>
[[nodiscard]] Result<void> in_progress(LinkOrFeed& to, const M& message)
{
    return answer_delivery(to, message, "+WPI");
}

} // namespace sidecar::nats
