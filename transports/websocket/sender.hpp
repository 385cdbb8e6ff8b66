// The sending half of RFC 6455 without any I/O: messages and control frames in, bytes out.
#pragma once

#include "close_code.hpp"
#include "deflate.hpp"
#include "frame.hpp"
#include "mask.hpp"

#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace sidecar::websocket {

class Sender;

/// A frame whose payload is appended in pieces. Of the payload, `payload_bytes` must follow the head
/// before any other frame does.
class FrameInPieces {
public:
    using Buffer = std::vector<std::byte>;

    FrameInPieces(Buffer& out, Opcode opcode, std::uint64_t payload_bytes,
                  std::uint8_t flags = FrameHead::fin);
    /// The next piece of the payload.
    void append(Buffer& out, std::span<const std::byte> piece);
    /// Payload bytes appended so far.
    [[nodiscard]] std::size_t offset() const noexcept { return offset_; }

private:
    MaskKey key_ = new_mask_key(); // sidecar side
    std::size_t offset_ = 0;       // sidecar side
};

/// A message in pieces, for one that is too large to be encoded at once. Made by a Sender, which
/// must outlive it. No other message may come between its pieces.
///
/// Compressed, each piece is a fragment of its own, for how long it gets is known only then. Whether
/// it is compressed, the first piece decides: it must get smaller. A later one that does not adds
/// what zlib's stored blocks do, some bytes in each 16 KiB.
class MessageInPieces {
public:
    using Buffer = FrameInPieces::Buffer;

    /// The next piece of the payload; not empty.
    void append(Buffer& out, std::span<const std::byte> piece);
    /// Payload bytes appended so far, as they are without compression.
    [[nodiscard]] std::size_t offset() const noexcept { return offset_; }

private:
    friend Sender;
    MessageInPieces(Opcode opcode, std::size_t payload_bytes, Deflater* deflater) noexcept
        : opcode_{opcode}, payload_bytes_{payload_bytes}, deflater_{deflater}
    {
    }
    [[nodiscard]] bool append_compressed(Buffer& out, std::span<const std::byte> piece);

    Opcode opcode_;                      // sidecar side; of the next frame
    std::size_t payload_bytes_;          // sidecar side; of all pieces
    std::size_t offset_ = 0;             // sidecar side
    Deflater* deflater_;                 // sidecar side; null: it goes plain
    std::optional<FrameInPieces> plain_; // sidecar side
};

/// A client's frames, each masked with a key of its own, appended to buffers that are written in the
/// order in which they were filled. Owned by its Protocol. Invariant: nothing is appended behind our
/// Close.
class Sender {
public:
    using Buffer = FrameInPieces::Buffer;

    /// Messages may be compressed from now on.
    void compress(const Deflation& agreed) { deflater_.emplace(agreed); }

    /// All these do nothing once our Close was appended; false says so.
    bool append_message(Buffer& out, MessageKind kind, std::span<const std::byte> payload)
    {
        const auto opcode = opcode_of(kind);
        if (deflater_ && deflater_->wants(payload.size()) && !is_over_
            && append_compressed(out, opcode, payload))
            return true;
        return append(out, opcode, payload);
    }
    bool append_pong(Buffer& out, std::span<const std::byte> payload)
    {
        return append(out, Opcode::pong, payload);
    }
    /// A reason that is too long is cut where a character ends. Without a code it is left out.
    bool append_close(Buffer& out, std::uint16_t code, std::string_view reason);

    /// Only while nothing of ours is a Close.
    [[nodiscard]] MessageInPieces begin_message(MessageKind kind, std::size_t payload_bytes)
    {
        const bool is_compressed = deflater_ && deflater_->wants(payload_bytes);
        return {opcode_of(kind), payload_bytes, is_compressed ? &*deflater_ : nullptr};
    }

    /// Our Close was appended.
    [[nodiscard]] bool is_over() const noexcept { return is_over_; }

    /// Memory beyond the object itself, about.
    [[nodiscard]] std::size_t held_bytes() const noexcept
    {
        return deflater_ ? deflater_->held_bytes() : 0;
    }

private:
    [[nodiscard]] static Opcode opcode_of(MessageKind kind) noexcept
    {
        return kind == MessageKind::text ? Opcode::text : Opcode::binary;
    }
    bool append(Buffer& out, Opcode opcode, std::span<const std::byte> payload);
    [[nodiscard]] bool append_compressed(Buffer& out, Opcode opcode,
                                         std::span<const std::byte> payload);

    bool is_over_ = false;             // sidecar side
    std::optional<Deflater> deflater_; // sidecar side; none: nothing is compressed
};

} // namespace sidecar::websocket
