// What an application sees of a recording that is played.
#include "recorded.hpp"
#include "support/minimal_transport.hpp"
#include "support/raw_peer.hpp"

#include <sidecar/transports/tcp.hpp>

#include <algorithm>
#include <chrono>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

struct Player {
    explicit Player(VirtualReplay::Options options, std::optional<Reconnect> reconnect = steady())
        : feed{std::move(options), silenced({.reconnect = std::move(reconnect)})}
    {
    }
    Sidecar<VirtualReplay> feed;
};

Duration elapsed(const std::function<void()>& run)
{
    const auto began = std::chrono::steady_clock::now();
    run();
    return std::chrono::steady_clock::now() - began;
}

/// Records a program that asks twice and is answered; the second answer is `second`.
void record_dialogue(const std::string& file)
{
    MockPeer peer;
    Sidecar<RecordedMock> feed{{.transport = {.peer = peer}, .file = file}, silent_options()};
    REQUIRE(feed.start(1s));
    for (const auto* number : {"one", "two"}) {
        REQUIRE(feed.send(fmt::format("ask {}", number)));
        REQUIRE(feed.flush(1s));
        peer.deliver_after(1s, fmt::format("answer {}", number));
        REQUIRE(feed.receive(10s).has_value());
    }
    peer.close(1000, "");
    CHECK(feed.receive(10s) == Error::closed_by_peer);
}

} // namespace

TEST_CASE("replay: an application sees the same events at the same times, over all connections")
{
    const TemporaryFile file;
    const auto recorded = record_everything(file.name());
    Player player{{.file = file.name()}};
    REQUIRE(player.feed.start(10s));
    CHECK(player.feed.link()->connection_info().peer == "mock");
    CHECK(player.feed.send("what the application sends is discarded"));
    auto played = events_of(player.feed);
    CHECK(player.feed.stop().joined);
    CHECK(lines(played) == lines(recorded));
}

TEST_CASE("replay: is played n times as fast, or at once, in the same order")
{
    const TemporaryFile file;
    (void)record_everything(file.name());
    const auto without_times = [](std::vector<std::string> events) {
        for (auto& event : events) {
            event = event.substr(event.find(' ') + 1);
            event = event.substr(0, event.find("; the next attempt")); // it has a time too
        }
        return events;
    };
    Player normal{{.file = file.name()}, steady(1ns)};
    REQUIRE(normal.feed.start(10s));
    const auto expected = without_times(events_of(normal.feed));
    CHECK(seconds(normal.feed.now().time_since_epoch())
          >= seconds(9540ms)); // gaps are kept, though this link comes back at once
    for (const auto& [speed, least, most] :
         {std::tuple{10.0, 954ms, 1000ms}, {1e-3, 9540s, 10000s}, {0.0, 0ms, 1ms}}) {
        const double factor = speed; // clang 14 captures no binding
        CAPTURE(factor);
        auto reconnect = steady(1ns);
        reconnect.connect_timeout = Duration::max();
        Player player{{.file = file.name(), .speed = speed}, reconnect};
        REQUIRE(player.feed.start(1h));
        auto events = without_times(events_of(player.feed));
        CHECK(lines(events) == lines(expected));
        CHECK(seconds(player.feed.now().time_since_epoch()) >= seconds(least));
        CHECK(seconds(player.feed.now().time_since_epoch()) <= seconds(most));
    }
}

TEST_CASE("replay: shares a clock with a mock")
{
    const TemporaryFile file;
    (void)record_everything(file.name());
    const MockClock clock;
    MockPeer peer;
    Sidecar<Mock> mock{{.peer = peer, .clock = clock}, silent_options()};
    Sidecar<VirtualReplay> first{{.file = file.name(), .clock = clock}, silent_options()};
    REQUIRE(mock.start(1s));
    clock.advance(1h);
    REQUIRE(first.start(1s)); // its time 0 is now
    clock.advance(500ms);
    CHECK(first.receive({})->text() == "at once");
    CHECK(first.receive({}) == Error::timed_out);
    clock.advance(500ms);
    CHECK(first.receive({})->text() == "");
    // A stop and a start on a clock that goes on
    (void)first.stop();
    clock.advance(1h);
    CHECK(first.start(10s) == Error::connect_failed); // the refused attempt, after its gap
    CHECK(seconds(clock.now().time_since_epoch()) == doctest::Approx(7200 + 1.02 + 1.02));
    CHECK(mock.state() == State::connected);
}

