// What a link does with what it was given to send when its connections break: named cases, and then
// random runs by seed, in which the peer's log is compared with what was counted.
#include "support/fixture.hpp"

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace sending_test {

using namespace sidecar;
using namespace std::chrono_literals;
using Words = std::vector<std::string>;

void let_pass(Feed& feed, Duration time)
{
    (void)feed.call("wait", [time](Context ctx) { return ctx.sleep_for(time); });
}

Reconnect soon(OnDisconnect queued)
{
    return {.window = 10ms, .max_window = 10ms, .on_disconnect = queued, .random = [] {
                return UINT64_MAX;
            }};
}

/// All events until one of this kind.
std::string kinds_until(Feed& feed, Event::Kind last)
{
    std::string kinds;
    while (const auto event = feed.next_event(1h)) {
        kinds += fmt::format("{} ", to_string(event->kind));
        if (event->kind == last || event->kind == Event::Kind::stopped)
            break;
    }
    return kinds;
}

std::uint64_t number_in(std::string_view text, char behind)
{
    const auto digits = text.substr(text.find(behind) + 1);
    std::uint64_t number = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), number);
    return number;
}

/// Sends on the loop's thread, so that the writer finds all of it at once.
void send_together(Feed& feed, std::vector<std::string> texts, SendOptions options = {})
{
    feed.call(
            "send",
            [&](Context) -> Task<> {
                for (const auto& text : texts)
                    CHECK(feed.send(text, options));
                co_return;
            },
            10s)
        .value();
}

TEST_CASE("keep: a ping that fails while a write is under way leaves the write its messages")
{
    for (const auto queued : {OnDisconnect::keep, OnDisconnect::discard}) {
        CAPTURE(queued == OnDisconnect::keep);
        Fixture f{{.outbox = {.bytes = 4096},
                   .reconnect = soon(queued),
                   .ping_interval = 1s,
                   .ping_timeout = 10s}};
        REQUIRE(f.feed.start(1s));
        f.peer.hold_writes();
        send_together(f.feed, {std::string(96, 'a'), std::string(96, 'b'), std::string(96, 'c')});
        let_pass(f.feed, 1ms);
        f.peer.fail_operation(1, boost::asio::error::broken_pipe); // the ping
        let_pass(f.feed, 1010ms);
        while (f.feed.send(std::string(96, 'X'))) { // fills what the write still reads
        }
        f.peer.release_writes();
        let_pass(f.feed, 20ms);
        const auto sent = f.peer.sent();
        REQUIRE(sent.size() >= 3);
        CHECK(sent[0] == std::string(96, 'a'));
        CHECK(sent[1] == std::string(96, 'b'));
        CHECK(sent[2] == std::string(96, 'c'));
        f.feed.stop();
        const auto stats = f.feed.stats();
        CHECK(stats.messages_sent == f.peer.sent().size());
        CHECK(stats.messages_accepted == stats.messages_sent + stats.unsent);
    }
}

TEST_CASE(
    "keep: of control messages that are written in part, only what may be half written is lost")
{
    Fixture f{{.reconnect = soon(OnDisconnect::keep)}};
    REQUIRE(f.feed.start(1s));
    f.peer.hold_writes();
    send_together(f.feed, {"c1", "c2", "c3", "c4", "c5", "c6"}, {.priority = Priority::high});
    let_pass(f.feed, 1ms);
    f.peer.fail_write(boost::asio::error::broken_pipe, 2);
    f.peer.release_writes();
    let_pass(f.feed, 1s);
    CHECK(f.peer.sent() == Words{"c1", "c2", "c4", "c5", "c6"});
    CHECK(f.feed.stats().messages_sent == 5);
    CHECK(f.feed.stats().unsent == 1);
}

TEST_CASE("link: a policy that fails while unread messages are handed on ends the connection")
{
    Fixture f{{.reconnect = soon(OnDisconnect::keep),
               .on_connected = [](Context ctx, Session& session) -> Task<> {
                   if (session.connection() == 2)
                       co_await ctx.sleep_for(1s);
               },
               .overflow = {.policy = OverflowPolicy::fail, .queue_messages = 2}}};
    REQUIRE(f.feed.start(1s));
    f.peer.drop();
    let_pass(f.feed, 100ms);
    for (const auto* text : {"1", "2", "3", "4", "5"})
        f.peer.deliver(text);
    let_pass(f.feed, 5s);
    CHECK(kinds_until(f.feed, Event::Kind::down) == "up ready down ");
    CHECK(kinds_until(f.feed, Event::Kind::down) == "up message message down ");
    CHECK(kinds_until(f.feed, Event::Kind::ready) == "up ready ");
    REQUIRE(f.feed.send("on the next one"));
    REQUIRE(f.feed.flush(1s));
    CHECK(f.feed.stats().discarded == 3);
    CHECK(f.feed.stop().clean());
}

