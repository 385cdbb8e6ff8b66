// Faults put in at every place where one can come from: each operation of the transport in turn,
// and every callback that is the user's. Whatever breaks, the stop is complete, and each message is
// accounted for.
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <functional>

namespace injection_test {

using namespace sidecar;
using namespace std::chrono_literals;

constexpr StopBudget budget{.total = 1000ms, .drain = 200ms, .close = 500ms, .cancel = 100ms};

Options small_inbox()
{
    return silenced({.inbox = {.bytes = 1u << 20, .messages = 4}, .stop = budget});
}

/// True if it went through; false as soon as a call failed.
using Scenario = std::function<bool(Feed&, MockPeer&)>;

bool exchange(Feed& feed, MockPeer& peer)
{
    peer.deliver("a");
    if (!feed.receive(1s) || !feed.send("b") || !feed.flush(1s))
        return false;
    peer.deliver("c");
    return feed.receive(1s).has_value();
}

bool burst(Feed& feed, MockPeer& peer)
{
    for (int i = 0; i < 12; ++i) { // three inboxes full
        peer.deliver("x");
        if (!feed.send("y"))
            return false;
    }
    for (int i = 0; i < 12; ++i)
        if (!feed.receive(1s))
            return false;
    return feed.flush(1s).has_value();
}

bool two_links(Feed& feed, MockPeer& peer)
{
    MockPeer other;
    auto link = feed.open<Mock>({.peer = other, .max_message_bytes = 1024}, 1s);
    return link && link->send("x") && link->flush(1s) && feed.send("y") && feed.flush(1s)
           && exchange(feed, peer);
}

std::size_t failing_of_second = 0;

bool second_link(Feed& feed, MockPeer& peer)
{
    MockPeer other;
    other.fail_operation(failing_of_second, boost::asio::error::connection_reset);
    auto link = feed.open<Mock>({.peer = other, .max_message_bytes = 1024}, 1s);
    return link && link->send("x") && link->flush(1s) && link->close(1s) && exchange(feed, peer);
}

bool restarts(Feed& feed, MockPeer& peer)
{
    for (int i = 0; i < 2; ++i) {
        if (!exchange(feed, peer) || !feed.stop().clean() || feed.stop().first_error
            || !feed.start(1s))
            return false;
    }
    return true;
}

bool closes(Feed& feed, MockPeer& peer)
{
    peer.delay_close(50ms);
    peer.hold_writes();
    const bool sent = feed.send("x").has_value();
    return sent && feed.spawn("releaser", [peer](Context ctx) mutable -> Task<> {
        co_await ctx.sleep_for(10ms);
        peer.release_writes();
    });
}

void check_accounts(Feed& feed, const StopReport& report)
{
    CHECK(report.joined);
    CHECK(report.stuck.empty());
    CHECK(report.total <= budget.total);
    const auto stats = feed.stats();
    CHECK(stats.messages_accepted == stats.messages_sent + report.unsent_messages);
    CHECK(stats.messages_received == stats.messages_taken + report.unread_messages);
    std::uint64_t left = 0;
    for (auto event = feed.next_event(0s); event && event->kind != Event::Kind::stopped;
         event = feed.next_event(0s))
        left += event->kind == Event::Kind::message;
    CHECK(left == report.unread_messages);
}

TEST_CASE("injection: the n-th operation of the transport fails, for every n, in every scenario")
{
    const std::pair<const char*, Scenario> scenarios[] = {
        {"exchange", exchange},       {"burst", burst},       {"two links", two_links},
        {"second link", second_link}, {"restarts", restarts}, {"closes", closes}};
    for (const auto& [name_, scenario] : scenarios) {
        const std::string name = name_;
        CAPTURE(name);
        bool passed = false;
        for (std::size_t n = 1; !passed; ++n) {
            CAPTURE(n);
            REQUIRE(n < 100);
            MockPeer peer;
            Sidecar<Mock> feed{{.peer = peer, .max_message_bytes = 1024}, small_inbox()};
            failing_of_second = n;
            peer.fail_operation(name == "second link" ? 0 : n,
                                boost::asio::error::connection_reset);
            const bool went_through = feed.start(1s) && scenario(feed, peer);
            const auto report = feed.stop();
            CAPTURE(to_string(report));
            check_accounts(feed, report);
            passed = went_through && report.clean() && !report.first_error;
            // What broke is told: the call that met it failed, or the report has it.
            if (went_through && !passed)
                CHECK(report.first_error->cause() == boost::asio::error::connection_reset);
        }
    }
}

/// Throws where it is told to, what is no error code and no Exception either.
class Thrower {
public:
    enum class At { nowhere, construction, connect, first_read, later_read, write, close };
    struct Options {
        At at = At::nowhere;
        std::size_t max_message_bytes = 1024;
    };
    explicit Thrower(const Options& options) : at_{options.at} { maybe(At::construction); }
    Task<> connect(Context)
    {
        maybe(At::connect);
        co_return;
    }
    Task<> read(Context ctx, Sink& sink)
    {
        maybe(At::first_read);
        if (++reads_ == 1) {
            (void)sink.put_text("one"); // there is always room for one
            co_return;
        }
        maybe(At::later_read);
        co_await ctx.wait(gone_, TimePoint::max());
        throw std::runtime_error{"aborted"};
    }
    Task<> write(Context, Batch)
    {
        maybe(At::write);
        co_return;
    }
    Task<> close(Context, CloseReason)
    {
        maybe(At::close);
        co_return;
    }
    void abort() noexcept { gone_.set(); }

private:
    struct Odd {}; // not even a std::exception
    void maybe(At at) const
    {
        if (at_ == at)
            throw Odd{};
    }
    At at_;
    int reads_ = 0;
    LoopEvent gone_;
};

TEST_CASE("injection: a transport that throws what nobody expects ends its link with that, and "
          "nothing else")
{
    using At = Thrower::At;
    for (const auto at : {At::nowhere, At::construction, At::connect, At::first_read,
                          At::later_read, At::write, At::close}) {
        CAPTURE(static_cast<int>(at));
        Sidecar<Thrower> feed{{.at = at}, small_inbox()};
        const auto started = feed.start(1s);
        CHECK(started.has_value() == (at != At::construction && at != At::connect));
        if (started) {
            const auto first = feed.receive(1s);
            CHECK(first.has_value() == (at != At::first_read));
            (void)feed.send("x");
            (void)feed.flush(1s);
            if (at != At::nowhere && at != At::close && first)
                CHECK_FALSE(feed.receive(10s));
        }
        const auto report = feed.stop();
        CAPTURE(to_string(report));
        CHECK(report.joined);
        CHECK(report.stuck.empty());
        CHECK(report.first_error.has_value() == (at != At::nowhere));
    }
}

TEST_CASE("injection: a log hook that throws is counted, and harms nothing")
{
    auto options = small_inbox();
    options.log = [](LogLevel, std::string_view) { throw 42; };
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer, .max_message_bytes = 1024}, options};
    REQUIRE(feed.start(1s));
    REQUIRE(feed.call("a call", [](Context ctx) -> Task<> {
        ctx.log(LogLevel::error, "from the loop");
        co_return;
    }));
    CHECK(feed.stats().callback_failures == 1);
    CHECK(exchange(feed, peer));
    CHECK(feed.stop().clean());
}

