// The sending half of RFC 6455 without any I/O: messages and control frames in, bytes out.
#pragma once

#include "close_code.hpp"
#include "frame.hpp"
#include "mask.hpp"

#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace sidecar::websocket {

/// A client's frames, each masked with a key of its own, appended to buffers that are written in the
/// order in which they were filled. Owned by its Protocol. Invariant: nothing is appended behind our
/// Close.
class Sender {
public:
    using Buffer = std::vector<std::byte>;

    /// All these do nothing once our Close was appended; false says so.
    bool append_message(Buffer& out, MessageKind kind, std::span<const std::byte> payload)
    {
        return append(out, kind == MessageKind::text ? Opcode::text : Opcode::binary, payload);
    }
    bool append_pong(Buffer& out, std::span<const std::byte> payload)
    {
        return append(out, Opcode::pong, payload);
    }
    /// A reason that is too long is cut where a character ends. Without a code it is left out.
    bool append_close(Buffer& out, std::uint16_t code, std::string_view reason);

    /// Our Close was appended.
    [[nodiscard]] bool is_over() const noexcept { return is_over_; }

private:
    bool append(Buffer& out, Opcode opcode, std::span<const std::byte> payload);

    bool is_over_ = false; // sidecar side
};

/// A message's frame in pieces, for one that is too large to be copied at once. Of the payload,
/// `payload_bytes` must follow the head before any other frame does.
class FrameInPieces {
public:
    FrameInPieces(Sender::Buffer& out, Opcode opcode, std::uint64_t payload_bytes);
    /// The next piece of the payload.
    void append(Sender::Buffer& out, std::span<const std::byte> piece);
    /// Payload bytes appended so far.
    [[nodiscard]] std::size_t offset() const noexcept { return offset_; }

private:
    MaskKey key_ = new_mask_key(); // sidecar side
    std::size_t offset_ = 0;       // sidecar side
};

} // namespace sidecar::websocket
