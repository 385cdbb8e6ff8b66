// Subscriptions that are given in options, or to the feed: which of them each run has.
#include "support/each_second.hpp"
#include "support/fixture.hpp"
#include "support/minimal_transport.hpp"
#include "support/next_text.hpp"
#include "support/silent_options.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace subscriptions_test {

using namespace sidecar;
using namespace std::chrono_literals;

using Texts = std::vector<std::string>;

AckPredicate ok(std::string what)
{
    return [what](const MessageView& message) { return message.text() == "ok " + what; };
}

/// The transport counts the connections of all runs: "2:sub a" is on the second one.
struct Trial {
    explicit Trial(Options options = {})
        : feed{{.peer = peer, .max_message_bytes = 1000}, silenced(std::move(options))}
    {
        peer.on_message([](MockConnection& connection, const MessageView& message) {
            if (message.text().starts_with("sub "))
                connection.deliver("ok " + std::string{message.text().substr(4)});
        });
    }
    /// What was written since the last call.
    [[nodiscard]] Texts written()
    {
        (void)feed.flush(1s);
        auto all = peer.written();
        Texts latest{all.begin() + static_cast<std::ptrdiff_t>(seen), all.end()};
        seen = all.size();
        return latest;
    }

    MockPeer peer;
    Sidecar<Mock> feed;
    std::size_t seen = 0;
};

TEST_CASE("subscriptions: those of the options are sent on each connection of each run, before "
          "ordinary messages")
{
    Trial t{{.reconnect = each_second(),
             .subscriptions = {{"b", "sub b", ok("b")}, {"a", "sub a", ok("a")}}}};
    for (int run = 0; run < 2; ++run) {
        const auto first = std::to_string(2 * run + 1), second = std::to_string(2 * run + 2);
        REQUIRE(t.feed.start(1s));
        REQUIRE(t.feed.send("order"));
        CHECK(t.written() == Texts{first + ":sub b", first + ":sub a", first + ":order"});
        const auto link = t.feed.link().value();
        CHECK(link.subscription_state("a") == SubscriptionState::acknowledged);
        CHECK(link.subscription_counts().acknowledged == 2);
        CHECK(next_text(t.feed) == "up 1 first");
        CHECK(next_text(t.feed) == "message 1 ok b");
        CHECK(next_text(t.feed) == "message 1 ok a");
        CHECK(next_text(t.feed) == "ready 1");
        t.peer.drop();
        CHECK(next_text(t.feed) == "down 1 more (the connection broke)");
        CHECK(next_text(t.feed) == "up 2 unknown");
        CHECK(next_text(t.feed) == "message 2 ok b");
        CHECK(next_text(t.feed) == "message 2 ok a");
        CHECK(next_text(t.feed) == "ready 2");
        CHECK(t.written() == Texts{second + ":sub b", second + ":sub a"});
        CHECK(t.feed.stop().clean());
        CHECK(t.written() == Texts{second + ":close"});
    }
}

TEST_CASE("subscriptions: one that the peer does not answer is named by `ready`")
{
    Trial t{{.subscriptions = {{"a", "sub a", ok("a")}, {"mute", "x", ok("x")}, {"c", "sub c"}},
             .ack_timeout = 3s}};
    REQUIRE(t.feed.start(1s));
    for (;;) {
        const auto event = t.feed.next_event(5s);
        REQUIRE(event);
        if (event->kind != Event::Kind::ready)
            continue;
        REQUIRE(event->failure);
        CHECK(*event->failure == Error::unacknowledged);
        CHECK(event->failure->explanation() == "no answer to \"mute\"");
        break;
    }
}

