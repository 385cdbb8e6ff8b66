// The sending half of RFC 6455 without any I/O: messages and control frames in, bytes out. Each frame is
// masked (section 5.3), so that nobody who gave the payload foresees the bytes.
#pragma once

#include "deflate.hpp"
#include "frame.hpp"

#include <sidecar/message.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace sidecar::websocket {

using MaskKey = std::array<std::byte, 4>;

/// A key that nobody can foresee, from the system's source of entropy. It is asked once for
/// hundreds of keys; what it gave is never used again, also not by a process that forks meanwhile.
/// Side: any thread. Errors (thrown): system_error when the system has no entropy to give.
[[nodiscard]] MaskKey new_mask_key();

/// Masks bytes in place. `offset`: how many bytes of the same frame's payload came before them.
void mask(std::span<std::byte> bytes, MaskKey key, std::size_t offset = 0) noexcept;

class Sender;

/// A message in pieces, for one that is too large to be encoded at once: each piece is a fragment, so
/// that control frames may come between them. Made by a Sender, which must outlive it. No other
/// message may come between its pieces.
///
/// The first piece decides whether the message is compressed: it must get smaller. A later one that
/// does not adds the bytes of zlib's stored blocks, some in each 16 KiB.
class PartialMessage {
public:
    using Buffer = std::vector<std::byte>;

    /// Appends the next piece of the payload; not empty.
    void append(Buffer& out, std::span<const std::byte> piece);
    /// Payload bytes appended so far, as they are without compression.
    [[nodiscard]] std::size_t offset() const noexcept { return offset_; }

private:
    friend Sender;
    PartialMessage(Opcode opcode, std::size_t payload_bytes, Deflater* deflater) noexcept
        : opcode_{opcode}, payload_bytes_{payload_bytes}, deflater_{deflater}
    {
    }

    Opcode opcode_;             // sidecar side; of the next frame
    std::size_t payload_bytes_; // sidecar side; of all pieces
    std::size_t offset_ = 0;    // sidecar side
    Deflater* deflater_;        // sidecar side; null: it goes plain
};

/// A client's frames, each masked with a key of its own, appended to buffers that are written in the
/// order in which they were filled. Owned by its Protocol. Invariant: nothing is appended behind our
/// Close.
class Sender {
public:
    using Buffer = PartialMessage::Buffer;

    /// Messages may be compressed from now on.
    void compress(const Deflation& agreed) { deflater_.emplace(agreed); }

    /// All these do nothing once our Close was appended; false says so.
    bool append_message(Buffer& out, MessageKind kind, std::span<const std::byte> payload);
    bool append_ping(Buffer& out, std::span<const std::byte> payload);
    bool append_pong(Buffer& out, std::span<const std::byte> payload);
    /// A reason that is too long is cut where a character ends. Without a code it is left out.
    bool append_close(Buffer& out, std::uint16_t code, std::string_view reason);

    /// Only while nothing of ours is a Close.
    [[nodiscard]] PartialMessage begin_message(MessageKind kind, std::size_t payload_bytes);

    /// Our Close was appended.
    [[nodiscard]] bool is_send_over() const noexcept { return is_over_; }

    /// Memory beyond the object itself, about.
    [[nodiscard]] std::size_t held_bytes() const noexcept
    {
        return deflater_ ? deflater_->held_bytes() : 0;
    }

private:
    bool append(Buffer& out, Opcode opcode, std::span<const std::byte> payload,
                std::uint8_t flags = FrameHead::fin);
    /// Null: a message of so many bytes goes plain.
    [[nodiscard]] Deflater* deflater_for(std::size_t payload_bytes) noexcept;

    bool is_over_ = false;             // sidecar side
    std::optional<Deflater> deflater_; // sidecar side; none: nothing is compressed
};

} // namespace sidecar::websocket
