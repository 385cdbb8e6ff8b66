#include "queue/control_lane.hpp"

#include "queue/send_deadlines.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace control_lane_test {

using namespace sidecar;
using namespace std::chrono_literals;
using detail::ControlLane;
using detail::SendDeadlines;
using Words = std::vector<std::string>;

bool push(ControlLane& lane, std::string_view text, std::uint32_t connection = 0,
          TimePoint deadline = TimePoint::max())
{
    return lane.push(LinkId{1}, MessageKind::text, std::as_bytes(std::span{text}), connection,
                     deadline);
}

Words take(ControlLane& lane, std::uint32_t connection = 1, TimePoint now = {})
{
    Words words;
    for (const auto& message : lane.take(connection, now).messages)
        words.emplace_back(message.text());
    return words;
}

void check_sum(const ControlLane& lane)
{
    const auto counts = lane.counts();
    CHECK(counts.accepted == counts.written + counts.late + counts.unsent + counts.queued);
}

TEST_CASE("ControlLane: gives all that is there, in order, once")
{
    ControlLane lane;
    CHECK_FALSE(lane.has_any());
    CHECK(push(lane, "a"));
    CHECK(push(lane, "b"));
    CHECK(lane.has_any());
    CHECK(take(lane) == Words{"a", "b"});
    CHECK_FALSE(lane.has_any());
    CHECK(take(lane).empty());
    CHECK(lane.counts().queued == 2); // being written
    lane.note_written();
    CHECK(lane.counts().queued == 0);
    CHECK(lane.counts().written == 2);
    CHECK(lane.counts().written_bytes == 2);
    check_sum(lane);
}

TEST_CASE("ControlLane: what is being written counts towards its bound")
{
    ControlLane lane;
    for (std::size_t i = 0; i < ControlLane::most_messages; ++i)
        CHECK(push(lane, "x"));
    CHECK_FALSE(push(lane, "x"));
    CHECK(take(lane).size() == ControlLane::most_messages);
    CHECK_FALSE(push(lane, "x"));
    lane.note_written();
    CHECK(push(lane, "x"));
    check_sum(lane);
}

TEST_CASE("ControlLane: one message of any size finds room in an empty lane")
{
    ControlLane lane;
    CHECK(push(lane, std::string(ControlLane::most_bytes + 1, 'x')));
    CHECK_FALSE(push(lane, "y"));
    lane.lose(true);
    CHECK(push(lane, "y"));
    CHECK(lane.counts().unsent == 1);
    check_sum(lane);
}

TEST_CASE("ControlLane: what is late is dropped, what is meant for another connection is unsent")
{
    ControlLane lane;
    CHECK(push(lane, "late", 0, TimePoint{1s}));
    CHECK(push(lane, "in time", 0, TimePoint{2s}));
    CHECK(push(lane, "old", 1));
    CHECK(push(lane, "new", 2));
    CHECK(take(lane, 2, TimePoint{1s}) == Words{"in time", "new"});
    lane.note_failed();
    const auto counts = lane.counts();
    CHECK(counts.late == 1);
    CHECK(counts.unsent == 3);
    check_sum(lane);
}

TEST_CASE("ControlLane: at the end of a connection what is bound to it goes, or all")
{
    ControlLane lane;
    CHECK(push(lane, "bound", 1));
    CHECK(push(lane, "free"));
    lane.lose(false);
    CHECK(lane.has_any());
    CHECK(take(lane, 2) == Words{"free"});
    lane.note_written();
    CHECK(push(lane, "free"));
    lane.lose(true);
    CHECK_FALSE(lane.has_any());
    CHECK(lane.counts().unsent == 2);
    check_sum(lane);
}

TEST_CASE("ControlLane: tells by number what was dropped, and what still waits")
{
    ControlLane lane;
    constexpr auto none = ControlLane::no_number;
    CHECK(lane.first_open() == none);
    CHECK(push(lane, "late", 0, TimePoint{1s}));
    CHECK(push(lane, "bound", 1));
    CHECK(push(lane, "free"));
    CHECK(push(lane, "late too", 0, TimePoint{1s}));
    CHECK(lane.first_open() == 1);
    const auto taken = lane.take(2, TimePoint{1s});
    CHECK(taken.first_late == 1);
    CHECK(taken.first_unsent == 2);
    CHECK(lane.first_open() == 3); // being written
    CHECK(lane.note_failed() == 3);
    CHECK(lane.note_failed() == none);
    CHECK(lane.first_open() == none);
    CHECK(push(lane, "free"));
    CHECK(push(lane, "bound", 1));
    CHECK(lane.lose(false) == 6);
    CHECK(lane.first_open() == 5);
    CHECK(lane.lose(true) == 5);
    CHECK(lane.lose(true) == none);
    check_sum(lane);
}

TEST_CASE("SendDeadlines: finds the first that is late before the end")
{
    SendDeadlines deadlines;
    CHECK(deadlines.first_late(100, TimePoint::max()) == 100);
    deadlines.add(8, TimePoint{3s});
    deadlines.add(24, TimePoint{1s});
    deadlines.add(40, TimePoint{2s});
    struct Row {
        std::uint64_t end;
        TimePoint now;
        std::uint64_t late;
    };
    for (const auto& row :
         {Row{100, TimePoint{}, 100}, Row{100, TimePoint{1s}, 24}, Row{24, TimePoint{1s}, 24},
          Row{20, TimePoint{5s}, 8}, Row{8, TimePoint{5s}, 8}, Row{100, TimePoint{3s}, 8}})
        CHECK(deadlines.first_late(row.end, row.now) == row.late);
    deadlines.forget_until(24);
    CHECK(deadlines.size() == 2);
    CHECK(deadlines.first_late(100, TimePoint{3s}) == 24);
    deadlines.forget_until(41);
    CHECK(deadlines.empty());
}

} // namespace control_lane_test
