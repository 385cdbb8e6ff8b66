// Both clocks of a connection, by table.
#include "link/keep_alive.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace liveness_test {

using namespace sidecar;
using detail::validate_liveness, detail::LivenessMonitor;
using namespace std::chrono_literals;
using What = LivenessMonitor::What;

TimePoint at(Duration when) { return TimePoint{when}; }

/// Drives a Liveness as its owner does, and keeps what it said.
struct Driver {
    explicit Driver(Liveness options, bool can_ask = true) : liveness{options, can_ask}
    {
        liveness.up(at(0s));
        signs.heard_at = signs.data_at = TimePoint::min();
    }
    void look(Duration when)
    {
        for (;;) {
            last = liveness.look(signs, at(when));
            switch (last.what) {
            case What::wait: next = last.next_look; return;
            case What::ask: said.push_back("ask"); break;
            case What::report_stale: said.push_back("stale"); break;
            case What::report_fresh: said.push_back("fresh"); break;
            case What::drop_stale: said.push_back("drop stale"); return;
            case What::drop_dead:
                said.push_back(last.was_asked ? "dead" : "dead, not asked");
                return;
            }
        }
    }
    void heard(Duration when) { signs.heard_at = at(when); }
    void data(Duration when) { signs.heard_at = signs.data_at = at(when); }

    LivenessMonitor liveness;
    LivenessMonitor::Signs signs;
    LivenessMonitor::Verdict last;
    TimePoint next{};
    std::vector<std::string> said;
};

using Said = std::vector<std::string>;
const Liveness usual{.interval = 10s, .timeout = 20s};

TEST_CASE("liveness: a silent peer is asked after the interval and gone after the timeout")
{
    Driver d{usual};
    d.look(0s);
    CHECK(d.next == at(10s));
    d.look(10s - 1ns);
    CHECK(d.said.empty());
    d.look(10s);
    CHECK(d.said == Said{"ask"});
    d.liveness.asked_written(at(11s)); // from here on, not from when it was queued
    d.look(11s);
    CHECK(d.next == at(21s)); // an answer could be followed by silence
    d.look(21s);
    CHECK(d.next == at(31s));
    d.look(31s - 1ns);
    CHECK(d.said == Said{"ask"});
    d.look(31s);
    CHECK(d.said == Said{"ask", "dead"});
    CHECK(d.last.silence == 31s);
}

TEST_CASE("liveness: any byte after the question is an answer, and the interval begins anew")
{
    Driver d{usual};
    d.look(10s);
    d.liveness.asked_written(at(10s));
    SUBCASE("later") { d.heard(12s); }
    SUBCASE("at the same moment") { d.heard(10s); }
    SUBCASE("at the last") { d.heard(30s - 1ns); }
    const auto heard_at = d.signs.heard_at;
    d.look(30s - 1ns);
    const bool is_silent_again = heard_at + usual.interval <= at(30s - 1ns);
    CHECK(d.said == (is_silent_again ? Said{"ask", "ask"} : Said{"ask"}));
    CHECK(d.next > at(30s - 1ns));
}

TEST_CASE("liveness: a peer that answers once and is gone then is noticed as soon as any other")
{
    for (const auto answer : {10s, 13s, 19s, 29s}) {
        Driver d{usual};
        for (auto next = at(0s);;) {
            const auto now = next.time_since_epoch();
            if (now >= answer)
                d.heard(answer);
            d.look(now);
            if (d.said.size() != 0 && d.said.back() == "ask")
                d.liveness.asked_written(at(now));
            if (!d.said.empty() && d.said.back() == "dead") {
                CHECK(now == answer + usual.interval + usual.timeout);
                break;
            }
            REQUIRE(d.next > next);
            next = d.next;
        }
    }
}

TEST_CASE("liveness: a peer that talks is never asked, however late one looks")
{
    Driver d{usual};
    for (auto t = 0s; t < 1000s; t += 9s) {
        d.heard(t);
        d.look(t + 5s);
        CHECK(d.next == at(t + 10s));
    }
    CHECK(d.said.empty());
}

TEST_CASE("liveness: what came before the question is no answer to it")
{
    Driver d{usual};
    d.heard(3s);
    d.look(10s);
    CHECK(d.next == at(13s));
    d.look(13s);
    d.liveness.asked_written(at(13s));
    d.look(33s);
    CHECK(d.said == Said{"ask", "dead"});
}

TEST_CASE("liveness: a question that the system does not take is no life either")
{
    Driver d{usual};
    d.look(10s);
    SUBCASE("nothing of ours is taken")
    {
        d.look(30s - 1ns);
        CHECK(d.said == Said{"ask"});
        d.look(30s);
        CHECK(d.said == Said{"ask", "dead, not asked"});
    }
    SUBCASE("what stands before it is taken bit by bit, so the line lives")
    {
        for (auto t = 15s; t < 200s; t += 15s) {
            ++d.signs.written;
            d.look(t);
        }
        CHECK(d.said == Said{"ask"}); // and no second one behind it
        d.liveness.asked_written(at(200s));
        d.look(220s);
        CHECK(d.said == Said{"ask", "dead"});
    }
    SUBCASE("something comes meanwhile")
    {
        d.heard(29s);
        d.look(30s);
        CHECK(d.said == Said{"ask"});
        CHECK(d.next <= at(49s));
        d.liveness.asked_written(at(40s));
        d.look(40s);
        CHECK(d.said == Said{"ask", "ask"}); // 29 s was life, and 11 s ago
    }
}