TEST_CASE("link: a key function that throws while unread messages are handed on is named")
{
    Overflow overflow{.policy = OverflowPolicy::conflate};
    overflow.key = [](const MessageView&) -> std::optional<std::string_view> {
        throw std::runtime_error{"no key"};
    };
    Fixture f{{.on_connected = [](Context ctx, Session&) -> Task<> { co_await ctx.sleep_for(1s); },
               .overflow = overflow}};
    f.peer.deliver("1");
    (void)f.feed.start(5s);
    Result<Event> event = f.feed.next_event(1h);
    while (event && event->kind != Event::Kind::down)
        event = f.feed.next_event(1h);
    REQUIRE(event);
    CHECK(event->failure == Error::callback_failed);
    CHECK(event->failure->message().find("no key") != std::string::npos);
    CHECK_FALSE(f.feed.link()->is_up());
    CHECK(f.feed.send("x").error() == Error::not_connected);
}

TEST_CASE("link: an answer to a subscription does not put off the end after a failed ping")
{
    Fixture f{{.reconnect = soon(OnDisconnect::keep),
               .ack_timeout = 1h,
               .ping_interval = 1s,
               .ping_timeout = 10s}};
    REQUIRE(f.feed.start(1s));
    auto link = f.feed.link().value();
    const auto any = [](const MessageView& message) { return message.text() == "ok"; };
    REQUIRE(link.subscribe("a", "sub a", any));
    REQUIRE(link.flush(1s));
    f.peer.drop();
    let_pass(f.feed, 100ms); // the next connection waits for the answer
    f.peer.fail_operation(1, boost::asio::error::broken_pipe);
    f.peer.deliver_after(1010ms, "ok"); // after the ping failed
    let_pass(f.feed, 10s);
    CHECK(f.feed.stats().connections == 3);
    CHECK(link.is_up());
}

TEST_CASE("on_connected: messages that it left unread when it throws are counted")
{
    Fixture f{{.on_connected = [](Context ctx, Session&) -> Task<> {
        co_await ctx.sleep_for(1s);
        throw std::runtime_error{"the login was refused"};
    }}};
    for (const auto* text : {"1", "2", "3"})
        f.peer.deliver(text);
    CHECK(f.feed.start(5s).error() == Error::callback_failed);
    CHECK(f.feed.stats().discarded == 3);
}

TEST_CASE("stop: nothing is written once the close has begun, although the drain ran out")
{
    Fixture f{{.stop = {.total = 10s, .drain = 2500ms, .close = 5s, .cancel = 100ms},
               .rate_limit = RateLimit{.messages = 1, .per = 1s}}};
    REQUIRE(f.feed.start(1s));
    f.peer.delay_close(4s);
    for (int i = 0; i < 10; ++i)
        REQUIRE(f.feed.send("x"));
    const auto report = f.feed.stop();
    const auto trace = f.peer.trace();
    bool is_closing = false;
    for (const auto& entry : trace) {
        CHECK_FALSE((is_closing && entry.find("write") != std::string::npos));
        is_closing = is_closing || entry.find("close") != std::string::npos;
    }
    CHECK(is_closing);
    CHECK(report.unsent_messages == 10 - f.peer.sent().size());
    CHECK(f.feed.stats().messages_sent == f.peer.sent().size());
}

TEST_CASE("stop: no `ready` follows `stopped`")
{
    Fixture f{{.stop = {.total = 20s, .drain = 10s, .close = 5s, .cancel = 100ms},
               .reconnect = soon(OnDisconnect::keep),
               .ack_timeout = 2s}};
    REQUIRE(f.feed.start(1s));
    auto link = f.feed.link().value();
    REQUIRE(link.subscribe("a", "sub a", [](const MessageView&) { return false; }));
    REQUIRE(link.flush(1s));
    f.peer.drop();
    let_pass(f.feed, 100ms);
    REQUIRE(f.feed.send("waits for the answer"));
    f.feed.stop();
    bool has_stopped = false;
    for (int i = 0; i < 20; ++i) {
        const auto event = f.feed.next_event(0s);
        if (!event)
            break;
        CHECK_FALSE((has_stopped && event->kind != Event::Kind::stopped));
        has_stopped = has_stopped || event->kind == Event::Kind::stopped;
    }
    CHECK(has_stopped);
}

TEST_CASE("stats: a session's messages and subscriptions count when they are written")
{
    Fixture f{{.on_connected = [](Context, Session& session) -> Task<> {
        co_await session.send("login");
    }}};
    REQUIRE(f.feed.start(1s));
    auto link = f.feed.link().value();
    REQUIRE(link.subscribe("a", "sub a"));
    REQUIRE(link.flush(1s));
    const auto stats = f.feed.stats();
    CHECK(stats.messages_sent == 2);
    CHECK(stats.bytes_sent == 10);
    CHECK(stats.messages_accepted == 2);
}

// --- random runs

/// One run: a feed, its peer, and what happens to them, by seed. The peer's log is cut in
/// connections by the logins.
struct SendingRun {
    explicit SendingRun(unsigned seed) : random{seed} {}

