// Both clocks of a link on virtual time: exact to the nanosecond.
#include "support/fixture.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace liveness_test {

using namespace sidecar;
using namespace std::chrono_literals;

TimePoint at(Duration when) { return TimePoint{when}; }

/// The pings of the trace, by their times.
std::vector<std::string> pings(const MockPeer& peer)
{
    std::vector<std::string> times;
    for (const auto& line : peer.trace())
        if (line.ends_with(" ping"))
            times.push_back(line.substr(0, line.find(' ')));
    return times;
}

Result<Event> next(Fixture& f, Event::Kind kind, Duration timeout = 1h)
{
    for (;;) {
        auto event = f.feed.next_event(timeout);
        if (!event || event->kind == kind)
            return event;
    }
}

/// Lets time pass without taking anything.
void pass(Fixture& f, Duration time)
{
    (void)f.feed.call("wait", [time](Context ctx) -> Task<> { co_await ctx.sleep_for(time); });
}

const Options usual{.ping_interval = 10s, .ping_timeout = 20s};

TEST_CASE("liveness: a mute peer is down after exactly interval and timeout, without a goodbye")
{
    Fixture f{usual};
    f.peer.delay_pongs(Duration::max());
    REQUIRE(f.feed.start(1s));
    const auto down = next(f, Event::Kind::down);
    REQUIRE(down);
    CHECK(*down->failure == Error::unresponsive);
    CHECK(
        down->failure->message()
        == "cannot hear from the peer (mock): the peer gave no sign of life in time: nothing came "
           "for 30.00 s, and it was asked");
    CHECK(pings(f.peer) == std::vector<std::string>{"10.000"});
    CHECK_FALSE(f.peer.was_closed());
    const auto stats = f.feed.stats();
    CHECK(stats.pings == 1);
    CHECK(stats.unresponsive == 1);
    CHECK_FALSE(stats.data_age);
    CHECK(f.feed.send("x").error() == Error::not_connected);
    const auto late = f.feed.receive(1s);
    CHECK(late.error() == Error::unresponsive);
    CHECK(f.feed.stop().clean());
}

TEST_CASE("liveness: a peer that answers stays for a day, and the round trips are measured")
{
    Fixture f{usual};
    f.peer.delay_pongs(40ms);
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.receive(24h).error() == Error::timed_out);
    CHECK(f.feed.state() == State::connected);
    const auto stats = f.feed.stats();
    CHECK(stats.pings == 24 * 3600 * 1000 / 10'040);
    CHECK(stats.round_trips.count == stats.pings);
    CHECK(stats.round_trips.last == 40ms);
    CHECK(stats.round_trips.min == 40ms);
    CHECK(stats.round_trips.p50 == 40ms);
    CHECK(stats.round_trips.p99 == 40ms);
    CHECK(stats.data_age == 24h);
}

TEST_CASE("liveness: the interval may be longer than the timeout, and shorter")
{
    struct Row {
        Duration interval, timeout;
    };
    for (const auto& row :
         {Row{30s, 10s}, Row{10s, 30s}, Row{1h, 1ms}, Row{1ms, 1min}, Row{10s, 10s}}) {
        CAPTURE(row.interval.count());
        CAPTURE(row.timeout.count());
        const bool has_heartbeat = row.interval == 30s;
        Options options{.ping_interval = row.interval, .ping_timeout = row.timeout};
        if (has_heartbeat)
            options.heartbeat = Heartbeat{.message = "hb?"};
        Fixture f{options};
        f.peer.delay_pongs(row.timeout - 1ns);
        REQUIRE(f.feed.start(1s));
        const auto round = row.interval + row.timeout - 1ns;
        for (int i = 0; i < 10; ++i) { // it answers
            if (has_heartbeat)
                f.peer.deliver_after(round, "hb!");
            const auto answer = f.feed.receive(has_heartbeat ? 2 * round : round);
            CHECK(has_heartbeat == answer.has_value());
        }
        CHECK(f.feed.state() == State::connected);
        CHECK(f.feed.stats().pings == 10);
        f.peer.delay_pongs(Duration::max()); // it dies
        const auto down = next(f, Event::Kind::down, 3h);
        REQUIRE(down);
        CHECK(*down->failure == Error::unresponsive);
        CHECK(down->at == at(10 * round + row.interval + row.timeout));
        CHECK(f.feed.stats().pings == 11);
        CHECK(f.feed.stop().clean());
    }
}

