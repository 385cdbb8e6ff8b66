// What users get wrong at run time: each answer has its code, and its text names the call, the object and the cause.
#include "support/fixture.hpp"
#include "support/minimal_transport.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

/// One call and what came of it; empty: it succeeded.
struct Answer {
    std::string call;
    std::optional<Failure> failure;
};

template <class T>
Answer answer(std::string call, const Result<T>& result)
{
    return {std::move(call), result ? std::nullopt : std::optional<Failure>{result.error()}};
}

/// All calls of a feed that can be refused, by the words in which a failure names them.
std::vector<Answer> ask(Feed& feed)
{
    MockPeer peer;
    return {answer("receive", feed.receive(1s)),
            answer("wait for an event", feed.next_event(1s)),
            answer("poll", feed.poll([](const MessageView&) {})),
            answer("flush", feed.flush(1s)),
            answer("call", feed.call(
                               "a call", [](Context) -> Task<> { co_return; }, 1s)),
            answer("open a link", feed.open<Mock>({.peer = peer}, 1s)),
            answer("wait for the stop", feed.wait_stopped(1s))};
}

/// Those that do not wait.
std::vector<Answer> ask_at_once(Feed& feed)
{
    return {answer("send", feed.send("x")),
            answer("spawn", feed.spawn("a task", [](Context) -> Task<> { co_return; }))};
}

bool has(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

void check_all(const std::vector<Answer>& answers, Error code, std::string_view cause)
{
    for (const auto& one : answers) {
        CAPTURE(one.call);
        REQUIRE(one.failure);
        const auto text = one.failure->message();
        CAPTURE(text);
        CHECK(*one.failure == code);
        CHECK(has(text, "cannot " + one.call + " (mock): "));
        CHECK(has(text, cause));
    }
}

/// A read that gives nothing, at once, again and again.
struct ReturnsAtOnce : MinimalTransport {
    using MinimalTransport::MinimalTransport;
    Task<> read(Context, Sink&) { co_return; }
};

} // namespace

TEST_CASE("misuse: before a start every call says so")
{
    Fixture f;
    check_all(ask(f.feed), Error::not_started, "the sidecar was not started");
    check_all(ask_at_once(f.feed), Error::not_started, "the sidecar was not started");
    CHECK(f.feed.link().error().message()
          == "cannot find the link (mock): the sidecar was not started");
    CHECK(f.feed.stop().joined);
}

TEST_CASE("misuse: a second start says what to do first")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.start(1s).error().message()
          == "cannot start (mock): the sidecar is already started; stop it first");
}

TEST_CASE("misuse: what would wait for the loop is refused on the loop's thread")
{
    Fixture f{{.outbox = {.bytes = 4096, .messages = 1}}};
    REQUIRE(f.feed.start(1s));
    auto link = f.feed.link().value();
    f.peer.hold_writes();
    REQUIRE(f.feed.send("fills the outbox"));
    const auto inside = f.feed.call("inside", [&](Context) -> Task<std::vector<Answer>> {
        auto answers = ask(f.feed);
        answers.push_back(answer("start", f.feed.start(1s)));
        answers.push_back(answer("wait for room", f.feed.send("x", 1s)));
        answers.push_back(answer("flush", link.flush(1s)));
        answers.push_back(answer("close", link.close(1s)));
        co_return answers;
    });
    check_all(inside.value(), Error::misuse, "called on the loop's own thread");
}

TEST_CASE("misuse: on_connected may not wait for the feed that waits for it")
{
    Feed* self = nullptr;
    std::optional<Failure> failure;
    Fixture f{{.on_connected = [&](Context, Session&) -> Task<> {
        failure = self->receive(1s).error();
        co_return;
    }}};
    self = &f.feed;
    REQUIRE(f.feed.start(1s));
    check_all({{"receive", failure}}, Error::misuse, "called on the loop's own thread");
}

TEST_CASE("misuse: within a handler of poll() the messages are poll's")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    f.peer.deliver("one");
    REQUIRE(f.feed.next_event(1s)->kind == Event::Kind::up);
    std::string text;
    const auto receive_inside = [&](const MessageView&) {
        text = f.feed.receive(0s).error().message();
    };
    for (std::size_t taken = 0; taken == 0;)
        taken = f.feed.poll(receive_inside).value();
    CHECK(has(text, "cannot receive: the call cannot be made from here: called within a handler of "
                    "poll()"));
}

TEST_CASE(
    "misuse: after a stop every call says so, the link's too, and a stop from a handler is one")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    auto link = f.feed.link().value();
    f.peer.deliver("the last one");
    REQUIRE(f.feed.next_event(1s)->kind == Event::Kind::up);
    std::optional<StopReport> report;
    for (std::size_t taken = 0; taken == 0;)
        taken = f.feed.poll([&](const MessageView&) { report = f.feed.stop(); }).value();
    REQUIRE(report);
    CHECK(report->clean());
    auto answers = ask(f.feed);
    answers.pop_back(); // the stop's report can be had again,
    std::erase_if(answers, [](const Answer& one) {
        return one.call == "wait for an event" // the last event is `stopped`,
               || one.call == "flush";         // and nothing is left to be written
    });
    check_all(ask_at_once(f.feed), Error::stopped, "the sidecar has stopped");
    check_all({answer("send", link.send("x")), answer("subscribe", link.subscribe("k", "x"))},
              Error::stopped, "the sidecar has stopped");
}

