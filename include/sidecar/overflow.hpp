// Overflow: how a link treats messages when the application does not keep up.
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

/// How a link treats a message for which its queue has no space.
enum class OverflowPolicy : std::uint8_t {
    pause_reading, ///< stops reading until there is space; nothing is lost
    drop_oldest,   ///< drops the oldest queued message
    drop_newest,   ///< drops the new message
    /// Replaces the queued message of the same key, at its place, whether the queue is full or not.
    /// If there is still no space, the oldest message is dropped. Never replaces a message from
    /// before an `up`, `down` or `gap` of its link.
    conflate,
    fail, ///< ends the link with Error::overflow; queued messages stay receivable
};

/// Returns the key by which messages are conflated; empty: never conflate this one. Side: the
/// loop's thread; must not block. An exception ends the link. Lifetime: the key is valid until the
/// next call; it may be a part of the message.
using ConflationKey = std::function<std::optional<std::string_view>(const MessageView&)>;

/// A level of a queue, in messages and in bytes. Zero: no such level.
struct WaterMark {
    std::size_t messages = 0, bytes = 0;
    [[nodiscard]] constexpr bool is_set() const noexcept { return messages != 0 || bytes != 0; }
};

/// How a link treats messages when the application does not keep up. By default (policy
/// pause_reading and nothing else set) they wait in the inbox that all links share, which is the
/// fastest. With any option set they wait in a separate queue of the link, which has separate
/// bounds.
struct Overflow {
    OverflowPolicy policy = OverflowPolicy::pause_reading;
    /// Needed for `conflate`, except on a transport with topics: without a key function the topic
    /// is the key. Invalid with any other policy (bad_options).
    ConflationKey key{};
    /// Bytes of the link's queue. A message costs about 350 bytes, its payload if that is above 96
    /// bytes, and about 100 bytes more with a key. The queue must hold the largest message. 0: 1
    /// MiB, or four times the largest message if that is more.
    std::size_t queue_bytes = 0;
    std::size_t queue_messages = 0; ///< 0: as many as the bytes allow
    /// Messages that waited for longer are dropped and counted, when they would be taken or when
    /// space is needed. Zero: no limit.
    Duration max_age{};
    /// When the queue grows to `high`, the event high_water comes before the queued messages. When
    /// it then shrinks to `low`, low_water follows. If it shrinks before high_water is taken, there
    /// is neither. Levels of `low` that are 0 are half of the high ones.
    WaterMark high{}, low{};
};

[[nodiscard]] SIDECAR_API std::string_view to_string(OverflowPolicy policy) noexcept;

} // namespace sidecar