TEST_CASE("liveness: the latest answer that is in time counts, a moment later is too late")
{
    for (const auto delay : {20s - 1ns, 20s + 1ns}) {
        Fixture f{usual};
        f.peer.delay_pongs(delay);
        REQUIRE(f.feed.start(1s));
        CHECK(f.feed.receive(1min).error()
              == (delay < 20s ? Error::timed_out : Error::unresponsive));
    }
}

TEST_CASE("liveness: bytes that are no message are life, but no data")
{
    Fixture f{{.ping_interval = 10s, .ping_timeout = 20s, .idle_timeout = 25s}};
    f.peer.delay_pongs(Duration::max());
    REQUIRE(f.feed.start(1s));
    f.peer.deliver("one");
    REQUIRE(f.feed.receive(1s));
    for (int i = 0; i < 5; ++i) {
        pass(f, 9s);
        f.peer.send_bytes();
    }
    CHECK(pings(f.peer).empty());
    CHECK(f.feed.stats().data_age == 45s);
    const auto stale = next(f, Event::Kind::stale);
    REQUIRE(stale);
    CHECK(stale->data_age == 25s);
    CHECK(stale->at == at(25s));
    f.peer.deliver("two");
    CHECK(next(f, Event::Kind::message)->message.text() == "two");
    const auto fresh = next(f, Event::Kind::fresh, 1s);
    REQUIRE(fresh);
    CHECK(f.feed.stats().data_age == 0s);
}

TEST_CASE("liveness: a server that answers pings and sends nothing may be a reason to go")
{
    Fixture f{
        {.ping_interval = 10s, .ping_timeout = 20s, .idle_timeout = 60s, .on_idle = OnIdle::drop}};
    REQUIRE(f.feed.start(1s));
    const auto stale = next(f, Event::Kind::stale);
    REQUIRE(stale);
    CHECK(stale->at == at(60s));
    const auto down = next(f, Event::Kind::down);
    REQUIRE(down);
    CHECK(*down->failure == Error::unresponsive);
    CHECK(down->failure->explanation() == "no data for 1 min 00 s");
    CHECK(f.feed.stats().pings == 5);
}

TEST_CASE("liveness: receive and poll pass over what is said of the data")
{
    Fixture f{{.ping_interval = 0s, .ping_timeout = 0s, .idle_timeout = 5s}};
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.receive(1min).error() == Error::timed_out);
    f.peer.deliver("late");
    CHECK(text(f.feed.receive(1s)) == "late");
}

TEST_CASE("liveness: the deadline counts from when the ping was written")
{
    Fixture f{usual};
    f.peer.delay_pongs(Duration::max());
    f.peer.hold_writes();
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.receive(15s).error() == Error::timed_out);
    f.peer.release_writes(); // at 15 s
    CHECK(f.feed.receive(20s - 1ns).error() == Error::timed_out);
    CHECK(f.feed.receive(1s).error() == Error::unresponsive);
}

TEST_CASE("liveness: a peer that takes nothing is gone too, the question being written or not")
{
    Fixture f{usual};
    f.peer.hold_writes();
    REQUIRE(f.feed.start(1s));
    REQUIRE(f.feed.send("stuck"));
    const auto down = next(f, Event::Kind::down);
    REQUIRE(down);
    CHECK(*down->failure == Error::unresponsive);
    CHECK(down->failure->explanation()
          == "nothing came for 30.00 s, and it takes nothing, not even the question");
    CHECK(f.feed.stop().clean());
    CHECK(f.feed.stats().unsent == 1);
}

TEST_CASE("liveness: while the application does not receive, nobody is judged")
{
    auto options = usual;
    SUBCASE("the interval is shorter") {}
    SUBCASE("the timeout is shorter")
    {
        options.ping_interval = 20s;
        options.ping_timeout = 10s;
    }
    options.inbox = {.bytes = 64u << 10};
    Fixture f{options, 8u << 10};
    f.peer.delay_pongs(Duration::max());
    REQUIRE(f.feed.start(1s));
    const std::string large(8000, 'x');
    for (int i = 0; i < 20; ++i)
        f.peer.deliver(large);
    f.peer.deliver("last");
    // An hour in which the application waits for something else
    pass(f, 1h);
    REQUIRE(f.feed.stats().reading_pauses == 1);
    CHECK(f.feed.state() == State::connected);
    for (int i = 0; i < 20; ++i)
        CHECK(f.feed.receive(1s)->size() == 8000);
    CHECK(text(f.feed.receive(1s)) == "last");
    // And from then on it is
    CHECK(f.feed.receive(25s).error() == Error::timed_out);
    CHECK(f.feed.receive(10s).error() == Error::unresponsive);
}

