// Both clocks of a connection, by table.
#include "link/keep_alive.hpp"
#include "support/minimal_transport.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <climits>
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
    explicit Driver(const Options& options, bool can_ask = true)
        : liveness{can_ask ? Liveness{*options.ping_interval, options.ping_timeout.value_or(0s)}
                           : Liveness{0s, 0s},
                   options.idle_timeout, options.on_idle}
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
                dropped_at = when;
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
    Duration dropped_at{};
    std::vector<std::string> said;
};

using Said = std::vector<std::string>;
const Options usual{.ping_interval = 10s, .ping_timeout = 20s};

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
    const bool is_silent_again = heard_at + *usual.ping_interval <= at(30s - 1ns);
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
                CHECK(now == answer + *usual.ping_interval + *usual.ping_timeout);
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

/// Plays a peer that answers each of the first `answers` pings after `delay`. Returns when it was
/// dropped; max(): never within `limit`. `last_byte`: when its last answer arrived.
Duration time_of_drop(const Options& options, int answers, Duration delay, Duration limit,
                      Duration& last_byte)
{
    Driver d{options};
    auto answer_at = TimePoint::max();
    std::size_t asked = 0;
    for (auto now = Duration{}; now <= limit;
         now = std::min(d.next, answer_at).time_since_epoch()) {
        if (at(now) == answer_at) {
            d.heard(last_byte = now);
            answer_at = TimePoint::max();
        }
        if (d.next <= at(now))
            d.look(now);
        if (!d.said.empty() && d.said.back() == "dead")
            return now;
        if (d.said.size() != asked) {
            asked = d.said.size();
            d.liveness.asked_written(at(now));
            d.look(now);
            if (answers-- > 0)
                answer_at = at(now + delay);
        }
    }
    return Duration::max();
}

TEST_CASE("liveness: any interval goes with any timeout: a peer that answers in time is never "
          "dropped, a dead one exactly after both")
{
    for (const Duration interval : {Duration{1ms}, Duration{10s}, Duration{30s}, Duration{1h}})
        for (const Duration timeout : {Duration{1ms}, Duration{9s}, Duration{10s}, Duration{5min}})
            for (const auto delay :
                 {Duration{}, Duration{1ns}, timeout / 2, timeout - 1ns, timeout})
                for (const int answers : {0, 1, 7}) {
                    CAPTURE(interval.count());
                    CAPTURE(timeout.count());
                    CAPTURE(delay.count());
                    CAPTURE(answers);
                    const Options options{.ping_interval = interval, .ping_timeout = timeout};
                    Duration last_byte{};
                    const auto dropped =
                        time_of_drop(options, answers, delay, Duration::max(), last_byte);
                    CHECK(last_byte == answers * (interval + delay));
                    CHECK(dropped == last_byte + interval + timeout);
                }
    Duration last_byte{};
    const Options options{.ping_interval = 30s, .ping_timeout = 10s};
    CHECK(time_of_drop(options, INT_MAX, 10s, 1000h, last_byte) == Duration::max());
    CHECK(time_of_drop(options, INT_MAX, 10s + 1ns, 1000h, last_byte) == 40s);
}

TEST_CASE("liveness: a ping behind other bytes: the deadline counts from their last progress")
{
    for (const Duration interval : {2s, 10s, 30s, 600s})
        for (const Duration timeout : {2s, 10s, 30s}) {
            CAPTURE(interval.count());
            CAPTURE(timeout.count());
            Driver d{{.ping_interval = interval, .ping_timeout = timeout}};
            const auto stuck = interval + 100s + 1ms; // until then the system takes bytes
            auto now = Duration{};
            for (; now < 1h; now = d.next.time_since_epoch()) {
                if (now > interval && now <= stuck)
                    ++d.signs.written;
                d.look(now);
                if (d.said.size() == 2)
                    break;
                REQUIRE(d.next > at(now)); // or it would look for ever
            }
            CHECK(d.said == Said{"ask", "dead, not asked"});
            const auto at_drop = d.dropped_at;
            CHECK(at_drop >= stuck - timeout / 8 + timeout);
            CHECK(at_drop <= stuck + timeout / 8 + timeout);
        }
}

