// The receiving half of RFC 6455 without I/O: turns bytes into messages and an ending.
#pragma once

#include "deflate.hpp"
#include "frame.hpp"
#include "utf8.hpp"

#include <sidecar/error.hpp>
#include <sidecar/message.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar::websocket {

/// The end of the peer's half: its Close, or a violation by the peer.
struct Ending {
    Error error = Error::closed_by_peer; ///< or protocol_violation, too_big
    /// From the peer's Close, or for our Close to it; none: its Close had no code.
    std::uint16_t close_code = close_code::none;
    std::string reason{};      ///< from the peer, UTF-8
    std::string explanation{}; ///< of a failure
};

/// The result of decode() for the front of the bytes; it has the members of a framing's result.
struct DecodedFrame {
    bool is_complete = false; ///< `payload` is a message
    MessageKind kind = MessageKind::binary;
    /// A whole message, or the arrived part of one that the next `missing_bytes` complete
    /// unchanged.
    std::span<const std::byte> payload{};
    /// Without a message: of a control frame or of a fragment.
    std::size_t consumed_bytes = 0;
    std::size_t missing_bytes = 0; ///< of the frame, if known
};

/// Decodes the bytes that the peer sends. The Protocol owns it. It holds the fragments of one
/// message, or its inflated part, and one ping; never bytes of a plain message in one frame.
///
/// A server demands masked frames and unmasks messages where their bytes are: the bytes that it
/// receives must be writable, and the owner shows it each as it left them.
///
/// Invariants: it returns a message only if all of it is valid; it refuses text at the first
/// invalid octet; it examines each octet of text once, and nothing behind the ending. Time is
/// linear in the bytes. Memory is at most twice the message limit, and held only during a
/// fragmented message.
class Receiver {
public:
    /// The most empty fragments of a message. They carry nothing, so no other limit ends a message
    /// of them; the message limit ends all others.
    static constexpr std::size_t max_empty_fragments = 1024;

    Receiver(std::size_t max_message_bytes, Role role) noexcept
        : max_message_bytes_{max_message_bytes}, role_{role}, may_be_plain_{role == Role::client}
    {
    }

    /// Allows compressed messages. `keeps_context`: they may refer to earlier ones. Call it before
    /// the first decode().
    void expect_compressed(bool keeps_context)
    {
        inflater_ = std::make_unique<Inflater>(keeps_context);
    }

    /// Decodes the front of the unconsumed bytes. If it consumes none, the next call needs the same
    /// bytes and more. Lifetime of the payload: that of the bytes, or until the next call.
    [[nodiscard]] DecodedFrame decode(std::span<const std::byte> bytes)
    {
        if (may_be_plain_) [[likely]] {
            const auto head = FrameHead::parse_plain(bytes);
            if (head.head_bytes != 0 && head.payload_bytes <= max_message_bytes_
                && head.payload_bytes <= bytes.size() - head.head_bytes) [[likely]] {
                const auto size = static_cast<std::size_t>(head.payload_bytes);
                const auto payload = bytes.subspan(head.head_bytes, size);
                if (head.kind() == MessageKind::binary
                    || is_good_text(payload, bytes.subspan(head.head_bytes + size))) [[likely]]
                    return {.is_complete = true,
                            .kind = head.kind(),
                            .payload = payload,
                            .consumed_bytes = head.head_bytes + size};
            }
        }
        return decode_slowly(bytes);
    }
    /// Takes bytes of the incomplete message that the last decode() returned: those behind its
    /// payload, each once, in place of decode(). `is_last`: the message is complete, and valid if
    /// there is no ending().
    void received(std::span<const std::byte> bytes, bool is_last);

    /// Looks for the next ping in bytes that cannot be decoded yet, because the inbox is full.
    /// `bytes` begin where decode() will continue. The search begins at `bytes[offset]`, where an
    /// earlier one ended. Returns its end: behind a ping, or at a frame that is incomplete or
    /// invalid. A ping found here has_ping(); decode() will not report it again.
    [[nodiscard]] std::size_t look_ahead(std::span<const std::byte> bytes, std::size_t offset);
    /// The rest of the current fragment: the next head is behind it.
    [[nodiscard]] std::uint64_t fragment_left_bytes() const noexcept
    {
        return fragment_left_bytes_;
    }

    /// Why the peer's half has ended; null: it has not.
    [[nodiscard]] const Ending* ending() const noexcept { return ending_.get(); }

    /// Whether a ping, the latest, needs an answer. The owner answers each before it decodes on.
    [[nodiscard]] bool has_ping() const noexcept { return ping_.has_value(); }
    [[nodiscard]] std::vector<std::byte> take_ping() noexcept
    {
        return *std::exchange(ping_, std::nullopt);
    }