TEST_CASE("injection: a coroutine function that throws before its first turn fails like one that "
          "throws later")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer, .max_message_bytes = 1024}, small_inbox()};
    REQUIRE(feed.start(1s));
    const auto thrower = [](Context) -> Task<> { throw std::logic_error{"at once"}; };
    CHECK_THROWS_AS((void)feed.call("a call", thrower), std::logic_error);
    REQUIRE(feed.spawn("thrower", thrower));
    CHECK(exchange(feed, peer));
    const auto report = feed.stop();
    CHECK(report.clean());
    CHECK(report.first_error == Error::callback_failed);
}

TEST_CASE("injection: a poll handler that throws each time takes one message each time, and the "
          "stop is whole")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer, .max_message_bytes = 1024}, small_inbox()};
    REQUIRE(feed.start(1s));
    for (int i = 0; i < 3; ++i)
        peer.deliver("x");
    REQUIRE(feed.call("a call", [](Context ctx) -> Task<> { co_await ctx.sleep_for(1ms); }));
    for (int i = 0; i < 3; ++i)
        CHECK_THROWS_AS((void)feed.poll([](const MessageView&) { throw 1; }), int);
    CHECK(feed.poll([](const MessageView&) {}).value() == 0);
    const auto report = feed.stop();
    CHECK(report.clean());
    check_accounts(feed, report);
}

} // namespace injection_test
