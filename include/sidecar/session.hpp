// Session: a new connection while the coroutine on_connected prepares it.
#pragma once

#include <sidecar/connection_info.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/message.hpp>
#include <sidecar/payload.hpp>
#include <sidecar/task.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace sidecar {

class Context;

/// How a new connection's stream relates to the previous connection's.
enum class Continuity : std::uint8_t {
    first,     ///< the link's first connection
    continues, ///< nothing is missing: the stream continues where the last one broke
    restarted, ///< the stream begins again with a snapshot of everything
    lost,      ///< on_connected knows that messages are missing
    unknown,   ///< default after a reconnect: messages sent meanwhile may be missing
};
[[nodiscard]] SIDECAR_API std::string_view to_string(Continuity continuity) noexcept;

/// A connection before anything else uses it: no queued message is written yet, and no received
/// message reaches the application. LinkOptions::on_connected receives it.
/// Side: the loop's thread. Lifetime: until that coroutine ends.
class Session {
public:
    Session() = default;
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    virtual ~Session() = default;

    /// The number of this connection, counted from 1 for each link.
    [[nodiscard]] virtual std::uint32_t connection() const noexcept = 0;
    /// The protocol agreed with the peer, such as a WebSocket's subprotocol. Empty: none.
    [[nodiscard]] virtual std::string protocol() const = 0;

    /// The facts of this connection, such as the headers of the handshake.
    [[nodiscard]] virtual ConnectionInfo connection_info() const = 0;

    /// Refuses the connection for good: the link does not connect again (unless
    /// Reconnect::retry_if decides otherwise), and this failure is what start(), receive() and the
    /// link's last event return. Throws Exception (login_refused), which the coroutine passes on.
    [[noreturn]] virtual void refuse(std::string why) const = 0;

    /// Sends a message on this connection and waits until the system has taken it.
    /// Errors (thrown): bad_message, the connection's own. Cancellation: throws operation_aborted.
    /// Lifetime: copies the payload at once.
    [[nodiscard]] Task<> send(const Payload& payload)
    {
        return send(payload.kind(), payload.bytes());
    }
    /// Waits for the next message of this connection. The application does not receive it, unless
    /// pass_on() hands it on. Messages that the coroutine does not take here go to the application,
    /// in order.
    /// Errors (thrown): the connection's own. Cancellation: throws operation_aborted.
    [[nodiscard]] virtual Task<Message> receive() = 0;
    /// Hands a message on to the application, behind all that were handed on before. Waits for
    /// space in the inbox.
    /// Errors (thrown): too_big for more than a quarter of the inbox's bytes, on a link without an
    /// Overflow queue. Cancellation: throws operation_aborted.
    [[nodiscard]] virtual Task<> pass_on(Message message) = 0;
    /// Sets the Event::continuity of this connection. No effect after the first pass_on().
    virtual void set_continuity(Continuity continuity) noexcept = 0;

protected:
    [[nodiscard]] virtual Task<> send(MessageKind kind, std::span<const std::byte> payload) = 0;
};

/// Prepares each new connection before anything else is sent on it: it may log in and wait for the
/// answer. An exception fails the connection; with Error::login_refused, as Session::refuse()
/// throws it, no further attempt follows (see is_retryable()). Side: sidecar.
using OnConnected = std::function<Task<>(Context, Session&)>;

} // namespace sidecar
