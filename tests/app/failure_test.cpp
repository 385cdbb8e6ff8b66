// Failures as a program uses them: its loop, a switch, comparisons, and the list of errors.
#include "support/each_second.hpp"
#include "support/fixture.hpp"

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace failure_test {

using namespace sidecar;
using namespace std::chrono_literals;
using Texts = std::vector<std::string>;
using Kind = Event::Kind;

const error_code reset = boost::asio::error::connection_reset;

/// The outcome of a loop: the messages, the failures after which it went on, and the last one.
struct Ending {
    Texts messages, outages;
    Failure last;
};

/// The loop of README.
Ending receive_all(Feed& feed)
{
    Ending ending;
    for (;;) {
        if (auto message = feed.receive(1s)) {
            ending.messages.emplace_back(message->text());
        } else if (!message.error().will_retry()) {
            ending.last = message.error();
            return ending;
        } else if (message.error() != Error::timed_out) {
            ending.outages.push_back(message.error().code().message());
        }
    }
}

/// The same with poll(); the mock's time passes in call().
Ending poll_all(Feed& feed)
{
    Ending ending;
    for (;;) {
        const auto taken = feed.poll(
            [&](const MessageView& message) { ending.messages.emplace_back(message.text()); });
        if (!taken && !taken.error().will_retry()) {
            ending.last = taken.error();
            return ending;
        }
        if (!taken)
            ending.outages.push_back(taken.error().code().message());
        else if (*taken == 0)
            (void)feed.call("pause", [](Context ctx) { return ctx.sleep_for(10ms); });
    }
}

/// The same with next_event().
Ending take_all(Feed& feed)
{
    Ending ending;
    for (;;) {
        const auto event = feed.next_event(1s);
        if (!event && event.error().will_retry())
            continue;
        if (!event || event->kind == Kind::stopped) {
            ending.last = event ? Failure{Error::stopped} : event.error();
            return ending;
        }
        if (event->kind == Kind::message)
            ending.messages.emplace_back(event->message.text());
        else if (event->kind == Kind::gap)
            ending.outages.push_back(make_error_code(Error::gap).message());
        else if (event->kind == Kind::down
                 || (event->kind == Kind::retry && !event->next_attempt)) {
            if (!event->failure->will_retry()) {
                ending.last = *event->failure;
                return ending;
            }
            ending.outages.push_back(event->failure->code().message());
        }
    }
}

constexpr Ending (*loops[])(Feed&) = {receive_all, poll_all, take_all};

/// Runs the script on the loop's thread, so that its times are exact.
void script(Feed& feed, std::function<Task<>(Context)> run)
{
    REQUIRE(feed.spawn("the test's script", std::move(run)));
}

const std::string broken = make_error_code(Error::disconnected).message();
const std::string missing = make_error_code(Error::gap).message();

TEST_CASE("loop: silence does not end it, the link's end does, without reconnecting")
{
    for (const auto loop : loops) {
        Fixture f;
        REQUIRE(f.feed.start(1s));
        f.peer.deliver("a");
        script(f.feed, [peer = f.peer](Context ctx) mutable -> Task<> {
            co_await ctx.sleep_for(10s);
            peer.deliver("b");
            co_await ctx.sleep_for(10s);
            peer.deliver("c");
            peer.drop();
        });
        const auto ending = loop(f.feed);
        CHECK(ending.messages == Texts{"a", "b", "c"});
        CHECK(ending.outages.empty());
        CHECK(ending.last == Error::disconnected);
        CHECK(ending.last.link() == LinkId{});
        // And again, for a second thread or a loop that did not end
        CHECK_FALSE(f.feed.receive(1s).error().will_retry());
        CHECK_FALSE(f.feed.poll([](const MessageView&) {}).error().will_retry());
        CHECK_FALSE(f.feed.next_event(1s).error().will_retry());
    }
}

TEST_CASE("loop: an outage does not end it, if the link reconnects")
{
    for (const auto loop : loops) {
        Fixture f{{.reconnect = each_second()}};
        REQUIRE(f.feed.start(1s));
        f.peer.deliver("a");
        script(f.feed, [peer = f.peer, &f](Context ctx) mutable -> Task<> {
            co_await ctx.sleep_for(3s);
            peer.refuse_connect(reset);
            peer.drop();
            co_await ctx.sleep_for(20s); // attempts fail
            peer.allow_connect();
            co_await ctx.sleep_for(2s);
            peer.deliver("b");
            peer.drop();
            co_await ctx.sleep_for(2s);
            peer.deliver("c");
            co_await ctx.sleep_for(2s);
            f.feed.request_stop();
        });
        const auto ending = loop(f.feed);
        CHECK(ending.messages == Texts{"a", "b", "c"});
        CHECK(ending.outages == Texts{broken, broken});
        CHECK(ending.last == Error::stopped);
        CHECK(ending.last.link() == std::nullopt);
    }
}

TEST_CASE("loop: the end of the last attempt ends it, also if that timed out")
{
    for (const auto loop : loops) {
        Fixture f{{.reconnect = each_second({.max_attempts = 3, .connect_timeout = 1s})}};
        REQUIRE(f.feed.start(1s));
        script(f.feed, [peer = f.peer](Context ctx) mutable -> Task<> {
            co_await ctx.sleep_for(3s);
            peer.delay_connect(Duration::max());
            peer.drop();
        });
        const auto ending = loop(f.feed);
        CHECK(ending.outages == Texts{broken});
        // An event says how the attempt failed; a call does not say what it says after a silence
        CHECK(ending.last == (loop == take_all ? Error::timed_out : Error::connect_failed));
        CHECK(ending.last.attempted() == "connect");
        CHECK_FALSE(f.feed.receive(1h).error().will_retry()); // at once
    }
}

TEST_CASE("loop: a gap does not end it")
{
    for (const auto loop : loops) {
        Fixture f{{.overflow = {.policy = OverflowPolicy::drop_oldest, .queue_messages = 2}}};
        REQUIRE(f.feed.start(1s));
        for (const auto* text : {"a", "b", "c"})
            f.peer.deliver(text);
        f.peer.drop();
        (void)f.feed.call("wait", [](Context ctx) { return ctx.sleep_for(1s); });
        const auto ending = loop(f.feed);
        CHECK(ending.messages == Texts{"b", "c"});
        CHECK(ending.outages == Texts{missing});
        CHECK(ending.last == Error::disconnected);
    }
    Fixture f{{.overflow = {.policy = OverflowPolicy::drop_newest, .queue_messages = 1}}};
    REQUIRE(f.feed.start(1s));
    f.peer.deliver("a");
    f.peer.deliver("b");
    (void)f.feed.call("wait", [](Context ctx) { return ctx.sleep_for(1s); });
    CHECK(f.feed.receive(1s));
    const auto gap = f.feed.receive(1s);
    CHECK(gap == Error::gap);
    CHECK(gap.error().will_retry());
    CHECK(gap.error().link() == LinkId{});
}

TEST_CASE("loop: the end of one link does not end it while another is up or tries")
{
    for (const auto loop : loops) {
        Fixture f;
        MockPeer other;
        REQUIRE(f.feed.start(1s));
        REQUIRE(f.feed.open<Mock>({.peer = other}, 1s));
        script(f.feed, [peer = f.peer, other](Context ctx) mutable -> Task<> {
            peer.deliver("a");
            peer.drop();
            co_await ctx.sleep_for(3s);
            other.deliver("b");
            other.drop();
        });
        const auto ending = loop(f.feed);
        CHECK(ending.messages == Texts{"a", "b"});
        CHECK(ending.outages == Texts{broken});
        CHECK(ending.last == Error::disconnected);
        CHECK(ending.last.link() == LinkId{1});
    }
    Fixture f; // the other one is down, and tries
    MockPeer other;
    REQUIRE(f.feed.start(1s));
    REQUIRE(
        f.feed.open<Mock>({.peer = other}, 1s, {.reconnect = each_second({.max_attempts = 9})}));
    other.refuse_connect(reset);
    other.drop();
    CHECK(f.feed.receive(1s).error().will_retry());
    f.peer.drop();
    const auto ended = f.feed.receive(1s).error();
    CHECK(ended.link() == LinkId{});
    CHECK(ended.will_retry());
    const auto ending = receive_all(f.feed);
    CHECK(ending.last == Error::connect_failed);
    CHECK(ending.last.link() == LinkId{1});
}

TEST_CASE("loop: a link that is opened after the end of the last one continues it")
{
    for (const auto loop : loops) {
        Fixture f;
        REQUIRE(f.feed.start(1s));
        f.peer.drop();
        while (f.feed.state() != State::disconnected)
            (void)f.feed.call("wait", [](Context ctx) { return ctx.sleep_for(1ms); });
        MockPeer other;
        REQUIRE(f.feed.open<Mock>({.peer = other}, 1s));
        other.deliver("b");
        other.close(1000, "");
        const auto ending = loop(f.feed);
        CHECK(ending.messages == Texts{"b"});
        CHECK(ending.outages == Texts{broken});
        CHECK(ending.last == Error::closed_by_peer);
    }
}

TEST_CASE(
    "loop: the application's close of the last link ends it, a stop too, and a restart begins "
    "anew")
{
    Fixture f{{.reconnect = each_second()}};
    for (int i = 0; i < 2; ++i) {
        REQUIRE(f.feed.start(1s));
        REQUIRE(f.feed.link()->close(1s));
        CHECK(receive_all(f.feed).last == Error::link_closed);
        CHECK(f.feed.stop().clean());
        CHECK(receive_all(f.feed).last == Error::stopped);
        REQUIRE(f.feed.start(1s));
        f.peer.drop();
        CHECK(f.feed.receive(1h).error().will_retry());
        f.peer.deliver("again");
        CHECK(text(f.feed.receive(1h)) == "again");
        CHECK(f.feed.stop().clean());
    }
}

TEST_CASE("loop: links that other threads open and lose keep it alive until the last one has ended")
{
    constexpr int count = 200;
    Fixture f;
    REQUIRE(f.feed.start(1s));
    std::atomic<int> opened{0};
    std::thread opener{[&] {
        for (int i = 0; i < count; ++i) {
            MockPeer peer;
            opened += f.feed.open<Mock>({.peer = peer}, 1s).has_value() ? 1 : 0;
            peer.deliver("x");
            peer.drop();
        }
        f.peer.drop(); // the last one
    }};
    const auto ending = receive_all(f.feed);
    opener.join();
    CHECK(opened == count);
    CHECK(ending.messages.size() <= count);
    CHECK(ending.last == Error::disconnected);
    const auto rest = receive_all(f.feed); // what the last links brought after the first one ended
    CHECK(ending.messages.size() + rest.messages.size() == count);
    CHECK(ending.outages.size() + rest.outages.size() >= count - 1);
}

TEST_CASE("will_retry: a mistake, a start and an open never")
{
    Fixture f{{.reconnect = each_second({.at_start = true})}};
    const auto is_final = [](const auto& result) {
        return !result && !result.error().will_retry();
    };
    CHECK(is_final(f.feed.receive(1s)));
    CHECK(is_final(f.feed.next_event(1s)));
    CHECK(is_final(f.feed.poll([](const MessageView&) {})));
    CHECK(is_final(f.feed.send("x")));
    CHECK(is_final(f.feed.wait_stopped(1s)));
    f.peer.refuse_connect(reset);
    const auto started = f.feed.start(5s);
    CHECK_FALSE(started.error().will_retry());
    CHECK(started.error().link() == LinkId{});
    CHECK(is_final(f.feed.receive(1s)));
    f.peer.allow_connect();
    f.peer.delay_connect(Duration::max());
    CHECK(f.feed.start(5s) == Error::timed_out);
    CHECK(is_final(f.feed.start(5s)));
    f.peer.allow_connect();
    REQUIRE(f.feed.start(5s));
    CHECK(is_final(f.feed.start(5s)));
    MockPeer other;
    other.delay_connect(Duration::max());
    const auto opened = f.feed.open<Mock>({.peer = other}, 1s);
    CHECK(opened == Error::timed_out);
    CHECK(opened.error().link() == LinkId{1});
    CHECK_FALSE(opened.error().will_retry());
    f.peer.deliver("x");
    std::optional<Failure> nested;
    REQUIRE(f.feed.call(
        "wait", [](Context ctx) { return ctx.sleep_for(1s); }, 1h));
    REQUIRE(f.feed.poll([&](const MessageView&) { nested = f.feed.receive(1s).error(); }));
    CHECK(nested.value() == Error::misuse);
    CHECK_FALSE(nested->will_retry());
    CHECK(f.feed.receive(0s) == Error::timed_out);
    CHECK(f.feed.receive(0s).error().will_retry());
    CHECK(f.feed.wait_stopped(1s).error().will_retry());
    for (const auto& entry : f.feed.errors().entries)
        CHECK_FALSE(entry.failure.will_retry());
}

TEST_CASE("will_retry: a send says whether the link may come up")
{
    Fixture once;
    REQUIRE(once.feed.start(1s));
    once.peer.drop();
    CHECK(once.feed.receive(1s) == Error::disconnected);
    const auto lost = once.feed.send("x");
    CHECK(lost == Error::not_connected);
    CHECK_FALSE(lost.error().will_retry());
    CHECK(lost.error().link() == LinkId{});

    Fixture f{{.reconnect = each_second({.max_attempts = 3})}};
    REQUIRE(f.feed.start(1s));
    auto link = f.feed.link().value();
    f.peer.refuse_connect(reset);
    f.peer.drop();
    CHECK(f.feed.receive(1s) == Error::disconnected);
    CHECK(f.feed.send("x").error().will_retry());
    CHECK(link.send("x").error().will_retry());
    CHECK(link.send("x") == Error::not_connected);
    CHECK(f.feed.receive(1h) == Error::connect_failed);
    CHECK(link.send("x") == Error::not_connected);
    CHECK_FALSE(link.send("x").error().will_retry());
    (void)f.feed.stop();
    CHECK_FALSE(link.send("x").error().will_retry());
    CHECK(link.send("x") == Error::stopped);
}

TEST_CASE(
    "full: the same error with and without a timeout, at each priority, and with a rate limit")
{
    for (const bool is_limited : {false, true}) {
        Options options{.outbox = {.bytes = 1u << 16, .messages = 2}};
        if (is_limited)
            options.rate_limit = RateLimit{.messages = 1, .per = 1h};
        Fixture f{std::move(options)};
        if (!is_limited)
            f.peer.hold_writes();
        REQUIRE(f.feed.start(1s));
        auto link = f.feed.link().value();
        REQUIRE(link.send("first"));
        if (is_limited)
            REQUIRE(link.flush(1s)); // from now on all wait
        for (const auto priority : {Priority::normal, Priority::high}) {
            CAPTURE(is_limited);
            Result<void> sent;
            for (int i = 0; i < 1000 && sent; ++i)
                sent = f.feed.send("x", SendOptions{.priority = priority});
            CHECK(sent == Error::full);
            for (const auto timeout : {0s, 2s}) {
                const SendOptions send{.timeout = timeout, .priority = priority};
                for (const auto& full : {f.feed.send("x", send), link.send("x", send),
                                         link.send(std::as_bytes(std::span{"xyz"}), send)}) {
                    CHECK(full == Error::full);
                    CHECK(full.error().will_retry());
                    CHECK(full.error().link() == LinkId{});
                    CHECK(full.error().message()
                          == (timeout == 0s ? "the outbox is full"
                                            : "cannot send (mock): the outbox is full: it stayed "
                                              "full for 2.00 s"));
                }
            }
        }
    }
}

TEST_CASE("Failure: error() is for a switch, and no failure has none")
{
    const auto say = [](const Failure& failure) {
        switch (failure.error()) {
        case Error::timed_out: return "late";
        case Error::gap: return "gap";
        default: return "other";
        }
    };
    CHECK(say(Error::gap) == std::string{"gap"});
    CHECK(say(Failure{Error::timed_out, {.attempted = "x"}}) == std::string{"late"});
    CHECK(say(Failure{}) == std::string{"other"});
    CHECK(Failure{}.error() == Error{});
    CHECK_FALSE(Failure{}.code());
    CHECK_FALSE(Failure{}.will_retry());
    CHECK(Failure{}.link() == std::nullopt);
    // A code of another category is the cause
    const Failure broke{Error::disconnected, {.cause = reset}};
    CHECK(broke.error() == Error::disconnected);
    CHECK(broke.code() == Error::disconnected);
    CHECK(broke.cause() == reset);
}

TEST_CASE("Failure: a changed copy keeps all the rest")
{
    const Failure failure = Failure{Error::handshake_refused,
                                    {.attempted = "shake hands",
                                     .endpoint = "a",
                                     .cause = reset,
                                     .explanation = "why",
                                     .http_status = 403,
                                     .retry_after = 5s,
                                     .is_passing = true}}
                                .with_link(LinkId{7})
                                .with_retry(true);
    const auto check = [&](const Failure& changed) {
        CHECK(changed.error() == Error::handshake_refused);
        CHECK(changed.link() == LinkId{7});
        CHECK(changed.will_retry());
        CHECK(changed.cause() == reset);
        CHECK(changed.http_status() == 403);
        CHECK(changed.retry_after() == 5s);
        CHECK(changed.is_passing() == true);
    };
    check(failure.with_attempt("connect", "b"));
    CHECK(failure.with_attempt("connect", "b").attempted() == "connect");
    CHECK(failure.with_attempt("connect", "b").endpoint() == "b");
    CHECK(failure.with_attempt("connect", "b").explanation() == "why");
    check(failure.with_explanation("because"));
    CHECK(failure.with_explanation("because").explanation() == "because");
    CHECK(failure.with_explanation("because").endpoint() == "a");
    ConnectTrace trace;
    trace.total = 1s;
    check(failure.with_trace(trace));
    CHECK(failure.with_trace(trace).trace()->total == 1s);
    CHECK(failure.explanation() == "why");
}

struct NotShown {};

TEST_CASE("Result: each compares with an Error, and a value equals none")
{
    const auto compare = []<class T>(const Result<T>& good) {
        const Result<T> bad = Failure{Error::full, {.explanation = "x"}};
        CHECK(bad == Error::full);
        CHECK(Error::full == bad);
        CHECK(bad != Error::gap);
        CHECK_FALSE(bad == Error::gap);
        CHECK_FALSE(bad != Error::full);
        CHECK(good != Error::full);
        CHECK(good != Error{});
        CHECK_FALSE(good == Error::full);
        CHECK_FALSE(good == Error{});
        static_assert(noexcept(bad == Error::full));
    };
    compare(Result<void>{});
    compare(Result<bool>{true});
    compare(Result<int>{7}); // full's number
    compare(Result<std::size_t>{std::size_t{7}});
    compare(Result<std::string>{"full"});
    compare(Result<NotShown>{NotShown{}});
    compare(Result<StopReport>{StopReport{}});
    Fixture f;
    f.peer.hold_writes();
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.start(1s) == Error::already_started);
    CHECK(f.feed.link() != Error::not_started);
    CHECK(f.feed.receive(1s) == Error::timed_out);
    CHECK(f.feed.next_event(0s) == Error::timed_out);
    CHECK(f.feed.poll([](const MessageView&) {}) != Error::timed_out);
    CHECK(f.feed.native_handle() != Error::no_resources);
    CHECK(f.feed.wait_stopped(1s) == Error::timed_out);
    CHECK(f.feed.call("x", [](Context) -> Task<NotShown> { co_return NotShown{}; })
          != Error::timed_out);
    CHECK(f.feed.send(std::string(9'000'000, 'x')) == Error::too_big);
    CHECK(f.feed.send("x") != Error::too_big);
    CHECK(f.feed.flush(1s) == Error::timed_out);
    CHECK(f.feed.flush(1s).error().will_retry());
}

TEST_CASE("errors: each different failure of a run once, with its count, also over links")
{
    Fixture f{{.reconnect = each_second()}};
    CHECK(f.feed.errors().entries.empty());
    REQUIRE(f.feed.start(1s));
    MockPeer other;
    REQUIRE(f.feed.open<Mock>({.peer = other}, 1s, {.reconnect = each_second()}));
    for (int i = 0; i < 20; ++i) {
        (i % 2 == 0 ? f.peer : other).drop();
        CHECK(f.feed.receive(1h) == Error::disconnected);
        CHECK(f.feed.receive(5s) == Error::timed_out);
    }
    const auto log = f.feed.errors();
    REQUIRE(log.entries.size() == 1);
    CHECK(log.entries[0].count == 20);
    CHECK(log.entries[0].failure == Error::disconnected);
    CHECK(log.entries[0].failure.link() == LinkId{1}); // the latest
    CHECK(log.entries[0].last_at > log.entries[0].first_at);
    CHECK(log.others == 0);
    CHECK(f.feed.stats().errors == 20);
    (void)f.feed.stop();
    CHECK(f.feed.errors().entries.size() == 1); // of the last run
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.errors().entries.empty());
}

} // namespace failure_test
