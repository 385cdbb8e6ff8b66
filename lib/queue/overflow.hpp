// Decides by the options of an overflow policy: no memory, no clock, no thread.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/overflow.hpp>

#include <cstddef>

namespace sidecar::detail {

/// Whether the links' common inbox suffices: no option needs a separate queue for the link.
[[nodiscard]] bool is_plain(const Overflow& overflow) noexcept;
/// Replaces options that are left open by their defaults.
[[nodiscard]] Overflow resolved(Overflow overflow, std::size_t max_message_bytes);
/// Refuses options that make no sense (bad_options); call it before resolved(). `has_topics`: the
/// topic is the key if there is no key function.
[[nodiscard]] Result<void> validate_overflow(const Overflow& overflow,
                                             std::size_t max_message_bytes,
                                             bool has_topics = false);

/// Reports when a queue has grown to its high mark, and when it has then shrunk to the low one.
/// Owned by the queue, and guarded like it. Invariant: the two alternate, `rose` first.
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