TEST_CASE("replay: runs on real time")
{
    const TemporaryFile file;
    record_dialogue(file.name());
    for (const auto& [speed, least] : {std::pair{10.0, 200ms}, {0.0, 0ms}}) {
        Sidecar<Replay> feed{{.file = file.name(), .speed = speed}, silent_options()};
        const auto time = elapsed([&] {
            REQUIRE(feed.start(10s));
            CHECK(feed.receive(10s)->text() == "answer one");
            CHECK(feed.receive(10s)->text() == "answer two");
            CHECK(feed.receive(10s) == Error::closed_by_peer);
        });
        CHECK(time >= least);
        CHECK(time < 9s);
        CHECK(feed.stop().joined);
    }
}

TEST_CASE("replay: what was recorded on TCP, and a recording of a replay is the same again")
{
    const TemporaryFile first, second;
    RawPeer peer{[](RawConnection& c) {
        c.send("one\ntwo\n");
        c.half_close();
        c.wait_for_end();
    }};
    {
        Sidecar<Recording<Tcp<Lines>>> feed{
            {.transport = {.host = "127.0.0.1", .port = peer.port()}, .file = first.name()},
            silent_options()};
        REQUIRE(feed.start(10s));
        (void)events_of(feed);
    }
    {
        Sidecar<Recording<Replay>> feed{
            {.transport = {.file = first.name(), .speed = 0}, .file = second.name()},
            silent_options()};
        REQUIRE(feed.start(10s));
        const auto events = events_of(feed);
        REQUIRE(events.size() >= 2);
        CHECK(events.back().find("cannot read") != std::string::npos);
    }
    const auto ends = [](std::vector<std::string> texts) {
        for (auto& text : texts)
            text = text.substr(text.find(' '));
        texts.erase(texts.begin()); // names the file that was played
        return texts;
    };
    CHECK(lines(ends(entries_of(first.name()).texts))
          == lines(ends(entries_of(second.name()).texts)));
}

TEST_CASE("replay: behind the last entry it ends for good, whatever the link's options say")
{
    const TemporaryFile file;
    record_dialogue(file.name());
    Player player{{.file = file.name()}};
    REQUIRE(player.feed.start(1s));
    const auto events = events_of(player.feed);
    CHECK(events.back().ends_with(
        "the peer closed the connection, close code 1000: the recording is over"));
    // New options begin again; copies of the old ones do not
    (void)player.feed.stop();
    CHECK(player.feed.start(1s) == Error::closed_by_peer);
    CHECK(player.feed.start({.file = file.name()}, 1s));
}

TEST_CASE("replay: a second start goes on with the next connection, after the recorded gap")
{
    const TemporaryFile file;
    MockPeer peer;
    {
        Sidecar<RecordedMock> feed{{.transport = {.peer = peer}, .file = file.name()},
                                   silenced({.reconnect = steady(30s)})};
        peer.deliver("first");
        REQUIRE(feed.start(1s));
        CHECK(feed.receive(1s).has_value());
        (void)feed.sleep_for(10min);
        peer.drop();
        CHECK(feed.receive(1s) == Error::disconnected);
        peer.deliver("second");
        CHECK(feed.receive(1min).has_value());
        (void)feed.stop();
    }
    Player player{{.file = file.name()}, std::nullopt};
    REQUIRE(player.feed.start(1s));
    CHECK(player.feed.receive(1s)->text() == "first");
    CHECK(player.feed.stop().clean());                 // long before its end
    CHECK(player.feed.start(10s) == Error::timed_out); // it is 30 s away, and stays the next one
    REQUIRE(player.feed.start(1min));
    CHECK(player.feed.receive(1s)->text() == "second");
    const auto end = player.feed.receive(1s);
    CHECK(end.error().message()
          == fmt::format("cannot read ({}): the peer closed the connection, close code 1000: the "
                         "recorded program closed here",
                         file.name()));
}