TEST_CASE("subscriptions: the feed takes them before a start, during a run and between two, and "
          "keeps them")
{
    Trial t{{.subscriptions = {{"o", "sub o"}}}};
    CHECK(t.feed.subscribe("a", "sub a"));
    CHECK(t.feed.subscribe("b", "sub b"));
    CHECK(t.feed.unsubscribe("b", "unsub b").value());
    CHECK_FALSE(t.feed.unsubscribe("b", "unsub b").value());
    CHECK(t.feed.subscribe("o", "sub o2")); // replaces that of the options
    REQUIRE(t.feed.start(1s));
    CHECK(t.written() == Texts{"1:sub o2", "1:sub a"});

    CHECK(t.feed.subscribe("a", "sub a")); // there already
    CHECK(t.feed.subscribe("c", std::as_bytes(std::span{std::string_view{"sub c"}})));
    CHECK(t.feed.subscribe("a", "sub a2"));
    auto link = t.feed.link().value();
    CHECK(link.subscribe("of this run", "sub it"));
    CHECK(t.written() == Texts{"1:sub c", "1:sub a2", "1:sub it"});
    CHECK(t.feed.unsubscribe("c", "unsub c").value());
    CHECK_FALSE(t.feed.unsubscribe("nothing", "unsub nothing").value());
    CHECK(t.written() == Texts{"1:unsub c"});
    CHECK(link.unsubscribe("o", "unsub o").value()); // for this run only
    CHECK(t.written() == Texts{"1:unsub o"});
    t.feed
        .call("subscribe on the loop",
              [&](Context) -> Task<> {
                  t.feed.subscribe("loop", "sub loop").value();
                  co_return;
              })
        .value();
    CHECK(t.written() == Texts{"1:sub loop"});

    CHECK(t.feed.stop().clean());
    CHECK(t.written() == Texts{"1:close"});
    CHECK(t.feed.subscribe("d", "sub d"));
    CHECK(t.feed.unsubscribe("a", "unsub a").value());
    CHECK(t.written() == Texts{});
    REQUIRE(t.feed.start(1s));
    CHECK(t.written() == Texts{"2:sub o2", "2:sub loop", "2:sub d"});
    CHECK_FALSE(t.feed.link()->subscription_state("of this run"));
    CHECK(t.feed.unsubscribe("of this run").value() == false);

    // A subscription of the link alone can be removed through the feed too
    CHECK(t.feed.link()->subscribe("of the link", "sub it"));
    CHECK(t.written() == Texts{"2:sub it"});
    CHECK(t.feed.unsubscribe("of the link", "unsub it").value());
    CHECK(t.written() == Texts{"2:unsub it"});
    CHECK(t.feed.stop().clean());
}

TEST_CASE("subscriptions: a failed start, a link that ended and a stop under way lose none")
{
    Trial t;
    t.peer.on_connect([](MockConnection& connection) {
        if (connection.number() == 1)
            connection.refuse(Error::disconnected);
    });
    CHECK(t.feed.subscribe("a", "sub a"));
    CHECK_FALSE(t.feed.start(1s));
    CHECK(t.feed.subscribe("b", "sub b")); // after the failure
    REQUIRE(t.feed.start(1s));
    CHECK(t.written() == Texts{"2:sub a", "2:sub b"});
    CHECK(t.feed.link()->close(1s));
    CHECK(t.feed.subscribe("c", "sub c")); // no link
    CHECK(t.feed.unsubscribe("a", "unsub a").value());
    t.feed.request_stop();
    CHECK(t.feed.subscribe("d", "sub d")); // stopping
    CHECK(t.feed.stop().joined);
    (void)t.written();
    REQUIRE(t.feed.start(1s));
    CHECK(t.written() == Texts{"3:sub b", "3:sub c", "3:sub d"});
    CHECK(t.feed.stop().clean());
}

TEST_CASE("subscriptions: a link that open() adds has its own, on each of its connections")
{
    Trial t;
    REQUIRE(t.feed.start(1s));
    MockPeer peer;
    const Options options{.reconnect = each_second(), .subscriptions = {{"a", "sub a"}}};
    auto link = t.feed.open({.peer = peer}, 1s, options.link_options()).value();
    REQUIRE(link.flush(1s));
    CHECK(peer.written() == Texts{"1:sub a"});
    peer.drop();
    t.feed.call("wait", [](Context ctx) { return ctx.sleep_for(2s); }).value();
    REQUIRE(link.flush(1s));
    CHECK(peer.written() == Texts{"1:sub a", "2:sub a"});
    CHECK(t.written() == Texts{}); // the first link has none
    CHECK(t.feed.stop().clean());
}

struct Picky : MinimalTransport {
    using MinimalTransport::MinimalTransport;
    static Result<void> check_send(const Options&, MessageKind, std::span<const std::byte> payload)
    {
        if (payload.size() == 3)
            throw std::runtime_error{"three"};
        if (payload.size() == 4)
            return Failure{Error::bad_message, {.attempted = "send"}};
        return {};
    }
};

