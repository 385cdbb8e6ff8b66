// RFC 6455 without I/O: the meaning of the peer's bytes and the answers to them.
#pragma once

#include "receiver.hpp"
#include "sender.hpp"

#include <cstddef>

namespace sidecar::websocket {

/// Both halves of one connection after its handshake; the transport owns it. It takes the bytes
/// that arrive and returns messages, answers (as bytes to write) and the ending. It waits for
/// nothing.
///
/// Invariants: those of Receiver and Sender; it owes at most one pong and one Close at any time.
class Protocol : public Receiver, public Sender {
public:
    explicit Protocol(std::size_t max_message_bytes, Role role = Role::client) noexcept
        : Receiver{max_message_bytes, role}, Sender{role}
    {
    }

    /// Takes over the agreed compression; called first.
    void agree_on(const Deflation& deflation)
    {
        expect_compressed(deflation.peer_keeps_context);
        if (deflation.level != 0)
            compress(deflation);
    }
    /// Whether a pong, or a Close that answers the peer's or names its fault, must be written
    /// before any further message.
    [[nodiscard]] bool owes_answer() const noexcept
    {
        return (has_ping() || ending()) && !is_send_over();
    }
    void append_answer(Buffer& out)
    {
        if (has_ping())
            append_pong(out, take_ping());
        if (ending())
            append_close(out, ending()->close_code, {});
    }
    /// Bytes allocated outside the object.
    [[nodiscard]] std::size_t held_bytes() const noexcept
    {
        return Receiver::held_bytes() + Sender::held_bytes();
    }
};

} // namespace sidecar::websocket
