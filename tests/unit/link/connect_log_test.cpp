// How a connecting is told, by table.
#include "link/connect_log.hpp"

#include <doctest/doctest.h>

namespace connect_log_test {

using namespace sidecar;
using detail::ConnectLog;
using namespace std::chrono_literals;

TimePoint at(Duration when) { return TimePoint{when}; }

TEST_CASE("connect log: the steps follow each other, and add up to the total")
{
    ConnectLog log;
    log.begin(at(1s));
    log.enter(Phase::resolving, "", at(1010ms)); // what came before belongs to it
    log.enter(Phase::connecting, "to a", at(1030ms));
    log.enter(Phase::connecting, "to a and b", at(1280ms)); // goes on
    log.tried("a", "refused", 300ms);
    log.tried("b", "", 70ms);
    log.enter(Phase::securing, "with b", at(1350ms));
    CHECK(log.trace(at(1400ms)).total == 400ms); // under way
    CHECK(log.trace(at(1400ms)).time_in(Phase::securing) == 50ms);
    log.end(at(1500ms));
    log.end(at(9s));                           // again
    log.enter(Phase::resolving, "x", at(10s)); // late
    const auto trace = log.trace(at(99s));
    REQUIRE(trace.steps.size() == 3);
    CHECK(trace.steps[0].took == 30ms);
    CHECK(trace.steps[1].took == 320ms);
    CHECK(trace.steps[1].detail == "to a and b");
    CHECK(trace.steps[2].took == 150ms);
    CHECK(trace.total == 500ms);
    REQUIRE(trace.attempts.size() == 2);
    CHECK(trace.attempts[1].outcome.empty());
}

TEST_CASE("connect log: a new connecting forgets the one before")
{
    ConnectLog log;
    CHECK(log.trace(at(5s)).steps.empty());
    log.begin(at(0s));
    log.enter(Phase::connecting, "", at(0s));
    log.tried("a", "refused", 1s);
    log.end(at(1s));
    log.begin(at(100s));
    CHECK(log.trace(at(100s)).steps.empty());
    log.enter(Phase::connecting, "", at(100s));
    log.end(at(102s));
    CHECK(log.trace(at(200s)).total == 2s);
    CHECK(log.trace(at(200s)).attempts.empty());
}

TEST_CASE("connect log: a peer that redirects for ever makes nothing grow")
{
    ConnectLog log;
    log.begin(at(0s));
    for (int i = 0; i < 1000; ++i) {
        log.enter(i % 2 == 0 ? Phase::connecting : Phase::handshaking, "", at(i * 1s));
        log.tried("a", "b", 1s);
    }
    log.end(at(1000s));
    const auto trace = log.trace(at(1000s));
    CHECK(trace.steps.size() == ConnectLog::most_entries);
    CHECK(trace.attempts.size() == ConnectLog::most_entries);
    CHECK(trace.total == 1000s);
    CHECK(trace.time_in(Phase::connecting) + trace.time_in(Phase::handshaking) == 1000s);
}

} // namespace connect_log_test