TEST_CASE("replay: a damaged recording is played up to the damage, and not tried again")
{
    const TemporaryFile file;
    (void)record_everything(file.name());
    std::filesystem::resize_file(file.name(), file.content().size() - 1);
    Player player{{.file = file.name()}};
    REQUIRE(player.feed.start(1s));
    const auto events = events_of(player.feed);
    REQUIRE(events.size() > 8);
    CHECK(std::any_of(events.begin(), events.end(),
                      [](auto& text) { return text.ends_with("\"close\""); }));
    CHECK(events.back().find("the file is truncated at offset ") != std::string::npos);
}

TEST_CASE("replay: options that make no sense are refused at the start")
{
    const TemporaryFile file;
    record_dialogue(file.name());
    const auto start = [](VirtualReplay::Options options) {
        Player player{std::move(options)};
        return player.feed.start(1s);
    };
    CHECK(start({.file = "/nowhere"}) == Error::bad_options);
    CHECK(start({.file = "/nowhere"}).error().message()
          == "cannot play the recording (/nowhere): the options make no sense: No such file or "
             "directory");
    CHECK(start({.file = "/tmp"}) == Error::bad_options);
    for (const double speed : {-1.0, 1 / 0.0, 0 / 0.0})
        CHECK(start({.file = file.name(), .speed = speed}) == Error::bad_options);
    CHECK(Replay::check({.file = file.name(), .clock = MockClock{}}) == Error::bad_options);
    const VirtualReplay::Options options{.file = file.name()};
    Player player{options};
    REQUIRE(player.feed.start(1s));
    CHECK(player.feed.open<VirtualReplay>(options, 1s) == Error::bad_options);
    CHECK(player.feed.open<VirtualReplay>({.file = file.name()}, 1s)); // a place of its own
}

TEST_CASE("replay: answers pings, so that a link with liveness stays up")
{
    const TemporaryFile file;
    (void)record_everything(file.name());
    Sidecar<VirtualReplay> feed{{.file = file.name(), .speed = 0.001},
                                silenced({.ping_interval = 10s, .ping_timeout = 1s})};
    REQUIRE(feed.start(1h));
    CHECK(feed.receive(1s)->text() == "at once");
    CHECK(feed.receive(1h)->text() == ""); // after 1000 s
    CHECK(feed.stats().round_trips.count > 50);
}

TEST_CASE("replay: goes on after entries that are missing, and logs them")
{
    const TemporaryFile file;
    {
        MockPeer peer;
        Sidecar<RecordedMock> feed{
            {.transport = {.peer = peer}, .file = file.name(), .buffer_bytes = 1},
            silent_options()};
        for (int i = 0; i < 1000; ++i)
            peer.deliver("a message that is larger than the buffer");
        REQUIRE(feed.start(1s));
        for (int i = 0; i < 1000; ++i)
            REQUIRE(feed.receive(10s).has_value());
        (void)feed.stop();
    }
    std::string log;
    Sidecar<VirtualReplay> feed{{.file = file.name()},
                                {.log = [&](LogLevel, std::string_view text) { log += text; }}};
    REQUIRE(feed.start(1s));
    (void)events_of(feed);
    (void)feed.stop();
    CHECK(log.find("entries are missing here in the recording") != std::string::npos);
}