TEST_CASE("liveness: a heartbeat asks where there is no ping, and its answers stay out of the way")
{
    auto options = usual;
    options.heartbeat = Heartbeat{
        .message = "hb?", .is_answer = [](const MessageView& m) { return m.text() == "hb!"; }};
    SUBCASE("they are not received") {}
    SUBCASE("they are received") { options.heartbeat->keeps_answers = true; }
    const bool keeps = options.heartbeat->keeps_answers;
    Fixture f{options};
    REQUIRE(f.feed.start(1s));
    f.peer.deliver("data");
    CHECK(text(f.feed.receive(1s)) == "data");
    for (int i = 0; i < 3; ++i) {
        f.peer.deliver_after(10s + 30ms, "hb!");
        if (keeps)
            CHECK(text(f.feed.receive(11s)) == "hb!");
        else
            CHECK(f.feed.receive(10s + 30ms).error() == Error::timed_out);
    }
    CHECK(f.feed.receive(5s).error() == Error::timed_out);
    CHECK(f.peer.sent() == std::vector<std::string>{"hb?", "hb?", "hb?"});
    const auto stats = f.feed.stats();
    CHECK(stats.messages_received == (keeps ? 4 : 1));
    CHECK(stats.messages_sent == 0); // the application's, that is
    CHECK(stats.messages_accepted == 0);
    CHECK(stats.round_trips.count == 3);
    CHECK(stats.round_trips.last == 30ms);
    CHECK(pings(f.peer).empty());
    if (!keeps)
        CHECK(*stats.data_age > 30s);
    CHECK(next(f, Event::Kind::down)->failure->code() == make_error_code(Error::unresponsive));
}

TEST_CASE("liveness: what the heartbeat's predicate throws is recorded, and is no answer")
{
    auto options = usual;
    options.heartbeat = Heartbeat{.message = "hb?", .is_answer = [](const MessageView&) -> bool {
                                      throw std::runtime_error{"no"};
                                  }};
    Fixture f{options};
    REQUIRE(f.feed.start(1s));
    f.peer.deliver("a");
    f.peer.deliver("b");
    CHECK(text(f.feed.receive(1s)) == "a");
    CHECK(text(f.feed.receive(1s)) == "b");
    const auto log = f.feed.errors();
    REQUIRE(log.entries.size() == 1);
    CHECK(log.entries[0].count == 2);
    CHECK(log.entries[0].failure == Error::callback_failed);
}

TEST_CASE("liveness: a stop is not disturbed by it, in any state of a question")
{
    for (const bool holds : {false, true}) {
        Fixture f{{.ping_interval = 100ms, .ping_timeout = 200ms}};
        f.peer.delay_pongs(Duration::max());
        f.peer.delay_close(900ms); // longer than the clock would wait
        if (holds)
            f.peer.hold_writes();
        REQUIRE(f.feed.start(1s));
        CHECK(f.feed.receive(150ms).error() == Error::timed_out);
        const auto report = f.feed.stop();
        CHECK(report.close.verdict == Verdict::ok);
        CHECK(report.cancelled.empty());
        CHECK_FALSE(report.first_error);
        CHECK(f.feed.stats().unresponsive == 0);
    }
}

TEST_CASE("liveness: off unless a link wants it, and each link has its own")
{
    Fixture f;
    f.peer.delay_pongs(Duration::max());
    REQUIRE(f.feed.start(1s));
    MockPeer other;
    other.delay_pongs(Duration::max());
    auto link = f.feed.open<Mock>({.peer = other}, 1s, usual.link_options());
    REQUIRE(link);
    const auto down = next(f, Event::Kind::down);
    REQUIRE(down);
    CHECK(down->link == link->id());
    CHECK(f.feed.state() == State::connected);
    CHECK(pings(f.peer).empty());
    CHECK(link->stats().unresponsive == 1);
    CHECK(f.feed.link()->stats().unresponsive == 0);
    CHECK(f.feed.link()->stats().data_age == 30s);
}

