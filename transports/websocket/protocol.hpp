// A client's RFC 6455 without any I/O: what the peer's bytes mean, and what is to be answered.
#pragma once

#include "receiver.hpp"
#include "sender.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sidecar::websocket {

/// Both halves of one connection after its handshake; owned by the transport. It is given the bytes
/// that come, and gives messages, answers (as bytes to write) and the verdict; it waits for nothing.
///
/// Invariants: what Receiver and Sender promise; at most one pong and one Close are owed at any
/// time, so a peer that never reads makes nothing grow.
class Protocol {
public:
    using Buffer = Sender::Buffer;

    explicit Protocol(std::size_t max_message_bytes) noexcept : receiver_{max_message_bytes} {}

    /// Compression was agreed on. Before all else.
    void agree_on(const Deflation& deflation)
    {
        receiver_.expect_compressed(deflation.peer_keeps_context);
        if (deflation.level != 0)
            sender_.compress(deflation);
    }

    // --- what comes: as Receiver says
    [[nodiscard]] DecodedFrame decode(std::span<const std::byte> bytes)
    {
        return receiver_.decode(bytes);
    }
    void received(std::span<const std::byte> bytes, bool is_last)
    {
        receiver_.received(bytes, is_last);
    }
    [[nodiscard]] std::size_t look_ahead(std::span<const std::byte> bytes, std::size_t offset)
    {
        return receiver_.look_ahead(bytes, offset);
    }
    [[nodiscard]] std::uint64_t fragment_left_bytes() const noexcept
    {
        return receiver_.fragment_left_bytes();
    }
    /// Why nothing more of the peer's is looked at; empty as long as more is.
    [[nodiscard]] const std::optional<Ending>& ending() const noexcept
    {
        return receiver_.ending();
    }
    /// Memory beyond the object itself.
    [[nodiscard]] std::size_t held_bytes() const noexcept
    {
        return receiver_.held_bytes() + sender_.held_bytes();
    }

    // --- what goes
    /// A pong, or the Close that answers the peer's or tells it what it did wrong. To be written
    /// before any further message.
    [[nodiscard]] bool owes_answer() const noexcept
    {
        return (receiver_.pings().is_waiting() || ending()) && !sender_.is_over();
    }
    void append_answer(Buffer& out);
    /// False: our Close was appended before, and nothing leaves behind it.
    [[nodiscard]] bool append_message(Buffer& out, MessageKind kind,
                                      std::span<const std::byte> payload)
    {
        return sender_.append_message(out, kind, payload);
    }
    /// The same for one that is appended in pieces, which may not be interrupted by a message. Only
    /// while nothing of ours is a Close yet.
    [[nodiscard]] MessageInPieces begin_message(MessageKind kind, std::size_t payload_bytes)
    {
        return sender_.begin_message(kind, payload_bytes);
    }
    /// Ours: the peer's answer to it is an ending(). Again: no effect.
    void append_close(Buffer& out, std::uint16_t code, std::string_view reason)
    {
        sender_.append_close(out, code, reason);
    }
    /// Our Close was appended.
    [[nodiscard]] bool is_send_over() const noexcept { return sender_.is_over(); }

private:
    Receiver receiver_; // sidecar side
    Sender sender_;     // sidecar side
};

} // namespace sidecar::websocket