    /// The size of our pings. A pong of another size answers none of them (a peer may send one
    /// unasked, RFC 6455 section 5.5.3).
    static constexpr std::size_t ping_bytes = 8;

    /// Returns the latest pong that may answer our ping, once.
    [[nodiscard]] std::optional<std::array<std::byte, ping_bytes>> take_pong() noexcept
    {
        return std::exchange(pong_, std::nullopt);
    }

    /// Bytes allocated outside the object.
    [[nodiscard]] std::size_t held_bytes() const noexcept
    {
        return assembly_.capacity() + (inflater_ ? inflater_->held_bytes() : 0);
    }

private:
    /// `behind`: the bytes behind the message.
    [[nodiscard]] bool is_good_text(std::span<const std::byte> payload,
                                    std::span<const std::byte> behind) noexcept
    {
        if (good_ahead_ != 0) {
            --good_ahead_;
            return true;
        }
        return (payload.size() <= short_bytes && is_ascii(payload)) || is_good_run(payload, behind);
    }
    [[nodiscard]] bool is_good_run(std::span<const std::byte> payload,
                                   std::span<const std::byte> behind) noexcept;
    [[nodiscard]] DecodedFrame decode_slowly(std::span<const std::byte> bytes);
    [[nodiscard]] DecodedFrame decode_frame(std::span<const std::byte> bytes);
    [[nodiscard]] Result<void> validate(std::span<const std::byte> bytes,
                                        const FrameHead& head) const;
    void unmask(std::span<const std::byte> bytes) noexcept;
    [[nodiscard]] DecodedFrame decode_control(const FrameHead& head,
                                              std::span<const std::byte> body);
    void take_close(std::span<const std::byte> payload);
    [[nodiscard]] DecodedFrame decode_whole(const FrameHead& head, std::span<const std::byte> body);
    [[nodiscard]] DecodedFrame begin_fragment(const FrameHead& head,
                                              std::span<const std::byte> body);
    [[nodiscard]] DecodedFrame take_fragment(std::span<const std::byte> body,
                                             std::size_t head_bytes);
    [[nodiscard]] bool inflate(std::span<const std::byte> bytes, bool is_last);
    [[nodiscard]] DecodedFrame finish_fragments(std::size_t consumed_bytes);
    bool validate_part(std::span<const std::byte> part);
    bool validate_fragments();
    bool validate_end();
    [[nodiscard]] std::string size_so_far(const FrameHead& head) const;
    void fail_too_big(std::string_view size, std::string_view more);
    void fail(Error error, std::uint16_t code, std::string_view explanation);
    [[nodiscard]] bool is_server() const noexcept { return role_ == Role::server; }
    [[nodiscard]] bool is_in_message() const noexcept { return fragmented_ != Fragmented::no; }
    [[nodiscard]] bool is_inflating() const noexcept
    {
        return inflater_ && inflater_->is_under_way();
    }
    [[nodiscard]] bool may_be_compressed(const FrameHead& head) const noexcept
    {
        return inflater_ && (head.opcode() == Opcode::text || head.opcode() == Opcode::binary);
    }

    /// In a longer text, checking for ASCII first costs more than it saves.
    static constexpr std::size_t short_bytes = 128;

    enum class Fragmented : std::uint8_t { no, begun, last_fragment, given_out };

    const std::size_t max_message_bytes_; // sidecar side
    const Role role_;                     // sidecar side
    /// sidecar side; the next frame may be unmasked and whole: false during fragments or an
    /// incomplete frame, after the ending, and for a server
    bool may_be_plain_;
    MaskKey key_{};               // sidecar side; of the current frame, for a server
    std::size_t mask_offset_ = 0; // sidecar side; payload bytes of that frame without the mask
    std::size_t good_ahead_ = 0;  // sidecar side; following texts that are known to be UTF-8
    MessageKind kind_ = MessageKind::binary; // sidecar side; of the current message
    std::size_t looked_at_bytes_ = 0; // sidecar side; of an incomplete frame, or of assembly_
    Utf8Parts text_;                  // sidecar side; of the current message, if it is text
    Fragmented fragmented_ = Fragmented::no; // sidecar side; state of the current message
    Assembly assembly_;                      // sidecar side; its fragments
    std::uint64_t fragment_left_bytes_ = 0;  // sidecar side; of the current fragment
    std::size_t empty_fragments_ = 0;        // sidecar side; of the current message
    std::unique_ptr<const Ending> ending_;   // sidecar side; null: it has not ended
    std::optional<std::array<std::byte, ping_bytes>> pong_; // sidecar side; the latest
    std::optional<std::vector<std::byte>> ping_; // sidecar side; answered before decode() continues
    std::size_t pings_ahead_ = 0;        // sidecar side; found by look_ahead(), not decoded yet
    std::unique_ptr<Inflater> inflater_; // sidecar side; null: nothing is compressed
};

} // namespace sidecar::websocket
