#include "queue/priority_lane.hpp"

#include "queue/send_conditions.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <string_view>

namespace priority_lane_test {

using namespace sidecar;
using namespace std::chrono_literals;

using detail::PriorityLane;
using detail::PriorityMessage;
using detail::SendGate;

std::uint64_t push(PriorityLane& lane, std::string_view text,
                   PriorityMessage::Origin origin = PriorityMessage::Origin::application)
{
    return lane.push(
        {.message = Message{MessageView{{}, MessageKind::text, std::as_bytes(std::span{text})}},
         .origin = origin});
}

TEST_CASE("PriorityLane: its bound counts the application's messages, also while they are written")
{
    PriorityLane lane;
    for (std::size_t i = 0; i < PriorityLane::max_messages; ++i) {
        CHECK(lane.has_room(1));
        push(lane, "x");
        push(lane, "own", PriorityMessage::Origin::subscription);
    }
    CHECK_FALSE(lane.has_room(1));
    CHECK(lane.take(SendGate::open, 0));
    CHECK_FALSE(lane.has_room(1));
    CHECK(lane.written(SIZE_MAX).size() == 2 * PriorityLane::max_messages);
    CHECK(lane.has_room(1));
    CHECK(lane.counts().accepted == 2 * PriorityLane::max_messages);
    CHECK(lane.empty());
}

TEST_CASE("PriorityLane: one message of any size finds room in an empty lane")
{
    PriorityLane lane;
    CHECK(lane.has_room(PriorityLane::max_bytes + 1));
    push(lane, std::string(PriorityLane::max_bytes + 1, 'x'));
    CHECK_FALSE(lane.has_room(0));
    CHECK(lane.end_connection(false) == 1);
    CHECK(lane.has_room(PriorityLane::max_bytes + 1));
}

TEST_CASE("SendConditions: finds the first that is late, or bound to another connection")
{
    detail::SendConditions conditions;
    CHECK_FALSE(conditions.first_unmet(100, 1, TimePoint::max()));
    conditions.add({.position = 8, .deadline = TimePoint{3s}, .connection = 0});
    conditions.add({.position = 24, .deadline = TimePoint{1s}, .connection = 1});
    conditions.add({.position = 40, .deadline = TimePoint::max(), .connection = 2});
    struct Row {
        std::uint64_t end;
        std::uint32_t connection;
        TimePoint now;
        std::uint64_t unmet; // 0: none
    };
    for (const auto& row : {Row{100, 1, TimePoint{}, 40}, Row{40, 1, TimePoint{}, 0},
                            Row{100, 2, TimePoint{}, 24}, Row{100, 1, TimePoint{1s}, 24},
                            Row{24, 1, TimePoint{1s}, 0}, Row{20, 1, TimePoint{5s}, 8}}) {
        const auto unmet = conditions.first_unmet(row.end, row.connection, row.now);
        CHECK((unmet ? unmet->position : 0) == row.unmet);
    }
    conditions.forget_until(40);
    CHECK(conditions.first_unmet(100, 1, TimePoint{5s})->position == 40);
    conditions.forget_until(41);
    CHECK(conditions.empty());
}

} // namespace priority_lane_test
