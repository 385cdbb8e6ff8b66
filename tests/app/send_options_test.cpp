// What one message that is sent may ask for: a time after which it is worth nothing, a lane.
#include "support/fixture.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

namespace send_options_test {

using namespace sidecar;
using namespace std::chrono_literals;
using Words = std::vector<std::string>;

void let_pass(Feed& feed, Duration time)
{
    REQUIRE(feed.call("wait", [time](Context ctx) { return ctx.sleep_for(time); }));
}

/// A feed that is up, and whose writer is busy with "first".
struct Busy : Fixture {
    explicit Busy(Options options = {}) : Fixture{std::move(options)}
    {
        REQUIRE(feed.start(1s));
        peer.hold_writes();
        REQUIRE(feed.send("first"));
        let_pass(feed, 1ms);
    }
    void check_sum() const
    {
        const auto stats = feed.stats();
        CHECK(stats.messages_accepted
              == stats.messages_sent + stats.unsent + stats.outbox_messages);
    }
};

TEST_CASE("send with a time to live: what is not being written by then is dropped and counted")
{
    Busy f;
    REQUIRE(f.feed.send("soon", SendOptions{.expires_after = 10ms}));
    REQUIRE(f.feed.send("whenever"));
    REQUIRE(f.feed.send("later", SendOptions{.expires_after = 100ms}));
    let_pass(f.feed, 10ms);
    f.check_sum();
    f.peer.release_writes();
    CHECK(f.feed.flush(1s).error() == Error::expired); // and not before the rest is written
    CHECK(f.peer.sent() == Words{"first", "whenever", "later"});
    CHECK(f.feed.stats().unsent_late == 1);
    CHECK(f.feed.stats().unsent == 1);
    f.check_sum();
    CHECK(f.feed.stop().clean());
}

TEST_CASE("send with a time to live: all of it late, and then the sidecar is as quiet as before")
{
    Busy f;
    for (int i = 0; i < 100; ++i)
        REQUIRE(f.feed.send("late", SendOptions{.expires_after = 5ms}));
    let_pass(f.feed, 5ms);
    f.peer.release_writes();
    CHECK(f.feed.flush(1s).error() == Error::expired);
    CHECK(f.peer.sent() == Words{"first"});
    REQUIRE(f.feed.send("next"));
    REQUIRE(f.feed.flush(1s));
    CHECK(f.peer.sent() == Words{"first", "next"});
    CHECK(f.feed.stats().unsent_late == 100);
}

TEST_CASE("priority queue: overtakes what is not being written, in its own order")
{
    Busy f;
    const SendOptions control{.priority = Priority::high};
    REQUIRE(f.feed.send("a"));
    REQUIRE(f.feed.send("cancel 1", control));
    REQUIRE(f.feed.send("b"));
    REQUIRE(f.feed.send("cancel 2", control));
    f.check_sum();
    CHECK(f.feed.stats().outbox_messages == 5);
    f.peer.release_writes();
    REQUIRE(f.feed.flush(1s));
    CHECK(f.peer.sent() == Words{"first", "cancel 1", "cancel 2", "a", "b"});
    CHECK(f.feed.stats().messages_sent == 5);
    f.check_sum();
}

TEST_CASE("priority queue: wakes a writer that has nothing to do")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    let_pass(f.feed, 1ms);
    REQUIRE(f.feed.send("cancel", SendOptions{.priority = Priority::high}));
    REQUIRE(f.feed.flush(1s));
    CHECK(f.peer.sent() == Words{"cancel"});
}

TEST_CASE("priority queue: has room while the outbox is full, and a bound of its own")
{
    Busy f{{.outbox = {.bytes = 1u << 16, .messages = 2}}};
    REQUIRE(f.feed.send("a"));
    CHECK(f.feed.send("b").error() == Error::full);
    const SendOptions control{.priority = Priority::high};
    std::size_t accepted = 0;
    while (f.feed.send("c", control))
        ++accepted;
    CHECK(accepted == 64);
    CHECK(f.feed.send("c", control).error() == Error::full);
    const auto late = f.feed.send("c", SendOptions{.timeout = 1s, .priority = Priority::high});
    CHECK(late == Error::full);
    CHECK(late.error().will_retry());
    f.peer.release_writes();
    REQUIRE(f.feed.send("last", SendOptions{.timeout = 1s, .priority = Priority::high}));
    REQUIRE(f.feed.flush(1s));
    f.check_sum();
    CHECK(f.peer.sent().size() == accepted + 3);
}

TEST_CASE("priority queue: what it holds at a stop is written, or counted as unsent")
{
    Busy f;
    REQUIRE(f.feed.send("cancel", SendOptions{.priority = Priority::high}));
    SUBCASE("written")
    {
        f.peer.release_writes();
        CHECK(f.feed.stop().unsent_messages == 0);
        CHECK(f.peer.sent() == Words{"first", "cancel"});
    }
    SUBCASE("unsent")
    {
        CHECK(f.feed.stop().unsent_messages >= 1);
        CHECK(f.feed.stats().unsent >= 1);
    }
}

TEST_CASE("priority queue: a message may also be late there")
{
    Busy f;
    REQUIRE(f.feed.send("late", SendOptions{.expires_after = 5ms, .priority = Priority::high}));
    let_pass(f.feed, 5ms);
    f.peer.release_writes();
    CHECK(f.feed.flush(1s).error() == Error::expired);
    CHECK(f.peer.sent() == Words{"first"});
    CHECK(f.feed.stats().unsent_late == 1);
    f.check_sum();
}

} // namespace send_options_test