    std::uint64_t draw(std::uint64_t below) { return random() % below; }
    bool one_in(std::uint64_t count) { return draw(count) == 0; }

    Options options()
    {
        Options options{.reconnect = soon(one_in(2) ? OnDisconnect::keep : OnDisconnect::discard)};
        options.reconnect->at_start = true;
        options.outbox = {.bytes = one_in(2) ? 2048u : 1u << 16};
        options.ack_timeout = 5ms;
        options.on_connected = [](Context, Session& session) -> Task<> {
            co_await session.send(fmt::format("login {}", session.connection()));
            co_await session.send("hello");
        };
        if (one_in(2)) {
            options.ping_interval = 7ms;
            options.ping_timeout = 20ms;
            if (one_in(2))
                options.heartbeat = Heartbeat{.message = "beat"};
        }
        if (one_in(4))
            options.rate_limit = RateLimit{.messages = 4, .per = 5ms};
        return silenced(options);
    }
    void act(Feed& feed, Link& link, MockPeer& peer)
    {
        if (one_in(3))
            let_pass(feed, 1ms * draw(20));
        switch (draw(16)) {
        case 0: peer.hold_writes(); break;
        case 1: peer.release_writes(); break;
        case 2:
            if (one_in(2))
                peer.drop();
            break;
        case 3: peer.fail_write(boost::asio::error::broken_pipe, draw(4)); break;
        case 4: peer.fail_operation(1 + draw(4), boost::asio::error::broken_pipe); break;
        case 5: let_pass(feed, 1ms * draw(30)); break;
        case 6:
            if (one_in(2))
                (void)link.subscribe(fmt::format("k{}", draw(4)), fmt::format("sub {}", ++last));
            else
                (void)link.subscribe(fmt::format("k{}", draw(4)), fmt::format("sub {}", ++last),
                                     [](const MessageView& m) { return m.text() == "ok"; });
            break;
        case 7:
            (void)link.unsubscribe(fmt::format("k{}", draw(4)), fmt::format("unsub {}", ++last));
            break;
        case 8: peer.deliver("ok"); break;
        default: send(link);
        }
        while (feed.receive(0s)) {
        }
    }
    void send(Link& link)
    {
        SendOptions options;
        std::string kind = "o";
        if (one_in(4)) {
            options.priority = Priority::high;
            kind = "c";
        }
        if (one_in(4))
            options.expires_after = 1ms * draw(10);
        const auto connection = link.connection();
        if (connection != 0 && one_in(4)) {
            options.connection = connection;
            kind += fmt::format("@{}", connection);
        }
        const auto text = fmt::format("{}:{} ", kind, ++last) + std::string(draw(60), 'x');
        if (link.send(text, options)) {
            ++accepted;
            given.insert(text);
        }
    }
    void check(const Stats& stats, const Words& log)
    {
        std::uint32_t connection = 0;
        std::uint64_t of_application = 0, messages = 0;
        std::map<std::string, std::uint64_t> latest; // number by lane
        std::set<std::string> subscribed;            // on this connection
        for (const auto& text : log) {
            if (text == "beat")
                continue;
            ++messages;
            if (text.substr(0, 5) == "login") {
                connection = static_cast<std::uint32_t>(number_in(text, ' '));
                subscribed.clear();
                continue;
            }
            if (text == "hello")
                continue;
            CHECK(connection != 0);
            if (text.find("sub ") != std::string::npos) {
                CHECK(subscribed.insert(text).second);
                continue;
            }
            ++of_application;
            CHECK(given.erase(text) == 1); // as it was given, and once
            const auto number = number_in(text, ':');
            auto& before = latest[text.substr(0, 1)];
            CHECK(before < number);
            before = number;
            if (text.find('@') < text.find(':'))
                CHECK(number_in(text, '@') == connection);
        }
        CHECK(stats.messages_sent == messages);
        CHECK(stats.unsent == accepted - of_application);
        CHECK(stats.messages_accepted == stats.messages_sent + stats.unsent);
    }

    std::minstd_rand random;
    std::uint64_t last = 0, accepted = 0;
    std::set<std::string> given;
};

TEST_CASE("sending: the peer has what was counted, in 400 random runs through a real link")
{
    const auto* const given = std::getenv("SEED");
    const unsigned first = given ? static_cast<unsigned>(std::atoi(given)) : 1;
    const unsigned last = given ? first : 400;
    for (auto seed = first; seed <= last; ++seed) {
        CAPTURE(seed);
        SendingRun run{seed};
        MockPeer peer;
        Sidecar<Mock> feed{{.peer = peer}, run.options()};
        REQUIRE(feed.start(1s));
        auto link = feed.link().value();
        for (int i = 0; i < 80; ++i)
            run.act(feed, link, peer);
        if (run.one_in(2))
            peer.release_writes();
        if (run.one_in(2))
            let_pass(feed, 100ms);
        feed.stop();
        run.check(feed.stats(), peer.sent());
    }
}

} // namespace sending_test
