// What follows from a queue that is full: decisions only, no memory, no clock, no thread.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/overflow.hpp>

#include <cstddef>

namespace sidecar::detail {

/// What a link's queue looks like to a message that has come.
struct OverflowSituation {
    bool has_room = false;     ///< for it, once the one of the same key is gone, if there is one
    bool has_same_key = false; ///< one that it may replace waits
    bool has_older = false;    ///< any message waits
    bool operator==(const OverflowSituation&) const = default;
};

enum class OverflowAction {
    append,
    replace,     ///< the one of the same key
    lose_oldest, ///< and then ask again
    lose_newest, ///< the one that has come
    wait,
    fail,
};

[[nodiscard]] constexpr OverflowAction decide_overflow(OverflowPolicy policy,
                                                       OverflowSituation situation) noexcept
{
    if (situation.has_room)
        return policy == OverflowPolicy::conflate && situation.has_same_key
                   ? OverflowAction::replace
                   : OverflowAction::append;
    switch (policy) {
    case OverflowPolicy::pause_reading: return OverflowAction::wait;
    case OverflowPolicy::drop_newest: return OverflowAction::lose_newest;
    case OverflowPolicy::fail: return OverflowAction::fail;
    case OverflowPolicy::drop_oldest:
    case OverflowPolicy::conflate: break;
    }
    return situation.has_older ? OverflowAction::lose_oldest : OverflowAction::lose_newest;
}

/// Whether the links' common inbox will do: nothing is set that needs a queue of the link's own.
[[nodiscard]] bool is_plain(const Overflow& overflow) noexcept;
/// With nothing left open.
[[nodiscard]] Overflow resolved(Overflow overflow, std::size_t max_message_bytes);
/// Whether it makes sense; asked before it is resolved.
[[nodiscard]] Result<void> check_overflow(const Overflow& overflow, std::size_t max_message_bytes);

/// Says when a queue has grown to its high mark, and when it has then shrunk to the low one. Owned by
/// the queue, guarded by what guards that. Invariant: the two alternate, `rose` first.
class WaterLevel {
public:
    WaterLevel(WaterMark high, WaterMark low) noexcept : high_{high}, low_{low} {}

    enum class Change { none, rose, fell };
    [[nodiscard]] Change update(std::size_t messages, std::size_t bytes) noexcept
    {
        if (is_high_ ? !is_low(messages, bytes) : !is_high(messages, bytes))
            return Change::none;
        is_high_ = !is_high_;
        return is_high_ ? Change::rose : Change::fell;
    }

private:
    [[nodiscard]] bool is_high(std::size_t messages, std::size_t bytes) const noexcept
    {
        return (high_.messages != 0 && messages >= high_.messages)
               || (high_.bytes != 0 && bytes >= high_.bytes);
    }
    [[nodiscard]] bool is_low(std::size_t messages, std::size_t bytes) const noexcept
    {
        return (high_.messages == 0 || messages <= low_.messages)
               && (high_.bytes == 0 || bytes <= low_.bytes);
    }

    const WaterMark high_, low_; // both: constant
    bool is_high_ = false;       // both: guarded by the queue's owner
};

} // namespace sidecar::detail