TEST_CASE("liveness: a link that comes back is watched anew, and its connecting is told")
{
    auto options = usual;
    options.reconnect = Reconnect{};
    Fixture f{options};
    f.peer.delay_pongs(Duration::max());
    f.peer.delay_connect(70ms);
    REQUIRE(f.feed.start(1s));
    for (int i = 0; i < 3; ++i) {
        const auto up = next(f, Event::Kind::up);
        REQUIRE(up);
        const auto down = next(f, Event::Kind::down);
        REQUIRE(down);
        CHECK(*down->failure == Error::unresponsive);
        CHECK(down->at - up->at == 30s);
        CHECK(down->next_attempt);
    }
    f.peer.delay_pongs(Duration{});
    REQUIRE(next(f, Event::Kind::up));
    CHECK(next(f, Event::Kind::down).error() == Error::timed_out);
    const auto stats = f.feed.stats();
    CHECK(stats.unresponsive == 3);
    CHECK(stats.connections == 4);
    CHECK(stats.reconnects == 3);
    CHECK(stats.last_connect.total == 70ms);
    const auto log = f.feed.errors();
    REQUIRE(log.entries.size() == 1);
    CHECK(log.entries[0].count == 3);
    CHECK(f.feed.stop().clean());
}

TEST_CASE("liveness: what makes no sense is bad_options, before anything is made")
{
    Fixture f{{.ping_interval = 2s, .ping_timeout = 0s}};
    CHECK(f.feed.start(1s).error() == Error::bad_options);
    CHECK(f.peer.connect_count() == 0);
    Fixture g;
    REQUIRE(g.feed.start(1s));
    CHECK(g.feed.open<Mock>({.peer = MockPeer{}}, 1s, {.ping_interval = -1s}).error()
          == Error::bad_options);
    CHECK(g.feed
              .open<Mock>({.peer = MockPeer{}}, 1s,
                          {.rate_limit = RateLimit{.messages = 1, .per = 0s}})
              .error()
          == Error::bad_options);
}

TEST_CASE("liveness: on_idle without an idle_timeout is refused with its reason, by start and open")
{
    const Options never{.on_idle = OnIdle::drop};
    const std::string why = "the options make no sense: on_idle: without an idle_timeout the link "
                            "is never dropped";
    Fixture f{never};
    CHECK(f.feed.start(1s).error().message() == "cannot start (mock): " + why);
    CHECK(f.peer.connect_count() == 0);
    Fixture g;
    REQUIRE(g.feed.start(1s));
    CHECK(g.feed.open<Mock>({.peer = MockPeer{}}, 1s, never.link_options()).error().message()
          == "cannot open a link (mock): " + why);
    CHECK(g.feed.stop().clean());
}

TEST_CASE("liveness: `fresh` says how old the data was that had been stale")
{
    for (const bool has_data_before : {true, false}) {
        CAPTURE(has_data_before);
        Options options{.ping_interval = {}, .ping_timeout = {}, .idle_timeout = 10s};
        options.reconnect = Reconnect{};
        Fixture f{options};
        REQUIRE(f.feed.start(1s));
        if (has_data_before)
            f.peer.deliver_after(5s, "a");
        f.peer.deliver_after(100s, "b");
        CHECK(next(f, Event::Kind::stale)->data_age == 10s);
        auto fresh = next(f, Event::Kind::fresh);
        REQUIRE(fresh);
        CHECK(fresh->data_age == (has_data_before ? 95s : 100s));
        CHECK(to_string(*fresh).find(has_data_before ? "the data was 1 min 35 s old"
                                                     : "the data was 1 min 40 s old")
              != std::string::npos);
        // Two messages of one read, and another silence
        f.peer.deliver_after(20s, "c");
        f.peer.deliver_after(20s, "d");
        CHECK(next(f, Event::Kind::stale));
        CHECK(next(f, Event::Kind::fresh)->data_age == 20s);
        // On the next connection nothing is fresh that was not stale there
        CHECK(next(f, Event::Kind::stale));
        f.peer.drop();
        CHECK(next(f, Event::Kind::up));
        f.peer.deliver_after(1s, "e");
        f.peer.deliver_after(31s, "f");
        CHECK(next(f, Event::Kind::stale)->data_age == 10s);
        CHECK(next(f, Event::Kind::fresh)->data_age == 30s);
        CHECK(f.feed.stop().clean());
    }
}

} // namespace liveness_test
