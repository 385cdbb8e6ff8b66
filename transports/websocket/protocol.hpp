// A client's RFC 6455 without any I/O: what the peer's bytes mean, and what is to be answered.
#pragma once

#include "receiver.hpp"
#include "sender.hpp"

#include <cstddef>

namespace sidecar::websocket {

/// Both halves of one connection after its handshake; owned by the transport. It is given the bytes
/// that come, and gives messages, answers (as bytes to write) and the ending; it waits for nothing.
///
/// Invariants: those of Receiver and Sender; at most one pong and one Close are owed at any time.
class Protocol : public Receiver, public Sender {
public:
    using Receiver::Receiver;

    /// Compression was agreed on. Before all else.
    void agree_on(const Deflation& deflation)
    {
        expect_compressed(deflation.peer_keeps_context);
        if (deflation.level != 0)
            compress(deflation);
    }
    /// A pong, or the Close that answers the peer's or tells it what it did wrong. To be written
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
    /// Memory beyond the object itself.
    [[nodiscard]] std::size_t held_bytes() const noexcept
    {
        return Receiver::held_bytes() + Sender::held_bytes();
    }
};

} // namespace sidecar::websocket
