// Bytes into messages and messages into bytes: the protocol above a Reader and a Writer. Without
// I/O.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/envelope.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/transport.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace sidecar::stream {

/// A message, or the part of it that has arrived.
struct Fragment {
    MessageKind kind = MessageKind::binary;
    std::span<const std::byte> payload;
    /// Of a refused message; null: it has none. Lifetime: until the next decode().
    const Envelope* envelope = nullptr;
};

/// The result of one Decoder::decode().
struct DecodeResult {
    std::size_t consumed_bytes = 0; ///< of the bytes shown
    bool put_any = false;
    /// The message that the sink had no room for. Its bytes are the `refused_bytes` behind
    /// `consumed_bytes`; its payload is valid until the next decode().
    std::optional<Fragment> refused{};
    std::size_t refused_bytes = 0;
    std::size_t missing_bytes = 0; ///< of the next message, as far as known
    /// The arrived part of the next message, if the next `missing_bytes` complete it unchanged.
    std::optional<Fragment> begun{};
    bool is_over = false; ///< no message follows, so the Reader reads no further
};

/// The protocol above a Reader; one object per connection. Side: the loop's thread.
class SIDECAR_API Decoder {
public:
    Decoder() = default;
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;
    virtual ~Decoder() = default;

    /// Puts every complete message in the unconsumed bytes; decode_messages() does it. A message is
    /// found once, even if the sink refuses it. Throws Exception for bytes that can never become a
    /// message.
    [[nodiscard]] virtual DecodeResult decode(std::span<const std::byte> unread, Sink& sink) = 0;
    /// Receives further bytes of the message that DecodeResult::begun announced, each byte once, without
    /// the bytes of DecodeResult::begun. The bytes are already in their place. Throws Exception.
    virtual void received(std::span<const std::byte> bytes, bool is_last)
    {
        static_cast<void>(bytes), static_cast<void>(is_last);
    }
};

/// Implements decode() with `decode(bytes)`, which returns a sidecar::Decoded, or a type with its
/// members and a `kind`. Decodes each message once: the result holds one that the sink refused.
/// `decode` throws for bytes that can never become a message.
template <class Decode>
[[nodiscard]] DecodeResult decode_messages(std::span<const std::byte> unread, Sink& sink,
                                           MessageKind default_kind, Decode&& decode)
{
    std::size_t at = 0; // a local, since the result has to be in memory
    bool put_any = false;
    for (;;) {
        const auto decoded = decode(unread.subspan(at));
        MessageKind kind = default_kind;
        if constexpr (requires {
                          {
                              decoded.kind
                          } -> std::convertible_to<MessageKind>;
                      })
            kind = decoded.kind;
        if (decoded.is_complete && sink.put(kind, decoded.payload)) [[likely]] {
            put_any = true;
            at += decoded.consumed_bytes;
            continue;
        }
        if (!decoded.is_complete && decoded.consumed_bytes != 0) { // a filler
            at += decoded.consumed_bytes;
            continue;
        }
        DecodeResult pass{.consumed_bytes = at, .put_any = put_any};
        if (decoded.is_complete) {
            pass.refused = Fragment{kind, decoded.payload};
            pass.refused_bytes = decoded.consumed_bytes;
            return pass;
        }
        pass.missing_bytes = decoded.missing_bytes;
        if (decoded.payload.data() != nullptr && decoded.missing_bytes != 0)
            pass.begun = Fragment{kind, decoded.payload};
        return pass;
    }
}

/// Encoded messages that are written together: own bytes, and payloads borrowed from the outbox
/// because copying them would cost more than the system call. The Writer owns it while it writes.
/// Invariant: ends() increase; behind the last one is nothing or a fragment, that is a part of a
/// message after which control bytes may follow.
class SIDECAR_API Chunk {
public:
    /// A smaller payload is copied: a separate piece costs the system about as much.
    static constexpr std::size_t min_borrowed_bytes = 32u << 10;

    /// For encoders: append here the bytes around a payload, or the whole message.
    [[nodiscard]] std::vector<std::byte>& bytes() noexcept { return bytes_; }
    /// For encoders: puts the payload behind the bytes appended so far. Lifetime: as the batch's.
    void borrow(std::span<const std::byte> payload)
    {
        borrowed_.push_back({bytes_.size(), payload});
        borrowed_bytes_ += payload.size();
    }
    void end_message() { ends_.push_back(total_bytes()); }
    /// Whether the chunk must be written before another message is added.
    [[nodiscard]] bool is_full() const noexcept
    {
        return bytes_.size() >= full_bytes || borrowed_bytes_ >= full_borrowed_bytes
               || borrowed_.size() >= full_borrowed;
    }

    [[nodiscard]] std::size_t total_bytes() const noexcept
    {
        return bytes_.size() + borrowed_bytes_;
    }
    /// The end offset of each message.
    [[nodiscard]] const std::vector<std::size_t>& ends() const noexcept { return ends_; }
    /// Calls `piece(span)` for each stretch of bytes from `from` to `to`, in order.
    template <class Piece>
    void for_each_piece(std::size_t from, std::size_t to, Piece&& piece) const;
    void clear() noexcept
    {
        bytes_.clear();
        borrowed_.clear();
        ends_.clear();
        borrowed_bytes_ = 0;
    }
    /// About how many bytes it keeps allocated.
    [[nodiscard]] std::size_t capacity_bytes() const noexcept
    {
        return bytes_.capacity() + ends_.capacity() * sizeof(std::size_t);
    }

    /// The most pieces of a full chunk: borrowed payloads and the bytes around them.
    static constexpr std::size_t max_pieces = 33;
    /// The chunk is full at about so many own bytes.
    static constexpr std::size_t full_bytes = 256u << 10;

private:
    static constexpr std::size_t full_borrowed_bytes = 1u << 20;
    static constexpr std::size_t full_borrowed = (max_pieces - 1) / 2;
    struct Borrowed {
        std::size_t at; // position in bytes_
        std::span<const std::byte> payload;
    };

    std::vector<std::byte> bytes_;   // sidecar side
    std::vector<Borrowed> borrowed_; // sidecar side
    std::vector<std::size_t> ends_;  // sidecar side
    std::size_t borrowed_bytes_ = 0; // sidecar side
};

template <class Piece>
void Chunk::for_each_piece(std::size_t from, std::size_t to, Piece&& piece) const
{
    std::size_t begin = 0; // of the current stretch, in the whole chunk
    const auto pass = [&](std::span<const std::byte> stretch) {
        const auto end = begin + stretch.size();
        const auto first = std::max(from, begin), last = std::min(to, end);
        if (first < last)
            piece(stretch.subspan(first - begin, last - first));
        begin = end;
    };
    std::size_t at = 0; // in bytes_
    for (const auto& borrowed : borrowed_) {
        pass(std::span{bytes_}.subspan(at, borrowed.at - at));
        at = borrowed.at;
        pass(borrowed.payload);
    }
    pass(std::span{bytes_}.subspan(at));
}

/// The protocol above a Writer; one object per connection. Side: the loop's thread.
class SIDECAR_API Encoder {
public:
    Encoder() = default;
    Encoder(const Encoder&) = delete;
    Encoder& operator=(const Encoder&) = delete;
    virtual ~Encoder() = default;

    /// Encodes messages from `at` on until the chunk is full or the batch ends. Encodes at least
    /// one message, or a fragment, which then ends the chunk: `at` stays on its message, and the
    /// next call continues with it.
    virtual void encode(Chunk& chunk, Batch::iterator& at, const Batch::iterator& end) = 0;
};

} // namespace sidecar::stream
