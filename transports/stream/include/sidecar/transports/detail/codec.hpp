// Bytes into messages and messages into bytes: what a Reader and a Writer need of the protocol above them.
// Without I/O.
#pragma once

#include <sidecar/detail/export.hpp>
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

/// A message, or as much of it as has come, and where its bytes stand.
struct Found {
    MessageKind kind = MessageKind::bytes;
    std::span<const std::byte> payload;
};

/// What one look at the unread bytes brought.
struct Pass {
    std::size_t consumed_bytes = 0; ///< of the bytes shown
    bool put_any = false;
    /// The sink had no room for this one. Its bytes are not among `consumed_bytes`, but
    /// `refused_bytes` behind them; its payload is valid until the next look.
    std::optional<Found> refused{};
    std::size_t refused_bytes = 0;
    std::size_t missing_bytes = 0; ///< of the next message, as far as known
    /// What has come of the next message, if `missing_bytes` more end it just as they are.
    std::optional<Found> begun{};
};

/// The protocol above a Reader; one object per connection. Side: the loop's thread.
class SIDECAR_API Decoder {
public:
    Decoder() = default;
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;
    virtual ~Decoder() = default;

    /// Puts every message that stands whole in the bytes that have come and were not consumed;
    /// put_messages() does it. A message that was found is never looked for again, also if it was
    /// refused. Throws Exception for what can never become a message.
    [[nodiscard]] virtual Pass pass_on(std::span<const std::byte> unread, Sink& sink) = 0;
    /// More of a message that Pass::begun announced, received in place: what came behind that
    /// payload, each byte once. Throws Exception.
    virtual void received(std::span<const std::byte> bytes, bool is_last)
    {
        static_cast<void>(bytes), static_cast<void>(is_last);
    }
};

/// The loop of pass_on() over `decode(bytes)`, which gives a sidecar::Decoded, or what has its
/// members and a `kind` besides. Each message is decoded once: one that the sink refuses is told in
/// the result. `decode` throws for what can never become a message.
template <class Decode>
[[nodiscard]] Pass put_messages(std::span<const std::byte> unread, Sink& sink,
                                MessageKind default_kind, Decode&& decode)
{
    std::size_t at = 0; // apart from the result, which has to be in memory
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
        Pass pass{.consumed_bytes = at, .put_any = put_any};
        if (decoded.is_complete) {
            pass.refused = Found{kind, decoded.payload};
            pass.refused_bytes = decoded.consumed_bytes;
            return pass;
        }
        pass.missing_bytes = decoded.missing_bytes;
        if (decoded.payload.data() != nullptr && decoded.missing_bytes != 0)
            pass.begun = Found{kind, decoded.payload};
        return pass;
    }
}

/// Encoded messages that are written together: bytes of its own, and payloads that are borrowed
/// from the outbox because copying them would cost more than the system call does. Owned by the
/// Writer while it writes. Invariant: ends() grow; behind the last there is nothing, or a fragment: a
/// piece of a message behind which the protocol's own bytes may come.
class SIDECAR_API Chunk {
public:
    /// A smaller payload is copied: a piece of its own costs the system about as much.
    static constexpr std::size_t min_borrowed_bytes = 32u << 10;

    /// For encoders: they append here what surrounds a payload, or all of it.
    [[nodiscard]] std::vector<std::byte>& bytes() noexcept { return bytes_; }
    /// For encoders: the payload follows what was appended so far. Lifetime: as the batch's.
    void borrow(std::span<const std::byte> payload)
    {
        borrowed_.push_back({bytes_.size(), payload});
        borrowed_bytes_ += payload.size();
    }
    void end_message() { ends_.push_back(total_bytes()); }
    /// No further message: the chunk is written first.
    [[nodiscard]] bool is_full() const noexcept
    {
        return bytes_.size() >= full_bytes || borrowed_bytes_ >= full_borrowed_bytes
               || borrowed_.size() >= full_borrowed;
    }

    [[nodiscard]] std::size_t total_bytes() const noexcept
    {
        return bytes_.size() + borrowed_bytes_;
    }
    /// How many bytes end with each message.
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
    /// Memory that it keeps, about.
    [[nodiscard]] std::size_t capacity_bytes() const noexcept
    {
        return bytes_.capacity() + ends_.capacity() * sizeof(std::size_t);
    }

    /// Pieces of a full chunk, at most: what surrounds each borrowed payload, and the payloads.
    static constexpr std::size_t max_pieces = 33;
    /// Bytes of its own of a full chunk, about.
    static constexpr std::size_t full_bytes = 256u << 10;

private:
    static constexpr std::size_t full_borrowed_bytes = 1u << 20;
    static constexpr std::size_t full_borrowed = (max_pieces - 1) / 2;
    struct Borrowed {
        std::size_t at; // so many of bytes_ come before it
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
    std::size_t begin = 0; // of the stretch at hand, among all
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

    /// Encodes messages from `at` on, until the chunk is full or the batch ends; at least one, or a
    /// fragment of one, with which the chunk then ends: `at` stays on that message, and the next call
    /// goes on with it.
    virtual void encode(Chunk& chunk, Batch::iterator& at, const Batch::iterator& end) = 0;
};

} // namespace sidecar::stream
