// The receiving half of RFC 6455 without any I/O: bytes in, messages and the verdict out.
#pragma once

#include "deflate.hpp"
#include "frame.hpp"
#include "utf8.hpp"

#include <sidecar/error.hpp>
#include <sidecar/message.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar::websocket {

/// How the peer's half of the connection ended: by its Close, or by what no peer may send.
struct Ending {
    Error error = Error::closed_by_peer; ///< or protocol_violation, too_big
    /// The peer's, or what we tell it; none: its Close had none
    std::uint16_t close_code = close_code::none;
    std::string reason{};      ///< the peer's, UTF-8
    std::string explanation{}; ///< of a failure, in words
};

/// What decode() found at the front of the bytes it was shown; the shape of a framing's answer.
struct DecodedFrame {
    bool is_complete = false; ///< `payload` is a message
    MessageKind kind = MessageKind::bytes;
    /// Of a whole message; or what has come of one that `missing_bytes` more end just as they are
    std::span<const std::byte> payload{};
    /// Without a message: of a control frame or of a fragment
    std::size_t consumed_bytes = 0;
    std::size_t missing_bytes = 0; ///< of the frame, if known
};

/// What a client makes of the bytes that its server sends. Owned by its Protocol. It holds the
/// fragments of one message, or what has been inflated of it, and one ping; it never holds
/// bytes of a plain message that comes in one frame.
///
/// Invariants: a message is given out only if all of it is good; text is refused at the octet where
/// it goes wrong; each octet of text is looked at once; nothing behind the ending is looked at. Time
/// is linear in what comes; memory is at most the message limit, and kept only while a fragmented
/// message is under way.
class Receiver {
public:
    /// A message may have no more empty fragments than this. They carry nothing, so nothing else
    /// would ever end a message of them; fragments that carry something end at the message limit.
    static constexpr std::size_t max_empty_fragments = 1024;

    explicit Receiver(std::size_t max_message_bytes) noexcept
        : max_message_bytes_{max_message_bytes}
    {
    }

    /// The peer may compress messages. `keeps_context`: they may refer to earlier ones. Before the
    /// first decode().
    void expect_compressed(bool keeps_context) { inflater_.emplace(keeps_context); }

    /// Looks at all bytes that have come and were not consumed. Where it consumes none, it is to be
    /// shown the same again, with more behind. Lifetime of the payload: the bytes shown, or until
    /// the next call.
    [[nodiscard]] DecodedFrame decode(std::span<const std::byte> bytes)
    {
        if (is_between_frames_) [[likely]] {
            const auto head = FrameHead::parse_plain(bytes);
            if (head.head_bytes != 0 && head.payload_bytes <= max_message_bytes_
                && head.payload_bytes <= bytes.size() - head.head_bytes) [[likely]] {
                const auto size = static_cast<std::size_t>(head.payload_bytes);
                const auto payload = bytes.subspan(head.head_bytes, size);
                if (head.kind() == MessageKind::bytes
                    || is_good_text(payload, bytes.subspan(head.head_bytes + size))) [[likely]]
                    return {.is_complete = true,
                            .kind = head.kind(),
                            .payload = payload,
                            .consumed_bytes = head.head_bytes + size};
            }
        }
        return decode_slowly(bytes);
    }
    /// More of the incomplete message that decode() told last: what came behind its payload, each
    /// byte once, instead of showing them to decode(). `is_last`: the message is whole, and good if
    /// nothing has ended.
    void received(std::span<const std::byte> bytes, bool is_last);

    /// Looks for the next ping in bytes that cannot be decoded yet, because nobody takes their
    /// messages: `bytes` begin where decode() will go on; the look begins at `bytes[offset]`, where
    /// an earlier one has ended. Returns where this one ends: behind a ping, or at a frame that is
    /// not whole or not in order. A ping that was found counts as arrived, and will not count again.
    [[nodiscard]] std::size_t look_ahead(std::span<const std::byte> bytes, std::size_t offset);
    /// Of the fragment under way: what stands before the next head.
    [[nodiscard]] std::uint64_t fragment_left_bytes() const noexcept
    {
        return fragment_left_bytes_;
    }

    /// Empty as long as the peer may go on.
    [[nodiscard]] const std::optional<Ending>& ending() const noexcept { return ending_; }

    /// A ping is to be answered, the latest: its owner answers each before it decodes on.
    [[nodiscard]] bool has_ping() const noexcept { return ping_.has_value(); }
    [[nodiscard]] std::vector<std::byte> take_ping() noexcept
    {
        return *std::exchange(ping_, std::nullopt);
    }

    /// Our pings have so many bytes. A pong of another size answers none (a peer may send it unasked,
    /// RFC 6455 section 5.5.3).
    static constexpr std::size_t ping_bytes = 8;

    /// The latest pong that may answer a ping of ours, once.
    [[nodiscard]] std::optional<std::array<std::byte, ping_bytes>> take_pong() noexcept
    {
        return std::exchange(pong_, std::nullopt);
    }

    /// Memory beyond the object itself.
    [[nodiscard]] std::size_t held_bytes() const noexcept
    {
        return assembly_.capacity() + (inflater_ ? inflater_->held_bytes() : 0);
    }

private:
    /// `behind`: what has come behind the message.
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
    [[nodiscard]] bool is_in_message() const noexcept { return fragmented_ != Fragmented::no; }
    [[nodiscard]] bool is_inflating() const noexcept
    {
        return inflater_ && inflater_->is_under_way();
    }
    [[nodiscard]] bool may_be_compressed(const FrameHead& head) const noexcept
    {
        return inflater_ && (head.opcode() == Opcode::text || head.opcode() == Opcode::binary);
    }

    /// Of a longer text, to look for what is not ASCII first costs more than it saves.
    static constexpr std::size_t short_bytes = 128;

    enum class Fragmented : std::uint8_t { no, begun, last_fragment, given_out };

    const std::size_t max_message_bytes_; // sidecar side
    /// sidecar side; nothing is under way: no fragments, no frame that was looked at, no ending
    bool is_between_frames_ = true;
    std::size_t good_ahead_ = 0;            // sidecar side; texts that come next and are UTF-8
    MessageKind kind_ = MessageKind::bytes; // sidecar side; of the message under way
    std::size_t looked_at_bytes_ = 0;       // sidecar side; of an incomplete frame, or of assembly_
    Utf8Parts text_;                        // sidecar side; of the message under way, if it is text
    Fragmented fragmented_ = Fragmented::no; // sidecar side; the message under way
    Assembly assembly_;                      // sidecar side; its fragments
    std::uint64_t fragment_left_bytes_ = 0;  // sidecar side; of the fragment under way
    std::size_t empty_fragments_ = 0;        // sidecar side; of the message under way
    std::optional<Ending> ending_;           // sidecar side
    std::optional<std::array<std::byte, ping_bytes>> pong_; // sidecar side; the latest
    std::optional<std::vector<std::byte>> ping_; // sidecar side; answered before decode() goes on
    std::size_t pings_ahead_ = 0;      // sidecar side; noted by look_ahead(), not decoded yet
    std::optional<Inflater> inflater_; // sidecar side; none: nothing is compressed
};

} // namespace sidecar::websocket
