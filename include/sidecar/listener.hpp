// Listener: the server's end of a feed; and the options of a broadcast.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>
#include <sidecar/link.hpp>
#include <sidecar/payload.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar {

/// Chooses the clients of a broadcast.
struct BroadcastOptions {
    /// Only to clients that joined this group (Link::join). Empty: to all. Lifetime: borrowed.
    std::string_view group{};
    /// Only to clients for which it returns true. Side: the calling thread. Empty: to all.
    std::function<bool(LinkId)> to{};
    /// Also keeps the message under this key for clients that come later, as Listener::retain()
    /// does, at the same moment. Empty: it is not kept. Not with `group` or `to` (bad_options).
    std::string_view retain_as{};
};

/// A listening address of a running feed, and its clients; from Feed::listen() or
/// Server::listener(). Cheap to copy. It lives and ends as a Link does; each of its clients is a
/// Link too.
/// Side: app, any thread.
class SIDECAR_API Listener {
public:
    /// The number of the listener's own events: `up` once it listens, `down` when it ends.
    [[nodiscard]] LinkId id() const noexcept { return link_.id(); }
    [[nodiscard]] bool is_up() const noexcept { return link_.is_up(); }
    /// The address that it is bound to: "127.0.0.1:8080", "unix:/run/feed.sock".
    [[nodiscard]] std::string address() const;
    /// The port that it is bound to; 0: it has none, as on a Unix-domain socket.
    [[nodiscard]] std::uint16_t port() const;
    /// The clients that are up.
    [[nodiscard]] std::vector<Link> clients() const;
    [[nodiscard]] std::size_t client_count() const;
    /// The counters of its clients in sum, as Link::stats().
    [[nodiscard]] Stats stats() const;

    /// Queues a message for each of its clients, or for those that the options choose; returns for
    /// how many. ClientOverflow says what a client gets that does not keep up. In order with
    /// Link::send() of the same thread.
    /// Blocks: not at all. Errors: bad_message, too_big, stopping, stopped, link_closed after
    /// close(), bad_options. Lifetime: copies the payload, once for all.
    Result<std::size_t> broadcast(const Payload& payload, const BroadcastOptions& options = {})
    {
        return broadcast_message(payload.kind(), payload.bytes(), options);
    }
    /// Keeps a message for clients that come later: each gets what is kept, one message for each key
    /// in the order of the first retain(), before all broadcasts that follow. The same key replaces
    /// a message.
    /// Blocks: not at all. Errors: bad_options without a key; as broadcast().
    Result<void> retain(std::string key, const Payload& payload)
    {
        return retain_message(std::move(key), payload.kind(), payload.bytes());
    }
    /// Removes the message under this key. Returns whether there was one.
    bool forget(std::string_view key);

    /// Accepts no more clients and closes those that are there with `reason`, as Link::close() does.
    /// Blocks: at most `timeout`. Errors: timed_out (then the rest is cut), stopping, misuse,
    /// bad_options.
    [[nodiscard]] Result<void> close(Duration timeout, CloseReason reason = {1001, {}});

private:
    friend class Feed;
    explicit Listener(Link link) noexcept : link_{std::move(link)} {}
    [[nodiscard]] Result<std::size_t> broadcast_message(MessageKind kind,
                                                        std::span<const std::byte> payload,
                                                        const BroadcastOptions& options);
    [[nodiscard]] Result<void> retain_message(std::string key, MessageKind kind,
                                              std::span<const std::byte> payload);

    Link link_; // app side; the listener's own
};

} // namespace sidecar
