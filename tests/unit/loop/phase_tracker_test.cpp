// How a link reports its connecting.
#include "loop/phase_tracker.hpp"

#include "../queue/manual_clock.hpp"

#include <doctest/doctest.h>

namespace phase_note_test {

using namespace sidecar;
using detail::PhaseTracker;
using namespace std::chrono_literals;

/// A PhaseTracker with the times as the tests give them.
struct Log {
    void begin(Duration at)
    {
        clock.time = TimePoint{at};
        note.begin_connecting();
    }
    void enter(Phase phase, std::string_view detail, Duration at)
    {
        clock.time = TimePoint{at};
        note.set_phase(phase, detail);
    }
    void tried(std::string_view address, std::string_view outcome, Duration elapsed)
    {
        note.record_tried(address, outcome, elapsed);
    }
    void end(Duration at)
    {
        clock.time = TimePoint{at};
        note.end_connecting();
    }
    ConnectTrace trace(Duration at)
    {
        clock.time = TimePoint{at};
        return note.trace();
    }

    ManualClock clock;
    PhaseTracker note{clock};
};

TEST_CASE("phase note: open ends the connecting, and a detail belongs to its phase")
{
    Log log;
    log.begin(0s);
    log.enter(Phase::restoring, "", 1s);
    log.note.set_detail(Phase::restoring, "while it waits");
    CHECK(log.note.text() == "running on_connected while it waits");
    log.note.set_detail(Phase::open, "x");
    CHECK(log.note.text() == "running on_connected while it waits");
    log.enter(Phase::subscribing, "", 2s);
    CHECK(log.note.text() == "waiting for answers to subscriptions");
    log.note.set_detail(Phase::restoring, "late");
    CHECK(log.trace(3s).time_in(Phase::subscribing) == 1s);
    log.enter(Phase::open, "", 4s);
    CHECK(log.note.text() == "open");
    CHECK(log.trace(9s).time_in(Phase::restoring) == 2s); // from the begin
    CHECK(log.trace(9s).time_in(Phase::subscribing) == 2s);
    CHECK(log.trace(9s).total == 4s);
}

TEST_CASE("phase note: the steps follow each other, and add up to the total")
{
    Log log;
    log.begin(1s);
    log.enter(Phase::resolving, "", 1010ms); // what came before belongs to it
    log.enter(Phase::connecting, "to a", 1030ms);
    log.enter(Phase::connecting, "to a and b", 1280ms); // goes on
    log.tried("a", "refused", 300ms);
    log.tried("b", "", 70ms);
    log.enter(Phase::securing, "with b", 1350ms);
    CHECK(log.trace(1400ms).total == 400ms); // under way
    CHECK(log.trace(1400ms).time_in(Phase::securing) == 50ms);
    log.end(1500ms);
    log.end(9s);                           // again
    log.enter(Phase::resolving, "x", 10s); // late
    const auto trace = log.trace(99s);
    REQUIRE(trace.steps.size() == 3);
    CHECK(trace.steps[0].elapsed == 30ms);
    CHECK(trace.steps[1].elapsed == 320ms);
    CHECK(trace.steps[1].detail == "to a and b");
    CHECK(trace.steps[2].elapsed == 150ms);
    CHECK(trace.total == 500ms);
    REQUIRE(trace.attempts.size() == 2);
    CHECK(trace.attempts[1].outcome.empty());
}

TEST_CASE("phase note: a new connecting forgets the one before")
{
    Log log;
    CHECK(log.trace(5s).steps.empty());
    log.begin(0s);
    log.enter(Phase::connecting, "", 0s);
    log.tried("a", "refused", 1s);
    log.end(1s);
    log.begin(100s);
    CHECK(log.trace(100s).steps.empty());
    log.enter(Phase::connecting, "", 100s);
    log.end(102s);
    CHECK(log.trace(200s).total == 2s);
    CHECK(log.trace(200s).attempts.empty());
}

TEST_CASE("phase note: a peer that redirects for ever makes nothing grow")
{
    Log log;
    log.begin(0s);
    for (int i = 0; i < 1000; ++i) {
        log.enter(i % 2 == 0 ? Phase::connecting : Phase::handshaking, "", i * 1s);
        log.tried("a", "b", 1s);
    }
    log.end(1000s);
    const auto trace = log.trace(1000s);
    CHECK(trace.steps.size() == PhaseTracker::max_entries);
    CHECK(trace.attempts.size() == PhaseTracker::max_entries);
    CHECK(trace.total == 1000s);
    CHECK(trace.time_in(Phase::connecting) + trace.time_in(Phase::handshaking) == 1000s);
}

} // namespace phase_note_test
