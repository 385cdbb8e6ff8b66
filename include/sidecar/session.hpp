// Session: a connection that has just come up, in the hands of the coroutine that prepares it.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/message.hpp>
#include <sidecar/task.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace sidecar {

class Context;

/// What follows on a new connection, seen against what came before it.
enum class Continuity : std::uint8_t {
    first,     ///< the link's first connection
    continues, ///< nothing is missing: it goes on where the last one broke
    restarted, ///< it begins again, with all that there is to know (a snapshot)
    lost,      ///< what was sent meanwhile is missing; what a reconnect is taken for unless told
};
[[nodiscard]] SIDECAR_API std::string_view to_string(Continuity continuity) noexcept;

/// A connection before anything else uses it: nothing queued is written yet, and nothing that
/// arrives goes to the application. Given to LinkOptions::on_connected. Side: the loop's thread.
/// Lifetime: until that coroutine ends.
class Session {
public:
    Session() = default;
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    virtual ~Session() = default;

    /// The number of this connection, counted from 1 for each link.
    [[nodiscard]] virtual std::uint32_t connection() const noexcept = 0;
    /// What was agreed on with the peer: a WebSocket's subprotocol. Empty: nothing.
    [[nodiscard]] virtual std::string protocol() const = 0;

    /// Sends a message on this connection and waits until the system has taken it. Errors (thrown):
    /// bad_message, the connection's own. Cancellation: throws operation_aborted. Lifetime: the
    /// payload is copied at once.
    [[nodiscard]] Task<> send(std::string_view text)
    {
        return send(MessageKind::text, std::as_bytes(std::span{text}));
    }
    [[nodiscard]] Task<> send(std::span<const std::byte> bytes)
    {
        return send(MessageKind::bytes, bytes);
    }
    /// Waits for the next message of this connection, which the application will then not see,
    /// unless it is given to pass_on(). What is never asked for here goes to the application, in
    /// order. Errors (thrown): the connection's own. Cancellation: throws operation_aborted.
    [[nodiscard]] virtual Task<Message> receive() = 0;
    /// Hands a message on to the application, after all that was handed on before. Waits for free
    /// space in the inbox. Errors (thrown): too_big for more than a quarter of the inbox's bytes.
    [[nodiscard]] virtual Task<> pass_on(Message message) = 0;
    /// Says what follows; Event::continuity tells it. Without effect after the first pass_on().
    virtual void set_continuity(Continuity continuity) noexcept = 0;

protected:
    [[nodiscard]] virtual Task<> send(MessageKind kind, std::span<const std::byte> payload) = 0;
};

/// Prepares each new connection, before anything else is sent on it: logs in, say, and waits for
/// the answer. What it throws is the failure of the connection.
using OnConnected = std::function<Task<>(Context, Session&)>;

} // namespace sidecar
