// Bytes into messages: what a Reader needs of the protocol above it, and the loop that all
// protocols share. Without I/O.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/transport.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>

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

} // namespace sidecar::stream
