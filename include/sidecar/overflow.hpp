// Overflow: what becomes of a link's messages when the application does not keep up.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

namespace sidecar {

/// What a link does with a message for which its queue has no room.
enum class OverflowPolicy : std::uint8_t {
    pause_reading, ///< waits for room, and reads nothing more meanwhile; nothing is lost
    drop_oldest,   ///< the oldest that waits makes way
    drop_newest,   ///< it is dropped itself
    /// A message replaces, in its place, the one of the same key that still waits, whether there is
    /// room or not; where there is none even so, the oldest makes way. It never replaces one from
    /// before an `up`, `down` or `gap` of its link.
    conflate,
    fail, ///< the link ends, with Error::overflow; what waits stays receivable
};

/// The key by which messages are conflated; empty: never conflate this one. Side: called on the
/// loop's thread; must not block. What it throws ends the link. Lifetime: the key is valid until the
/// next call; it may be a part of the message.
using ConflationKey = std::function<std::optional<std::string_view>(const MessageView&)>;

/// A level of a queue, in messages and in bytes. A zero is a level that is not looked at.
struct WaterMark {
    std::size_t messages = 0, bytes = 0;
    [[nodiscard]] constexpr bool is_set() const noexcept { return messages != 0 || bytes != 0; }
};

/// What becomes of a link's messages when the application does not keep up. As it stands (policy
/// pause_reading and nothing else set) the link's messages wait in the inbox that all links share,
/// which is the fastest. With anything set they wait in a queue of the link's own, which has bounds
/// of its own, beside the inbox.
struct Overflow {
    OverflowPolicy policy = OverflowPolicy::pause_reading;
    /// For `conflate`, and only there.
    ConflationKey key{};
    /// Of the link's own queue: how much it holds, a message counting with about 350 bytes and, above 96
    /// bytes, its payload; with a key about 100 bytes more. It must hold the largest message. 0: 1 MiB, or
    /// four times the largest message.
    std::size_t queue_bytes = 0;
    std::size_t queue_messages = 0; ///< 0: as many as the bytes allow
    /// Messages that have waited for longer when they would be taken, or when room is needed, are
    /// dropped and counted. Zero: they may become as old as they like.
    Duration max_age{};
    /// When the link's queue has grown to `high`, the event high_water comes before what waits, and
    /// when it has then shrunk to `low`, low_water. Levels of `low` that are left at 0 are half of
    /// the high ones.
    WaterMark high{}, low{};
};

[[nodiscard]] SIDECAR_API std::string_view to_string(OverflowPolicy policy) noexcept;

} // namespace sidecar
