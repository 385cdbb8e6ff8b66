#include "queue/overflow.hpp"

#include "base/failures.hpp"
#include "queue/link_queue.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sidecar::detail {
namespace {

constexpr std::size_t default_queue_bytes = 1u << 20;

/// Returns the low level; 0 becomes half of the high one.
constexpr std::size_t low_level(std::size_t low, std::size_t high) noexcept
{
    return low != 0 ? low : high / 2;
}

} // namespace

bool is_plain(const Overflow& overflow) noexcept
{
    return overflow.policy == OverflowPolicy::pause_reading && overflow.max_age == Duration{}
           && overflow.queue_bytes == 0 && overflow.queue_messages == 0 && !overflow.high.is_set();
}

Overflow resolved(Overflow overflow, std::size_t max_message_bytes)
{
    if (overflow.queue_bytes == 0)
        overflow.queue_bytes = std::max(default_queue_bytes, 4 * entry_cost(max_message_bytes));
    if (overflow.queue_messages == 0)
        overflow.queue_messages = SIZE_MAX;
    overflow.low.messages = low_level(overflow.low.messages, overflow.high.messages);
    overflow.low.bytes = low_level(overflow.low.bytes, overflow.high.bytes);
    return overflow;
}

Result<void> validate_overflow(const Overflow& overflow, std::size_t max_message_bytes,
                               bool has_topics)
{
    const bool conflates = overflow.policy == OverflowPolicy::conflate;
    if (overflow.key && !conflates)
        return bad_options("overflow: a key is for conflating only");
    if (conflates && !overflow.key && !has_topics)
        return bad_options("overflow: conflating needs a key");
    if (overflow.max_age < Duration{})
        return bad_options("overflow: max_age is negative");
    if (overflow.queue_bytes != 0 && overflow.queue_bytes < entry_cost(max_message_bytes))
        return bad_options(fmt::format(
            "overflow: a queue of {} bytes cannot hold a message of {}; set queue_bytes "
            "to at least {}, or to 0 for the default",
            overflow.queue_bytes, max_message_bytes, entry_cost(max_message_bytes)));
    const auto is_above = [](std::size_t low, std::size_t high) { return low != 0 && low >= high; };
    if (is_above(overflow.low.messages, overflow.high.messages)
        || is_above(overflow.low.bytes, overflow.high.bytes))
        return bad_options("overflow: a low water mark must be below the high one");
    return {};
}

} // namespace sidecar::detail
