#include "queue/queue_limits.hpp"

#include <doctest/doctest.h>

namespace queue_limits_test {

using namespace sidecar;

TEST_CASE("QueueLimits: what is left open is derived")
{
    struct Row {
        QueueLimits given, meant;
    };
    constexpr std::size_t default_bytes = 8u << 20;
    for (const auto& row : {
             Row{{}, {8u << 20, 1u << 17}},
             Row{{.bytes = 4u << 20}, {4u << 20, 1u << 16}},
             Row{{.messages = 7}, {8u << 20, 7}},
             Row{{.bytes = 1000, .messages = 3}, {1000, 3}},
             Row{{.bytes = 10}, {10, 1}},
         }) {
        CAPTURE(row.given.bytes);
        const auto limits = detail::resolved(row.given, default_bytes);
        CHECK(limits.bytes == row.meant.bytes);
        CHECK(limits.messages == row.meant.messages);
    }
    // So leaving the count open changes nothing for who keeps the default sizes.
    const Options defaults;
    CHECK(detail::message_limit({.bytes = defaults.inbox.bytes}) == defaults.inbox.messages);
    CHECK(detail::message_limit({.bytes = defaults.outbox.bytes}) == defaults.outbox.messages);
}

} // namespace queue_limits_test