TEST_CASE("misuse: a link outlives its sidecar, and one that was moved from says so")
{
    MockPeer peer;
    auto feed = std::make_unique<Sidecar<Mock>>(Mock::Options{.peer = peer}, silent_options());
    REQUIRE(feed->start(1s));
    auto link = feed->link().value();
    feed.reset();
    CHECK_FALSE(link.is_up());
    check_all({answer("send", link.send("x")), answer("flush", link.flush(1s))}, Error::stopped,
              "the sidecar has stopped");
    CHECK(link.close(1s));
    const auto other = std::move(link);
    CHECK(other.connection() == 1);
    // NOLINTBEGIN(bugprone-use-after-move): that is the mistake
    CHECK(link.send("x").error().message()
          == "cannot send: the call cannot be made from here: this Link was moved from");
    CHECK(link.flush(1s).error() == Error::misuse);
    CHECK(link.close(1s).error() == Error::misuse);
    CHECK(link.subscribe("k", "x").error() == Error::misuse);
    CHECK(link.unsubscribe("k").error() == Error::misuse);
    CHECK_FALSE(link.is_up());
    CHECK_FALSE(link.subscription_state("k"));
    CHECK(link.connection() == 0);
    CHECK(link.protocol().empty());
    CHECK(link.stats().messages_sent == 0);
    // NOLINTEND(bugprone-use-after-move)
}

TEST_CASE("misuse: options out of range are named")
{
    struct Case {
        const char* cause;
        Options options;
    };
    const std::vector<Case> cases{
        {"the total must be positive", {.stop = {.total = -1s}}},
        {"no stage negative", {.stop = {.drain = -1ns}}},
        {"inbox: 1 bytes are too few", {.inbox = {.bytes = 1}}},
        {"outbox: 1 bytes are too few", {.outbox = {.bytes = 1}}},
        {"outbox: 4611686018427387904 bytes; the most there can be is 4611686018427387903",
         {.outbox = {.bytes = SIZE_MAX / 4 + 1}}},
        {"inbox: 18446744073709551615 bytes; the most", {.inbox = {.bytes = SIZE_MAX}}},
        {"on_connected_timeout and ack_timeout must be positive", {.on_connected_timeout = 0s}},
        {"on_connected_timeout and ack_timeout must be positive", {.ack_timeout = -1s}},
        {"reconnect: the window must be positive", {.reconnect = Reconnect{.window = 0s}}},
        {"reconnect: max_window must not be below window",
         {.reconnect = Reconnect{.window = 2s, .max_window = 1s}}},
        {"reconnect: stable_after and busy_delay must not be negative",
         {.reconnect = Reconnect{.busy_delay = -1s}}},
        {"overflow: ", {.overflow = {.max_age = -1s}}},
        {"overflow: ", {.overflow = {.policy = OverflowPolicy::conflate}}},
        {"ping_interval must not be negative", {.ping_interval = -1s}},
        {"rate limit: `per` must be positive", {.rate_limit = RateLimit{.messages = 1, .per = 0s}}},
        {"rate limit: a burst without a rate", {.rate_limit = RateLimit{.burst_messages = 1}}},
    };
    for (const auto& one : cases) {
        CAPTURE(std::string{one.cause});
        Fixture f{one.options};
        const auto started = f.feed.start(1s);
        REQUIRE(started.has_error());
        const auto text = started.error().message();
        CAPTURE(text);
        CHECK(started.error() == Error::bad_options);
        CHECK(has(text, "(mock): the options make no sense: "));
        CHECK(has(text, one.cause));
    }
}

TEST_CASE("misuse: a negative timeout is none, in every call")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.receive(-1s).error() == Error::timed_out);
    CHECK(f.feed.send("x", -1s));
    CHECK(f.feed.wait_stopped(Duration::min()).error() == Error::timed_out);
}

TEST_CASE("misuse: a function that is empty throws where it was called")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    CHECK_THROWS_AS((void)f.feed.call("empty", std::function<Task<>(Context)>{}),
                    std::bad_function_call);
    REQUIRE(f.feed.spawn("empty task", std::function<Task<>(Context)>{}));
    const auto report = f.feed.stop();
    REQUIRE(report.first_error);
    CHECK(*report.first_error == Error::callback_failed);
    CHECK(has(report.first_error->message(), "empty task"));
}

TEST_CASE("misuse: two threads that receive at once share the messages, and lose none")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    constexpr int count = 2000;
    std::atomic<int> taken{0};
    const auto take_all = [&] {
        while (f.feed.receive(Duration::max()))
            ++taken;
    };
    std::thread one{take_all}, another{take_all};
    for (int i = 0; i < count; ++i)
        f.peer.deliver("x");
    f.peer.fail_read(boost::asio::error::eof);
    one.join();
    another.join();
    CHECK(taken == count);
}

TEST_CASE("misuse: a transport whose read gives nothing, at once, holds up nobody")
{
    Sidecar<ReturnsAtOnce> feed{{}, silent_options()};
    REQUIRE(feed.start(5s));
    CHECK(feed.call(
                  "a call", [](Context) -> Task<int> { co_return 7; }, 5s)
              .value()
          == 7);
    const auto report = feed.stop();
    CHECK(report.joined);
    CHECK(report.stuck.empty());
}

TEST_CASE("misuse: in a forked child the text says where the sidecar is")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    const auto child = ::fork();
    if (child == 0) {
        const bool is_told = f.feed.receive(1s).error().message()
                                 == "cannot receive (mock): the process has forked; the sidecar "
                                    "lives in the parent only"
                             && has(f.feed.start(1s).error().message(),
                                    "cannot start (mock): the process has forked");
        ::_exit(is_told ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
}