TEST_CASE("liveness: the shortest times do not make it look all the time")
{
    Driver d{{.ping_interval = 1ns, .ping_timeout = 1s, .idle_timeout = 1ns}};
    d.look(1ns);
    CHECK(d.said == Said{"stale", "ask"});
    CHECK(d.next >= at(1ms));
    d.liveness.asked_written(at(2ns));
    d.look(2ns);
    CHECK(d.next >= at(1ms));
    d.signs.is_paused = true;
    d.look(1ms);
    CHECK(d.next >= at(2ms));
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
    Driver d{{.ping_interval = 10s, .ping_timeout = 20s, .idle_timeout = 15s}};
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
    Driver d{{.ping_interval = 10s, .ping_timeout = 20s, .idle_timeout = 30s}};
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
    Driver d{{.ping_interval = 0s, .ping_timeout = 0s, .idle_timeout = 3s}};
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
    Driver d{
        {.ping_interval = 0s, .ping_timeout = 0s, .idle_timeout = 3s, .on_idle = OnIdle::drop}};
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
    Driver off{{.ping_interval = 0s}};
    CHECK(off.liveness.is_off());
    CHECK_FALSE(Driver{{.ping_interval = 0s, .idle_timeout = 1s}}.liveness.is_off());
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
    Driver d{{.ping_interval = Duration::max(),
              .ping_timeout = Duration::max(),
              .idle_timeout = Duration::max()}};
    d.look(1000h);
    CHECK(d.said.empty());
    CHECK(d.next == TimePoint::max());
}

struct Pinged : MinimalTransport {
    using MinimalTransport::MinimalTransport;
    static Liveness default_liveness() { return {.ping_interval = 5s, .ping_timeout = 3s}; }
    Task<> ping(Context, std::span<const std::byte>) { co_return; }
};
struct Unpinged : Pinged { // by default
    using Pinged::Pinged;
    static Liveness default_liveness() { return {.ping_interval = 0s, .ping_timeout = 0s}; }
};

template <class T>
const detail::TransportConfig<T> config_of{typename T::Options{}};

TEST_CASE("liveness: what the options leave open comes from the transport, or is 15 s")
{
    const Heartbeat heartbeat{.message = "hb"};
    struct Row {
        const detail::LinkConfig& config;
        LinkOptions options;
        Duration interval, timeout;
    };
    for (const auto& row : std::vector<Row>{
             {config_of<Pinged>, {}, 5s, 3s},
             {config_of<Pinged>, {.ping_interval = 30s}, 30s, 3s},
             {config_of<Pinged>, {.ping_timeout = 10s}, 5s, 10s},
             {config_of<Pinged>, {.ping_interval = 30s, .ping_timeout = 10s}, 30s, 10s},
             {config_of<Pinged>, {.ping_interval = 0s}, 0s, 3s},
             {config_of<Pinged>, {.heartbeat = heartbeat}, 5s, 3s},
             {config_of<Unpinged>, {}, 0s, 15s},
             {config_of<Unpinged>, {.ping_interval = 30s}, 30s, 15s},
             {config_of<Unpinged>, {.heartbeat = heartbeat}, 15s, 15s},
             {config_of<MinimalTransport>, {.idle_timeout = 1s}, 0s, 15s},
             {config_of<MinimalTransport>, {.heartbeat = heartbeat}, 15s, 15s},
             {config_of<MinimalTransport>, {.ping_timeout = 1s, .heartbeat = heartbeat}, 15s, 1s},
             {config_of<MinimalTransport>, {.ping_interval = 1s, .heartbeat = heartbeat}, 1s, 15s},
         }) {
        const auto pings = detail::pings_of(row.options, row.config);
        CHECK(pings.ping_interval == row.interval);
        CHECK(pings.ping_timeout == row.timeout);
        CHECK(validate_liveness(row.options, row.config));
    }
}

TEST_CASE("liveness: what makes no sense is bad_options")
{
    const auto& pinged = config_of<Pinged>;
    CHECK(validate_liveness({.ping_interval = 0s, .ping_timeout = 0s}, pinged));
    CHECK(validate_liveness({.ping_interval = 1s, .ping_timeout = 1s}, pinged));
    CHECK(validate_liveness({.ping_interval = 2s, .ping_timeout = 1s}, pinged));
    CHECK(validate_liveness({.ping_interval = 1ns, .ping_timeout = 1h}, pinged));
    CHECK(validate_liveness({.idle_timeout = 1ns, .on_idle = OnIdle::drop}, pinged));
    for (const auto& options : std::vector<LinkOptions>{
             {.ping_interval = 1s, .ping_timeout = 0s},
             {.ping_timeout = 0s}, // with the transport's interval
             {.ping_interval = -1s},
             {.ping_timeout = -1s},
             {.ping_interval = 0s, .ping_timeout = -1s},
             {.idle_timeout = -1s},
             {.on_idle = OnIdle::drop},
             {.ping_interval = 0s, .heartbeat = Heartbeat{}},
         })
        CHECK(validate_liveness(options, pinged).error() == Error::bad_options);
    const auto unable = validate_liveness({.ping_interval = 1s}, config_of<MinimalTransport>);
    CHECK(unable.error().explanation()
          == "ping_interval: this transport has no ping; set a heartbeat");
}

} // namespace liveness_test