TEST_CASE("liveness: a pause of our own reading stops both clocks, and they begin anew after it")
{
    Driver d{{.interval = 10s, .timeout = 20s, .data_timeout = 15s}};
    d.look(10s);
    d.liveness.asked_written(at(10s));
    d.signs.is_paused = true;
    d.look(12s);
    CHECK(d.next == at(22s));
    d.look(100s);
    CHECK(d.said == Said{"ask"});
    d.signs.is_paused = false;
    d.signs.resumed_at = at(105s);
    d.look(106s);
    CHECK(d.said == Said{"ask"});
    CHECK(d.next == at(115s));
    d.look(115s);
    CHECK(d.said == Said{"ask", "ask"});
    d.look(120s);
    CHECK(d.said == Said{"ask", "ask", "stale"});
}

TEST_CASE("liveness: a peer that only answers is stale, once, and fresh when data comes again")
{
    Driver d{{.interval = 10s, .timeout = 20s, .data_timeout = 30s}};
    d.data(0s);
    for (auto t = 1s; t <= 100s; t += 1s) {
        d.heard(t);
        d.look(t);
    }
    CHECK(d.said == Said{"stale"});
    CHECK(d.liveness.is_stale());
    d.data(101s);
    d.look(101s);
    CHECK_FALSE(d.liveness.is_stale());
    for (auto t = 102s; t <= 140s; t += 1s) {
        d.heard(t);
        d.look(t);
    }
    CHECK(d.said == Said{"stale", "fresh", "stale"});
}

TEST_CASE("liveness: the data clock alone wakes at its own times")
{
    Driver d{{.interval = 0s, .timeout = 0s, .data_timeout = 3s}};
    d.look(0s);
    CHECK(d.next == at(3s));
    d.data(2s);
    d.look(3s);
    CHECK(d.next == at(5s));
    d.look(5s);
    CHECK(d.said == Said{"stale"});
    CHECK(d.last.next_look == TimePoint::max());
    SUBCASE("a pause of our own reading makes nothing fresh")
    {
        d.signs.is_paused = true;
        d.look(6s);
        d.signs.is_paused = false;
        d.signs.resumed_at = at(7s);
        d.look(8s);
        d.look(100s);
        CHECK(d.said == Said{"stale"});
    }
}

TEST_CASE("liveness: no data may be a reason to drop the link")
{
    Driver d{{.interval = 0s, .timeout = 0s, .data_timeout = 3s, .on_stale = OnStale::drop}};
    d.look(3s);
    CHECK(d.said == Said{"drop stale"});
    CHECK(d.last.silence == 3s);
}

TEST_CASE("liveness: without a way to ask, or an interval, nobody is asked")
{
    Driver cannot{usual, false};
    CHECK(cannot.liveness.is_off());
    cannot.look(1000s);
    CHECK(cannot.said.empty());
    CHECK(cannot.next == TimePoint::max());
    Driver off{{.interval = 0s}};
    CHECK(off.liveness.is_off());
    CHECK_FALSE(Driver{{.interval = 0s, .data_timeout = 1s}}.liveness.is_off());
}

TEST_CASE("liveness: a new connection begins with fresh clocks")
{
    Driver d{usual};
    d.look(10s);
    d.liveness.asked_written(at(10s));
    d.liveness.up(at(25s));
    d.look(31s);
    CHECK(d.said == Said{"ask"});
    CHECK(d.next == at(35s));
    d.liveness.asked_written(at(31s)); // of the old one, late
    d.look(35s);
    CHECK(d.said == Said{"ask", "ask"});
}

TEST_CASE("liveness: the longest times do not overflow")
{
    Driver d{
        {.interval = Duration::max(), .timeout = Duration::max(), .data_timeout = Duration::max()}};
    d.look(1000h);
    CHECK(d.said.empty());
    CHECK(d.next == TimePoint::max());
}

TEST_CASE("liveness: what makes no sense is bad_options")
{
    CHECK(validate_liveness({}));
    CHECK(validate_liveness({.interval = 0s, .timeout = 0s}));
    CHECK(validate_liveness({.interval = 1s, .timeout = 1s}));
    CHECK(validate_liveness({.interval = 0s, .data_timeout = 1ns, .on_stale = OnStale::drop}));
    CHECK(validate_liveness({.heartbeat = Heartbeat{.message = "ping"}}));
    for (const auto& options : std::vector<Liveness>{
             {.interval = 2s, .timeout = 1s}, // longer than its deadline
             {.interval = 1s, .timeout = 0s},
             {.interval = -1s},
             {.timeout = -1s},
             {.data_timeout = -1s},
             {.interval = 0s, .heartbeat = Heartbeat{}},
         })
        CHECK(validate_liveness(options).error() == Error::bad_options);
}

} // namespace liveness_test
