#include "queue/priority_queue.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <string_view>

namespace priority_lane_test {

using namespace sidecar;
using namespace std::chrono_literals;

using detail::PriorityMessage;
using detail::PriorityQueue;
using detail::SendGate;

std::uint64_t push(PriorityQueue& lane, std::string_view text,
                   PriorityMessage::Origin origin = PriorityMessage::Origin::application)
{
    return lane.push(
        {.message = Message{MessageView{{}, MessageKind::text, std::as_bytes(std::span{text})}},
         .origin = origin});
}

TEST_CASE("PriorityQueue: its bound counts the application's messages, also while they are written")
{
    PriorityQueue lane;
    for (std::size_t i = 0; i < PriorityQueue::max_messages; ++i) {
        CHECK(lane.has_room(1));
        push(lane, "x");
        push(lane, "own", PriorityMessage::Origin::subscription);
    }
    CHECK_FALSE(lane.has_room(1));
    CHECK(lane.take(SendGate::open, 0));
    CHECK_FALSE(lane.has_room(1));
    CHECK(lane.written(SIZE_MAX).size() == 2 * PriorityQueue::max_messages);
    CHECK(lane.has_room(1));
    CHECK(lane.counts().accepted == 2 * PriorityQueue::max_messages);
    CHECK(lane.empty());
}

TEST_CASE("PriorityQueue: one message of any size finds room in an empty lane")
{
    PriorityQueue lane;
    CHECK(lane.has_room(PriorityQueue::max_bytes + 1));
    push(lane, std::string(PriorityQueue::max_bytes + 1, 'x'));
    CHECK_FALSE(lane.has_room(0));
    CHECK(lane.end_connection(false) == 1);
    CHECK(lane.has_room(PriorityQueue::max_bytes + 1));
}

} // namespace priority_lane_test
