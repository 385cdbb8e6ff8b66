// Link: one connection of a running feed.
#pragma once

#include <sidecar/close_reason.hpp>
#include <sidecar/connection_info.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/payload.hpp>
#include <sidecar/send_options.hpp>
#include <sidecar/stats.hpp>
#include <sidecar/subscription.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace sidecar {

namespace detail {
class LinkImpl;
class Run;
} // namespace detail

/// One connection of a running feed, whatever its transport; from Feed::open() or Feed::link().
/// Cheap to copy. After its run has ended, its calls return `stopped`, and it keeps that run's
/// queues in memory until it is destroyed. A link that is down, and to which no Link refers,
/// releases its memory while the run continues.
/// Side: app, any thread.
class SIDECAR_API Link {
public:
    /// Queues a message for this link, like Feed::send.
    [[nodiscard]] Result<void> send(const Payload& payload, Duration timeout = {})
    {
        return send_message(payload.kind(), payload.bytes(), {.timeout = timeout});
    }
    /// Queues a message with options for this send. Errors: as Feed::send; wrong_connection if they
    /// name a connection that is not the present one.
    [[nodiscard]] Result<void> send(const Payload& payload, const SendOptions& options)
    {
        return send_message(payload.kind(), payload.bytes(), options);
    }
    /// Sends a message to this topic and waits for the answer, on a transport that carries requests.
    /// The answer comes to this call only, not to receive(); of several the first one.
    /// Blocks: at most `timeout`. Errors: those of send(); no_responders, at once, if nobody listens
    /// to the topic; timed_out; disconnected if the connection ends before; misuse on another
    /// transport, and on the loop's own thread. Cancellation: request_stop() wakes it. An answer that
    /// comes later is dropped and counts in Stats::discarded. Lifetime: copies all.
    [[nodiscard]] Result<Message> request(std::string_view topic, const Payload& payload,
                                          Duration timeout, std::span<const Header> headers = {})
    {
        return request_message(topic, payload.kind(), payload.bytes(), timeout, headers);
    }
    /// Waits like Feed::flush, for this link.
    [[nodiscard]] Result<void> flush(Duration timeout);
    /// The number in this link's messages and events.
    [[nodiscard]] LinkId id() const noexcept;
    [[nodiscard]] bool is_up() const noexcept;
    /// The protocol agreed with the peer when the link came up, such as a WebSocket's subprotocol.
    /// Empty: none.
    [[nodiscard]] std::string protocol() const;
    /// Returns the facts of the present connection, or of the latest one while the link is down:
    /// the peer's address, the headers of the handshake, the certificate. They are known before
    /// on_connected runs, and stay readable after a stop.
    [[nodiscard]] ConnectionInfo connection_info() const;
    /// The link's part of Feed::stats(): its sends, its connections, its peer. Values that all
    /// links share (the inbox, wake-ups of the application, errors) are zero.
    [[nodiscard]] Stats stats() const;
    /// The number of the latest connection that came up, counted from 1; 0: none yet. As
    /// SendOptions::connection it refuses a send once that connection is gone.
    [[nodiscard]] std::uint32_t connection() const noexcept;

    /// Subscribes: sends this message now and on each later connection, after on_connected and
    /// before ordinary messages, until unsubscribe(). Calling it again with the same key and
    /// message does nothing; a new message replaces the old one and is sent. `is_answer` recognises
    /// the peer's answer; without it the subscription counts as acknowledged once it is written.
    /// The subscription ends with its link. Feed::subscribe keeps it for later starts too.
    /// Blocks: not at all. Errors: bad_options without a key; bad_message, too_big, stopping,
    /// link_closed. Lifetime: copied.
    [[nodiscard]] Result<void> subscribe(std::string key, const Payload& payload,
                                         AckPredicate is_answer = {})
    {
        return subscribe_message(std::move(key), payload.kind(), payload.bytes(),
                                 std::move(is_answer));
    }
    /// Removes a subscription. If it was sent on the present connection, sends `payload`, unless
    /// that is empty. `is_answer` is as for subscribe(); it only says when the removal is done.
    /// Returns whether the key existed.
    /// Blocks: not at all. Errors: as subscribe().
    Result<bool> unsubscribe(std::string_view key, const Payload& payload = "",
                             AckPredicate is_answer = {})
    {
        return unsubscribe_message(key, payload.kind(), payload.bytes(), std::move(is_answer));
    }
    /// The state of this subscription; empty: no subscription has this key.
    [[nodiscard]] std::optional<SubscriptionState> subscription_state(std::string_view key) const;
    [[nodiscard]] SubscriptionCounts subscription_counts() const;

    /// Puts a listener's client into a group, for broadcasts (BroadcastOptions::group). It leaves all
    /// groups when it goes down. Joining twice is joining once.
    /// Blocks: not at all. Errors: bad_options without a name; misuse for a link that is no client;
    /// not_connected.
    Result<void> join(std::string group);
    /// Takes it out of a group. Returns whether it was in it. Errors: as join().
    Result<bool> leave(std::string_view group);

    /// Closes this link alone: sends its queued messages, which may take half of the time, then
    /// closes as a stop does, and removes the link. Messages received before stay receivable, and
    /// the feed continues. Closing a closed link succeeds. The first of several closes gives the
    /// code and the reason.
    /// Blocks: at most `timeout`, and 20 ms for cutting the connection then. Errors: timed_out, the
    /// close's own failure, stopping, misuse; bad_options for a code or a reason that a peer may
    /// not get, and nothing is closed.
    [[nodiscard]] Result<void> close(Duration timeout, CloseReason reason = {});

    /// For any stream, so that test frameworks can show a Result<Link>.
    template <class Stream>
    friend Stream& operator<<(Stream& stream, const Link& link)
    {
        stream << "link " << static_cast<std::uint32_t>(link.id());
        return stream;
    }

    Link(const Link&) = default;
    Link(Link&&) = default;
    Link& operator=(Link other) noexcept;
    ~Link() = default;

private:
    friend class Feed;
    friend class Listener;
    Link(std::shared_ptr<detail::Run> run, std::shared_ptr<detail::LinkImpl> link,
         std::uint64_t fork_generation) noexcept;
    [[nodiscard]] Result<void> send_message(MessageKind kind, std::span<const std::byte> payload,
                                            const SendOptions& options);
    [[nodiscard]] Result<Message> request_message(std::string_view topic, MessageKind kind,
                                                  std::span<const std::byte> payload,
                                                  Duration timeout,
                                                  std::span<const Header> headers);
    [[nodiscard]] Result<void> subscribe_message(std::string key, MessageKind kind,
                                                 std::span<const std::byte> payload,
                                                 AckPredicate is_answer);
    [[nodiscard]] Result<bool> unsubscribe_message(std::string_view key, MessageKind kind,
                                                   std::span<const std::byte> payload,
                                                   AckPredicate is_answer);
    [[nodiscard]] std::optional<Failure> refused(const char* attempted) const;
    [[nodiscard]] bool can_look() const noexcept;

    // The link refers to its run, so it is released first: by this order in the destructor, and by
    // swaps in an assignment.
    std::shared_ptr<detail::Run> run_;       // app side
    std::shared_ptr<detail::LinkImpl> link_; // app side
    std::uint64_t fork_generation_;          // app side; of the process that made it
};

} // namespace sidecar