TEST_CASE("replay: a Retry-After is a part of the recorded gap, and as much faster")
{
    struct Busy : MinimalTransport {
        using Clock = VirtualClock;
        using MinimalTransport::MinimalTransport;
        Task<> connect(Context)
        {
            throw Exception{Failure{Error::handshake_refused, {.retry_after = 100s}}};
            co_return;
        }
    };
    const TemporaryFile file;
    auto reconnect = steady();
    reconnect.at_start = true;
    {
        Sidecar<Recording<Busy>> feed{{.file = file.name()}, silenced({.reconnect = reconnect})};
        CHECK(feed.start(1h) == Error::handshake_refused);
    }
    for (const auto& [speed, least, most] :
         {std::tuple{1.0, 303.0, 304.0}, {10.0, 30.3, 34.0}, {0.0, 0.0, 4.0}}) {
        const double factor = speed; // clang 14 captures no binding
        CAPTURE(factor);
        Player player{{.file = file.name(), .speed = speed}, reconnect};
        CHECK(player.feed.start(1h) == Error::handshake_refused);
        (void)player.feed.stop();
        const auto now = seconds(player.feed.now().time_since_epoch());
        CHECK(now >= least);
        CHECK(now <= most);
    }
}

TEST_CASE(
    "replay: with check_sent an answer comes only after the question, however fast it is played")
{
    const TemporaryFile file;
    record_dialogue(file.name());
    Player player{{.file = file.name(), .speed = 0, .check_sent = true}};
    REQUIRE(player.feed.start(1s));
    CHECK(player.feed.receive(5s) == Error::timed_out);
    REQUIRE(player.feed.send("ask one"));
    CHECK(player.feed.receive(1s)->text() == "answer one");
    CHECK(player.feed.receive(5s) == Error::timed_out);
    REQUIRE(player.feed.send("ask two"));
    CHECK(player.feed.receive(1s)->text() == "answer two");
    CHECK(player.feed.receive(1s).error().close_code() == 1000);
}

TEST_CASE("replay: with check_sent a difference ends the link, and says what was expected")
{
    struct Difference {
        std::vector<std::string> sent;
        const char* why;
    };
    const Difference cases[] = {
        {{"ask one", "ask twice"}, "message 2 is \"ask twice\"; recorded is \"ask two\""},
        {{"\n"}, "message 1 is \"\\x0a\"; recorded is \"ask one\""},
        {{std::string(100, 'x')},
         "message 1 is \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"... (100 "
         "bytes); recorded is \"ask one\""},
        {{"ask one", "ask two", "ask three"},
         "message 3 is \"ask three\"; the recorded program sent no further one on this connection"},
        {{"ask one"}, "nothing was sent in time; recorded is message 2, \"ask two\""},
        {{}, "nothing was sent in time; recorded is message 1, \"ask one\""},
    };
    const TemporaryFile file;
    record_dialogue(file.name());
    for (const auto& one : cases) {
        CAPTURE(one.why);
        Player player{{.file = file.name(), .check_sent = true}, std::nullopt};
        REQUIRE(player.feed.start(1s));
        for (const auto& text : one.sent)
            CHECK(player.feed.send(text));
        const auto events = events_of(player.feed);
        CHECK(events.back()
              == fmt::format("cannot send ({}): the peer broke the protocol: {}", file.name(),
                             one.why));
    }
    // Text and bytes are not the same
    Player player{{.file = file.name(), .check_sent = true}, std::nullopt};
    REQUIRE(player.feed.start(1s));
    CHECK(player.feed.send(std::as_bytes(std::span{"ask one", 7})));
    CHECK(events_of(player.feed).back().find("message 1 is binary \"ask one\"")
          != std::string::npos);
}

TEST_CASE("replay: with check_sent each connection has its own sends")
{
    const TemporaryFile file;
    for (int i = 0; i < 2; ++i)
        record_dialogue(file.name());
    Player player{{.file = file.name(), .speed = 0, .check_sent = true}};
    REQUIRE(player.feed.start(1s));
    int connections = 0;
    for (;;) {
        const auto event = player.feed.next_event(1min);
        if (!event) {
            CHECK(event.error().explanation() == "the recording is over");
            break;
        }
        if (event->kind == Event::Kind::up) {
            ++connections;
            CHECK(player.feed.send("ask one"));
            CHECK(player.feed.send("ask two"));
        }
    }
    CHECK(connections == 2);
}
