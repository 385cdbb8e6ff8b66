// Scripts of a MockPeer: what they do, and how they fail.
#include "support/each_second.hpp"
#include "support/fixture.hpp"
#include "support/next_text.hpp"

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace mock_script_test {

using namespace sidecar;
using namespace std::chrono_literals;

bool is_beat(const MessageView& message) { return message.text() == "beat"; }

Options coming_back()
{
    return {.reconnect = each_second({.at_start = true}),
            .on_connected = [](Context, Session& session) -> Task<> {
                co_await session.send("login");
                const auto answer = co_await session.receive();
                CHECK(answer.text() == "welcome");
            }};
}

TEST_CASE("script: a conversation over several connections, with its times")
{
    Fixture f{coming_back()};
    int calls = 0;
    f.peer.play(MockScript{}
                    .refuse(2)
                    .accept_after(20ms)
                    .expect("login", 1s)
                    .deliver_after(5ms, "welcome")
                    .expect_prefix("sub ", 10s)
                    .stream(3, 10ms, [](std::size_t i) { return fmt::format("tick {}", i); })
                    .wait(100ms)
                    .reset()
                    .refuse(1, {Error::handshake_refused, {.http_status = 503}})
                    .expect("login")
                    .deliver("welcome")
                    .run("count", [&calls](MockConnection&) { ++calls; })
                    .close(1013, "later")
                    .accept()
                    .expect_if(
                        "login", [](const auto& m) { return m.text() == "login"; }, 0s)
                    .deliver("welcome")
                    .expect_close(1001, 1h));
    REQUIRE(f.feed.start(1h));
    CHECK(f.feed.now().time_since_epoch() == 2025ms);
    REQUIRE(f.feed.send("sub a"));
    for (const auto* tick : {"tick 0", "tick 1", "tick 2"})
        CHECK(text(f.feed.receive(1s)) == tick);
    CHECK(f.feed.now().time_since_epoch() == 2045ms);
    const auto reset = f.feed.receive(1h).error();
    CHECK(reset.cause() == boost::asio::error::connection_reset);
    CHECK(f.feed.now().time_since_epoch() == 2145ms);
    CHECK(f.feed.receive(1h).error().close_code() == 1013);
    CHECK(f.feed.receive(5s).error() == Error::timed_out);
    CHECK(f.feed.stop({.code = 1001}).clean());
    CHECK(f.peer.verify());
    CHECK(calls == 1);
    CHECK(f.peer.connect_count() == 6);
}

struct Row {
    const char* name;
    MockScript script;
    std::function<void(Feed&, MockPeer&)> scenario;
    const char* why; ///< of the failure; null: it is met
};

void send(Feed& feed, std::initializer_list<const char*> texts)
{
    for (const auto* each : texts)
        (void)feed.send(each);
    (void)feed.flush(100ms);
}

std::vector<Row> rows()
{
    const std::byte bytes[] = {std::byte{'b'}, std::byte{1}};
    return {
        {"met", MockScript{}.expect("a").expect("b"),
         [](Feed& f, auto&) {
             send(f, {"a", "b"});
         },
         nullptr},
        {"another message", MockScript{}.accept().expect("login", 1s).drop(),
         [](Feed& f, auto&) { send(f, {"logni"}); },
         "step 2 of 3, expect \"login\" within 1 s: \"logni\" came at 0 s"},
        {"text for binary", MockScript{}.expect(std::span{bytes}),
         [](Feed& f, auto&) { send(f, {"b\1"}); },
         "step 1 of 1, expect binary \"b.\": \"b.\" came at 0 s"},
        {"binary", MockScript{}.expect(std::span{bytes}),
         [](Feed& f, auto&) {
             (void)f.send(std::as_bytes(std::span{"b\1", 2}));
         },
         nullptr},
        {"a long message", MockScript{}.expect_prefix("x"),
         [](Feed& f, auto&) { (void)f.send(std::string(100, 'y')); },
         "step 1 of 1, expect prefix \"x\": "
         "\"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy...\" (100 bytes) came at "
         "0 "
         "s"},
        {"nothing in time", MockScript{}.accept().wait(1s).expect("a", 250ms),
         [](Feed& f, auto&) { (void)f.sleep_for(1h); },
         "step 3 of 3, expect \"a\" within 0.25 s: nothing came at 1.25 s"},
        {"at the last moment", MockScript{}.accept().wait(1s).expect("a", 250ms),
         [](Feed& f, auto&) {
             (void)f.sleep_for(1250ms);
             send(f, {"a"});
         },
         nullptr},
        {"early messages wait for their step",
         MockScript{}.expect("a").deliver_after(1s, "x").expect("b").wait(1s).expect("c", 0s),
         [](Feed& f, auto&) {
             send(f, {"a", "b", "c"});
             (void)f.sleep_for(5s);
         },
         nullptr},
        {"a message too many", MockScript{}.expect("a"),
         [](Feed& f, auto&) {
             send(f, {"a", "b"});
         },
         "behind the last of 1 steps: \"b\" came at 0 s"},
        {"no step takes it before the drop", MockScript{}.expect("a").wait(1s).drop(),
         [](Feed& f, auto&) {
             send(f, {"a", "b"});
             (void)f.sleep_for(5s);
         },
         "step 3 of 3, drop: \"b\" came, and no step took it at 1 s"},
        {"a connect too many", MockScript{}.accept().wait(1s).drop(),
         [](Feed& f, auto&) { (void)f.sleep_for(5s); },
         "behind the last of 3 steps: connect 2 came at 2 s"},
        {"steps left", MockScript{}.expect("a").expect("b").deliver("c"),
         [](Feed& f, auto&) { send(f, {"a"}); },
         "step 2 of 3, expect \"b\": not done, begun at 0 s"},
        {"half a stream",
         MockScript{}.stream(10, 1s, [](std::size_t i) { return std::to_string(i); }),
         [](Feed& f, auto&) { (void)f.sleep_for(3500ms); },
         "step 1 of 1, stream 10 messages, one each 1 s (4 of 10 done): not done, begun at 0 s"},
        {"the sidecar closes", MockScript{}.accept().wait(1s).expect("b"),
         [](Feed& f, auto&) {
             (void)f.sleep_for(2s);
             (void)f.stop();
         },
         "step 3 of 3, expect \"b\": the sidecar closed with 1000 at 2 s"},
        {"another code", MockScript{}.expect_close(1001), [](Feed& f, auto&) { (void)f.stop(); },
         "step 1 of 1, expect a close with 1001: the sidecar closed with 1000 at 0 s"},
        {"a message before the close", MockScript{}.expect_close(),
         [](Feed& f, auto&) { send(f, {"a"}); }, "step 1 of 1, expect a close: \"a\" came at 0 s"},
        {"no close in time", MockScript{}.expect_close(0, 1s),
         [](Feed& f, auto&) { (void)f.sleep_for(5s); },
         "step 1 of 1, expect a close within 1 s: nothing came at 1 s"},
        {"the test drops it", MockScript{}.expect("a"),
         [](Feed& f, MockPeer& peer) {
             peer.drop();
             (void)f.sleep_for(100ms);
         },
         "step 1 of 1, expect \"a\": the connection ended at 0 s"},
        {"a silent peer", MockScript{}.go_silent().expect_end(20s).expect("a"),
         [](Feed& f, auto&) {
             (void)f.sleep_for(17s);
             send(f, {"a"});
         },
         nullptr},
        {"it is patient", MockScript{}.go_silent().expect_end(10s),
         [](Feed& f, auto&) { (void)f.sleep_for(17s); },
         "step 2 of 2, expect the connection's end within 10 s: nothing came at 10 s"},
        {"given up", MockScript{}.go_silent().expect("a"),
         [](Feed& f, auto&) { (void)f.sleep_for(17s); },
         "step 2 of 2, expect \"a\": the sidecar gave the connection up at 15 s"},
        {"heartbeats are ignored",
         MockScript{}.accept().wait(1s).ignore("heartbeats", is_beat).expect("a").expect("b"),
         [](Feed& f, auto&) {
             send(f, {"beat", "a", "beat"});
             (void)f.sleep_for(2s);
             send(f, {"beat", "b"});
         },
         nullptr},
        {"the rest is ignored", MockScript{}.expect("a").drop().ignore_rest(),
         [](Feed& f, auto&) {
             send(f, {"a"});
             (void)f.sleep_for(5s);
             send(f, {"b"});
         },
         nullptr},
        {"reads nothing for a while",
         MockScript{}.hold_writes().wait(3s).release_writes().expect("a"),
         [](Feed& f, auto&) {
             send(f, {"a"});
             CHECK(f.flush(1h));
             CHECK(f.now().time_since_epoch() == 3s);
         },
         nullptr},
        {"never answers the close", MockScript{}.ignore_close().expect_close(),
         [](Feed& f, auto&) { CHECK_FALSE(f.stop().clean()); }, nullptr},
        {"no step at all", MockScript{}, [](Feed&, auto&) {},
         "behind the last of 0 steps: connect 1 came at 0 s"},
    };
}

TEST_CASE("script: each way to meet it or to fail, with the step, what came, and the trace")
{
    for (auto& row : rows()) {
        const std::string name = row.name;
        CAPTURE(name);
        Fixture f{{.reconnect = each_second(), .ping_interval = 10s, .ping_timeout = 5s}};
        f.peer.play(row.script);
        (void)f.feed.start(1s);
        row.scenario(f.feed, f.peer);
        const auto verified = f.peer.verify();
        if (!row.why) {
            CHECK(verified);
            continue;
        }
        REQUIRE_FALSE(verified);
        CHECK(verified.error() == Error::script_failed);
        const auto& text = verified.error().explanation();
        CHECK(text.substr(0, text.find('\n')) == std::string{row.why});
        CHECK(text.find("\n  0.000 connect") != text.npos);
        CHECK(f.peer.verify().error().explanation() == text); // and again
    }
}

TEST_CASE("script: its failure ends the connection and the link, and a call has the text")
{
    Fixture f{{.reconnect = each_second()}};
    f.peer.play(MockScript{}.expect("a"));
    REQUIRE(f.feed.start(1s));
    REQUIRE(f.feed.send("b"));
    const auto why = f.feed.receive(1h).error();
    CHECK(why == Error::script_failed);
    CHECK(why.explanation() == "step 1 of 1, expect \"a\": \"b\" came at 0 s");
    CHECK_FALSE(why.will_retry());
    f.feed.stop();
    CHECK(f.feed.start(1s).error().explanation() == why.explanation());
    f.peer.play(MockScript{}.expect("c")); // a new one begins anew
    REQUIRE(f.feed.start(1s));
    REQUIRE(f.feed.send("c"));
    REQUIRE(f.feed.flush(1s));
    CHECK(f.peer.verify());
}

TEST_CASE("script: verify in the middle changes nothing, also in a function of the script")
{
    Fixture f;
    CHECK(f.peer.verify()); // without a script
    std::vector<bool> verified;
    f.peer.play(MockScript{}
                    .expect_if("a",
                               [&verified, &peer = f.peer](const MessageView& message) {
                                   verified.push_back(peer.verify().has_value());
                                   return message.text() == "a";
                               })
                    .run("verify", [&verified](MockConnection& connection) {
                        verified.push_back(connection.peer().verify().has_value());
                    }));
    CHECK(f.peer.verify().error().explanation().starts_with(
        "step 1 of 2, expect a: not done, there was no connect"));
    REQUIRE(f.feed.start(1s));
    CHECK(f.peer.verify().error().explanation().starts_with(
        "step 1 of 2, expect a: not done, begun at 0 s"));
    REQUIRE(f.feed.send("a"));
    CHECK(f.peer.verify());
    CHECK(verified == std::vector{false, false});
}

TEST_CASE("script: begins at the present connection, and hooks are called behind it")
{
    Fixture f;
    f.peer.on_message([](MockConnection& connection, const MessageView&) {
        connection.deliver("from the hook");
    });
    REQUIRE(f.feed.start(1s));
    REQUIRE(f.feed.send("before"));
    CHECK(text(f.feed.receive(1s)) == "from the hook");
    f.peer.play(MockScript{}.deliver_after(3s, "x").expect("a").deliver("from the script"));
    CHECK(text(f.feed.receive(1h)) == "x");
    CHECK(f.feed.now().time_since_epoch() == 3s);
    REQUIRE(f.feed.send("a"));
    CHECK(text(f.feed.receive(1s)) == "from the script");
    CHECK(text(f.feed.receive(1s)) == "from the hook");
    CHECK(f.peer.verify());
}

TEST_CASE("script: a function of the script that throws fails it, and its text says so")
{
    const auto throws = [](const auto&...) -> bool { throw std::runtime_error{"its own"}; };
    const MockScript scripts[] = {
        MockScript{}.expect("a").run("throws", [&](MockConnection&) { (void)throws(); }),
        MockScript{}.expect_if("an order", throws),
        MockScript{}.ignore("heartbeats", throws).expect("b"),
        MockScript{}.expect("a").stream(3, 1s,
                                        [&](std::size_t) {
                                            (void)throws();
                                            return std::string{};
                                        }),
    };
    for (const auto& script : scripts) {
        Fixture f;
        f.peer.play(script);
        REQUIRE(f.feed.start(1s));
        REQUIRE(f.feed.send("a"));
        const auto failed = f.feed.receive(1h);
        REQUIRE(failed == Error::script_failed);
        CHECK(failed.error().explanation().find("its own") != std::string::npos);
        CHECK(f.feed.stop().joined);
        CHECK(f.peer.verify().error().message().find("its own") != std::string::npos);
    }
}

TEST_CASE("script: a step that can never be met is refused where it is added")
{
    CHECK_THROWS_AS(MockScript{}.ignore_rest().expect("never"), Exception);
    CHECK_THROWS_AS(MockScript{}.expect_if("an order", {}), Exception);
    CHECK_THROWS_AS(MockScript{}.ignore("an order", {}), Exception);
    CHECK_THROWS_AS(MockScript{}.stream(1, 1s, {}), Exception);
}

TEST_CASE("script: peer, feed and script may go in the middle of it, in any order")
{
    const auto held = std::make_shared<int>();
    const auto script = [&] {
        return MockScript{}.expect("a").run("nothing", [held](MockConnection&) {}).expect("b");
    };
    {
        MockPeer peer;
        Sidecar<Mock> feed{{.peer = peer}, silent_options()};
        peer.play(script());
        REQUIRE(feed.start(1s));
        REQUIRE(feed.send("a"));
        REQUIRE(feed.flush(1s));
    }
    {
        auto peer = std::make_unique<MockPeer>();
        Sidecar<Mock> feed{{.peer = *peer}, silent_options()};
        peer->play(script());
        peer.reset();
        REQUIRE(feed.start(1s));
        REQUIRE(feed.send("b"));
        CHECK(feed.receive(1s).error() == Error::script_failed);
    }
    CHECK(held.use_count() == 1);
}

TEST_CASE("script: threads play and verify while the loop runs")
{
    Fixture f{{.reconnect = Reconnect{.window = 1ms, .max_window = 1ms}}};
    REQUIRE(f.feed.start(1s));
    std::atomic<bool> is_over{false};
    std::thread player{[&] {
        while (!is_over) {
            f.peer.play(MockScript{}.expect("x").deliver("y").expect("x").drop().ignore_rest());
            (void)f.peer.verify();
        }
    }};
    std::thread verifier{[&] {
        while (!is_over)
            (void)f.peer.verify();
    }};
    for (int i = 0; i < 200; ++i) {
        (void)f.feed.send("x");
        (void)f.feed.receive(1ms);
    }
    is_over = true;
    player.join();
    verifier.join();
    CHECK(f.feed.stop().joined);
}

} // namespace mock_script_test