TEST_CASE("subscriptions: what cannot be sent, or has no key of its own, is refused by name")
{
    const std::string large(300, 'x');
    struct Row {
        std::vector<Subscription> subscriptions;
        std::string why;
    };
    for (const auto& row : std::vector<Row>{
             {{{"a", "x"}, {"b", "y"}, {"a", "x"}}, "the key \"a\" is not unique"},
             {{{"", "x"}}, "\"\": the key is empty"},
             {{{"a", "x"}, {"b", large}},
              "\"b\": 300 bytes, the outbox takes at most 256: raise outbox.bytes"},
             {{{"c", "bad!"}}, "\"c\": the message cannot be sent on this transport"},
             {{{"d", "bad"}}, "\"d\": three"},
         }) {
        CAPTURE(row.why);
        const Options options{.outbox = {.bytes = 256}, .subscriptions = row.subscriptions};
        Sidecar<Picky> wrong{{}, silenced(options)};
        const auto expected = ": the options make no sense: subscriptions: " + row.why;
        CHECK(wrong.start(1s).error().message() == "cannot start" + expected);
        Sidecar<Picky> feed{{}, silent_options()};
        REQUIRE(feed.start(5s));
        CHECK(feed.open({}, 5s, options.link_options()).error().message()
              == "cannot open a link" + expected);
        CHECK(feed.stop().joined);
    }
}

TEST_CASE("subscriptions: the feed refuses what its link cannot send, running or not, and keeps "
          "nothing of it")
{
    Sidecar<Picky> feed{{}, silenced({.outbox = {.bytes = 256}})};
    for (const bool is_running : {false, true, false}) {
        CAPTURE(is_running);
        if (is_running)
            REQUIRE(feed.start(5s));
        CHECK(feed.subscribe("", "x").error().message()
              == "cannot subscribe: the options make no sense: the key is empty");
        CHECK(feed.subscribe("a", std::string(300, 'x')).error() == Error::too_big);
        CHECK(feed.subscribe("a", "bad!").error() == Error::bad_message);
        CHECK(feed.subscribe("a", "bad").error() == Error::callback_failed);
        CHECK_FALSE(feed.unsubscribe("a").value());
        REQUIRE(feed.subscribe("b", "ok"));
        CHECK(feed.unsubscribe("b", "bad!").error() == Error::bad_message);
        CHECK(feed.unsubscribe("b").value()); // an error has removed nothing
        if (is_running)
            CHECK(feed.stop().joined);
    }
}

TEST_CASE("subscriptions: threads that subscribe and unsubscribe while others start and stop lose "
          "nothing")
{
    Trial t{{.subscriptions = {{"o", "sub o"}}}};
    std::atomic<bool> is_over{false};
    std::vector<std::map<std::string, bool>> wanted(2);
    std::vector<std::thread> threads;
    for (std::size_t which = 0; which < wanted.size(); ++which)
        threads.emplace_back([&, which] {
            std::minstd_rand random{static_cast<unsigned>(which) + 1};
            for (int i = 0; i < 300 || !is_over; ++i) {
                const auto key = std::string(1, static_cast<char>('a' + 3 * which + random() % 3));
                const bool subscribes = random() % 2 == 0;
                if (subscribes)
                    CHECK(t.feed.subscribe(key, "sub " + key));
                else
                    CHECK(t.feed.unsubscribe(key, "unsub " + key).value() == wanted[which][key]);
                wanted[which][key] = subscribes;
            }
        });
    for (int run = 0; run < 20; ++run) {
        CHECK(t.feed.start(10s));
        CHECK(t.feed.stop().joined);
    }
    is_over = true;
    for (auto& thread : threads)
        thread.join();
    (void)t.written();
    REQUIRE(t.feed.start(10s));
    auto written = t.written();
    const auto connection = std::to_string(t.peer.connect_count());
    Texts expected{connection + ":sub o"};
    for (const auto& of_thread : wanted)
        for (const auto& [key, is_wanted] : of_thread)
            if (is_wanted)
                expected.push_back(connection + ":sub " + key);
    std::sort(written.begin(), written.end());
    std::sort(expected.begin(), expected.end());
    CHECK(written == expected);
    CHECK(t.feed.stop().clean());
}

} // namespace subscriptions_test
