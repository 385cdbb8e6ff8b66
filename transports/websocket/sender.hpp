// The sending half of RFC 6455 without I/O: turns messages and control frames into bytes. A client
// masks each frame (section 5.3), so that the author of a payload cannot foresee the bytes.
#pragma once

#include "deflate.hpp"
#include "frame.hpp"

#include <sidecar/detail/shared_message.hpp>
#include <sidecar/message.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace sidecar::websocket {

/// Returns an unpredictable key from the system's source of entropy. One call to the system draws
/// hundreds of keys. No key is used twice, not even by a process that forks in between. Side: any
/// thread. Throws system_error if the system has no entropy.
[[nodiscard]] MaskKey new_mask_key();

/// Masks bytes in place. `offset`: their position in the frame's payload.
void mask(std::span<std::byte> bytes, MaskKey key, std::size_t offset = 0) noexcept;

class Sender;

/// A message in pieces, for one that is too large to encode at once. Each piece is a fragment, so
/// that control frames may go between them; another message must not. A Sender makes it and must
/// outlive it.
///
/// The first piece decides whether the message is compressed: it must get smaller. A later piece
/// that does not grows by the bytes of zlib's stored blocks, a few for each 16 KiB.
class PartialMessage {
public:
    using Buffer = std::vector<std::byte>;

    /// Appends the next piece of the payload; not empty.
    void append(Buffer& out, std::span<const std::byte> piece);
    /// The number of payload bytes appended so far, before compression.
    [[nodiscard]] std::size_t offset() const noexcept { return offset_; }

private:
    friend Sender;
    PartialMessage(Role role, Opcode opcode, std::size_t payload_bytes, Deflater* deflater) noexcept
        : role_{role}, opcode_{opcode}, payload_bytes_{payload_bytes}, deflater_{deflater}
    {
    }

    Role role_;                 // sidecar side
    Opcode opcode_;             // sidecar side; of the next frame
    std::size_t payload_bytes_; // sidecar side; of all pieces
    std::size_t offset_ = 0;    // sidecar side
    Deflater* deflater_;        // sidecar side; null: not compressed
};

/// Appends frames, a client's each masked with a new key, to buffers. The caller writes the buffers
/// in the order in which it filled them. The Protocol owns it. Invariant: appends nothing behind
/// our Close.
class Sender {
public:
    using Buffer = PartialMessage::Buffer;

    explicit Sender(Role role) noexcept : role_{role} {}

    /// Allows compression from now on.
    void compress(const Deflation& agreed) { deflater_ = std::make_unique<Deflater>(agreed); }

    /// Each append function does nothing and returns false once our Close was appended.
    bool append_message(Buffer& out, MessageKind kind, std::span<const std::byte> payload);
    bool append_ping(Buffer& out, std::span<const std::byte> payload);
    bool append_pong(Buffer& out, std::span<const std::byte> payload);
    /// Cuts a reason that is too long, at the end of a character. Without a code there is no
    /// reason.
    bool append_close(Buffer& out, std::uint16_t code, std::string_view reason);

    /// Whether a broadcast of this size has the same frame for other connections too: unmasked, and
    /// independent of earlier messages. Never after our Close.
    [[nodiscard]] bool may_share(std::size_t payload_bytes) const noexcept
    {
        return role_ == Role::server && !is_over_
               && (!deflater_ || !deflater_->keeps_context() || !deflater_->wants(payload_bytes));
    }
    /// Returns the frame of a message that may_share(). The connections keep it in the message: it is
    /// encoded once, and deflated once for each window in use. Lifetime: as the message.
    [[nodiscard]] std::span<const std::byte> frame_of(sidecar::detail::SharedMessage& message);

    /// Begins a message in pieces. Only before our Close.
    [[nodiscard]] PartialMessage begin_message(MessageKind kind, std::size_t payload_bytes);

    /// Whether our Close was appended.
    [[nodiscard]] bool is_send_over() const noexcept { return is_over_; }

    /// About how many bytes are allocated outside the object.
    [[nodiscard]] std::size_t held_bytes() const noexcept
    {
        return deflater_ ? deflater_->held_bytes() : 0;
    }

private:
    bool append(Buffer& out, Opcode opcode, std::span<const std::byte> payload,
                std::uint8_t flags = FrameHead::fin);
    /// Returns null for a message that is too short to compress, or without compression.
    [[nodiscard]] Deflater* deflater_for(std::size_t payload_bytes) noexcept;

    /// Keys of SharedMessage: the plain frame; from the second on the deflated one, by window.
    static constexpr unsigned plain_key = 0, deflated_key = 1;

    const Role role_;                    // sidecar side
    bool is_over_ = false;               // sidecar side
    std::unique_ptr<Deflater> deflater_; // sidecar side; null: nothing is compressed
};

} // namespace sidecar::websocket
