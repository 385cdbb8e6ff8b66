// Implements Session: the connection that on_connected prepares.
#pragma once

#include "link/message_watcher.hpp"

#include <sidecar/error.hpp>
#include <sidecar/loop_event.hpp>
#include <sidecar/session.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sidecar::detail {

class LinkImpl;

/// Sits between a new connection and the application while on_connected runs. Received messages
/// wait here; reading pauses once they fill 256 KiB. Sent messages go into the outbox's
/// priority queue. Owned by the connection. Side: sidecar.
class SessionImpl final : public Session, public MessageWatcher {
public:
    /// Lifetime: `link` outlives it.
    SessionImpl(LinkImpl& link, std::uint32_t connection, Continuity continuity);
    ~SessionImpl() override;

    // Session
    std::uint32_t connection() const noexcept override { return connection_; }
    std::string protocol() const override;
    ConnectionInfo connection_info() const override;
    void refuse(std::string why) const override;
    Task<Message> receive() override;
    Task<> pass_on(Message message) override;
    void set_continuity(Continuity continuity) noexcept override { continuity_ = continuity; }

    // MessageWatcher
    Verdict offer(const MessageView& message) override;
    bool is_full() const override;
    bool may_take(std::size_t) const override { return true; }

    [[nodiscard]] Continuity continuity() const noexcept { return continuity_; }
    /// The connection broke: send() fails with `why` at once, receive() after the messages that
    /// arrived.
    void end(Failure why);
    /// Takes the messages that arrived and that receive() did not return.
    [[nodiscard]] std::deque<Message> take_unread() { return std::exchange(unread_, {}); }

private:
    Task<> send(MessageKind kind, std::span<const std::byte> payload) override;
    /// A message that is being sent. Shared by its sender and the outbox.
    struct Outgoing {
        LoopEvent done;
        bool is_written = false;
    };
    Task<> send_message(Message message);

    static constexpr std::size_t max_unread_bytes = 256u << 10;

    LinkImpl& link_;                                  // see its members for their sides
    const std::uint32_t connection_;                  // sidecar side
    Continuity continuity_;                           // sidecar side
    std::deque<Message> unread_;                      // sidecar side
    std::size_t unread_bytes_ = 0;                    // sidecar side
    LoopEvent arrived_;                               // sidecar side
    std::vector<std::weak_ptr<Outgoing>> waited_for_; // sidecar side; not written yet
    std::optional<Failure> ended_;                    // sidecar side
};

} // namespace sidecar::detail
