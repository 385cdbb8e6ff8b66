// Nats against a scripted server: what goes over the wire, and servers that break the protocol.
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"

#include <sidecar/format.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/nats.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <future>
#include <string>
#include <thread>

using namespace sidecar;
using namespace std::chrono_literals;

namespace wire_test {

const std::string info = "INFO {\"server_id\":\"X\",\"server_name\":\"n1\",\"version\":\"2.9.10\","
                         "\"headers\":true,\"max_payload\":1000}\r\n";

/// Lets the client in; returns what it sent up to its PING.
std::string let_in(RawConnection& c, const std::string& greeting = info)
{
    c.send(greeting);
    auto text = c.read_until("PING\r\n");
    c.send("PONG\r\n");
    return text;
}
/// Confirms the last PING of a close.
void confirm_close(RawConnection& c)
{
    (void)c.read_until("PING\r\n");
    c.send("PONG\r\n");
    c.wait_for_end();
}

Nats::Options to(const RawPeer& peer, Nats::Options options = {})
{
    options.url = fmt::format("nats://127.0.0.1:{}", peer.port());
    return options;
}

/// The failure of a start whose server does this.
Failure refused(RawPeer::Script script, Nats::Options options = {})
{
    RawPeer peer{std::move(script)};
    Sidecar<Nats> feed{to(peer, std::move(options)), silent_options()};
    const auto started = feed.start(10s);
    REQUIRE(!started);
    return started.error();
}

/// The failure that ends a connection whose server sends this.
Failure ends_with(const std::string& bytes)
{
    RawPeer peer{[&](RawConnection& c) {
        let_in(c);
        c.send(bytes);
        c.wait_for_end();
    }};
    Sidecar<Nats> feed{to(peer), silent_options()};
    feed.start(10s).value();
    for (;;)
        if (auto message = feed.receive(10s); !message)
            return message.error();
}

bool contains(const std::string& text, std::string_view part)
{
    return text.find(part) != text.npos;
}

TEST_CASE("nats: CONNECT, subscriptions, PUB and HPUB on the wire")
{
    std::promise<std::string> connect, rest;
    RawPeer peer{[&](RawConnection& c) {
        connect.set_value(let_in(c));
        auto text = c.read_until("UNSUB 3\r\n");
        c.send("PING\r\n");
        text += c.read_until("PONG\r\n");
        rest.set_value(text);
        confirm_close(c);
    }};
    Sidecar<Nats> feed{to(peer, {.subject = "def",
                                 .subscriptions = {{"a.*"}, {"b", "q"}},
                                 .name = "my \"app\"",
                                 .echo = false,
                                 .user = "ann",
                                 .password = "pass"}),
                       silent_options()};
    REQUIRE(feed.start(10s));
    const auto line = connect.get_future().get();
    for (const auto* part :
         {"CONNECT {\"verbose\":false,\"pedantic\":false,", "\"echo\":false", "\"headers\":true",
          "\"no_responders\":true", "\"protocol\":1", "\"lang\":\"C++", "\"user\":\"ann\"",
          "\"pass\":\"pass\"", "\"name\":\"my \\\"app\\\"\""}) {
        CAPTURE(std::string{part});
        CHECK(contains(line, part));
    }
    REQUIRE(feed.send("one"));
    const Header headers[]{{"Id", "7"}, {"X", ""}};
    REQUIRE(feed.send("two", {.topic = "t.2", .reply_to = "back", .headers = headers}));
    REQUIRE(feed.send("", {.topic = "t.3"}));
    REQUIRE(nats::subscribe(feed, "c.>", {.queue = "w", .max_messages = 9}));
    REQUIRE(feed.flush(10s));
    CHECK(nats::unsubscribe(feed, "c.>", {.queue = "w"}).value());
    CHECK(rest.get_future().get()
          == "SUB a.* 1\r\nSUB b q 2\r\n"
             "PUB def 3\r\none\r\n"
             "HPUB t.2 back 24 27\r\nNATS/1.0\r\nId: 7\r\nX: \r\n\r\ntwo\r\n"
             "PUB t.3 0\r\n\r\n"
             "SUB c.> w 3\r\nUNSUB 3 9\r\n"
             "UNSUB 3\r\nPONG\r\n");
    const auto facts = feed.link().value().connection_info();
    CHECK(facts.header("server_name") == "n1");
    CHECK(facts.max_send_bytes == 1000);
    CHECK(feed.send(std::string(1001, 'x')) == Error::too_big);
    CHECK(feed.stop().clean());
}

TEST_CASE("nats: the first request subscribes to answers, and gets its own")
{
    RawPeer peer{[&](RawConnection& c) {
        let_in(c);
        const auto sub = c.read_until("\r\n");
        const auto pub = c.read_until("ask\r\n");
        const auto inbox = sub.substr(4, sub.rfind(' ') - 5); // without the '*'
        const auto reply = pub.substr(7, pub.find(' ', 7) - 7);
        CHECK(sub.starts_with("SUB _INBOX."));
        CHECK(reply.starts_with(inbox));
        c.send(fmt::format("MSG {} 1 6\r\nanswer\r\n", reply));
        const auto next = c.read_until("ask\r\n");
        CHECK(next.starts_with("PUB sv " + inbox));
        c.send(fmt::format("HMSG {} 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
                           next.substr(7, next.find(' ', 7) - 7)));
        confirm_close(c);
    }};
    Sidecar<Nats> feed{to(peer), silent_options()};
    REQUIRE(feed.start(10s));
    CHECK(feed.request("sv", "ask", 10s).value().text() == "answer");
    CHECK(feed.request("sv", "ask", 10s) == Error::no_responders);
    CHECK(feed.stop().clean());
}

TEST_CASE("nats: messages that arrive with the last line of the handshake are not lost")
{
    RawPeer peer{[&](RawConnection& c) {
        c.send(info);
        (void)c.read_until("PING\r\n");
        c.send("+OK\r\nPONG\r\nMSG a 1 2\r\nhi\r\nMSG b 1 5\r\nhe");
        c.send("llo\r\n");
        confirm_close(c);
    }};
    Sidecar<Nats> feed{to(peer), silent_options()};
    REQUIRE(feed.start(10s));
    CHECK(feed.receive(10s).value().topic() == "a");
    CHECK(feed.receive(10s).value().text() == "hello");
    CHECK(feed.stop().clean());
}

TEST_CASE("nats: a server that refuses the login ends the link for good, without a secret")
{
    const auto failure = refused(
        [](RawConnection& c) {
            c.send(info);
            (void)c.read_until("PING\r\n");
            c.send("-ERR 'Authorization Violation for s3cret'\r\n");
        },
        {.token = "s3cret"});
    CHECK(failure == Error::login_refused);
    CHECK(!is_retryable(failure));
    CHECK(contains(failure.message(), "Authorization Violation for ***"));
}

TEST_CASE("nats: servers that do not let us in")
{
    for (const auto& row : std::initializer_list<std::tuple<std::string, Error, std::string>>{
             {"", Error::connect_failed, "the server had not let us in yet"},
             {"INFO {}", Error::connect_failed, "the server had not let us in yet"},
             {"-ERR 'maximum connections exceeded'\r\n", Error::connect_failed,
              "\"maximum connections exceeded\""},
             {"SSH-2.0-OpenSSH_9.2\r\n", Error::protocol_violation, "\"SSH-2.0-OpenSSH_9.2\""},
             {"PING\r\n", Error::protocol_violation, "a line that is not one INFO before ours"},
             {"INFO {\"a\r\n", Error::protocol_violation, "no JSON object"},
             {std::string(300'000, 'x'), Error::protocol_violation, "too long"},
             {"INFO {\"tls_required\":true}\r\nPONG\r\n", Error::protocol_violation,
              "a line that is not one INFO before ours"},
             {"INFO {\"tls_required\":true}\r\nPO", Error::protocol_violation,
              "bytes before TLS began"},
             {info + info, Error::protocol_violation, "a line that is not one INFO before ours"},
             {info + "-ERR 'Slow Consumer'\r\n", Error::connect_failed, "Slow Consumer"},
             {info + "MSG a 1 0\r\n\r\n", Error::protocol_violation,
              "a message before it let us in"}}) {
        const auto& greeting = std::get<0>(row); // clang 14 captures no structured binding
        const auto error = std::get<1>(row);
        const auto& part = std::get<2>(row);
        CAPTURE(greeting.substr(0, 60));
        const auto failure = refused([&](RawConnection& c) {
            c.send(greeting);
            c.half_close();
            c.wait_for_end();
        });
        CHECK(failure == error);
        CHECK_MESSAGE(contains(failure.message(), part), failure.message());
        CHECK(contains(failure.message(), "nats://127.0.0.1:"));
    }
}

TEST_CASE("nats: tls:// with a server that has no TLS")
{
    RawPeer peer{[&](RawConnection& c) {
        c.send(info);
        c.wait_for_end();
    }};
    Sidecar<Nats> feed{{.url = fmt::format("tls://127.0.0.1:{}", peer.port()),
                        .tls = {.insecure_skip_verification = true}},
                       silent_options()};
    const auto started = feed.start(10s);
    CHECK(started == Error::tls_failed);
}

TEST_CASE("nats: what ends a connection, and whether it heals")
{
    const auto check = [](const std::string& bytes, Error error, bool heals,
                          std::string_view part) {
        CAPTURE(bytes);
        const auto failure = ends_with(bytes);
        CHECK(failure == error);
        CHECK(is_retryable(failure) == heals);
        CHECK_MESSAGE(contains(failure.message(), part), failure.message());
    };
    check("-ERR 'Stale Connection'\r\n", Error::closed_by_peer, true, "Stale Connection");
    check("-ERR 'Slow Consumer'\r\n", Error::closed_by_peer, true, "Slow Consumer");
    check("-ERR 'User Authentication Expired'\r\n", Error::closed_by_peer, true, "Expired");
    check("-ERR 'Authorization Violation'\r\n", Error::login_refused, false, "Authorization");
    check("-ERR 'Maximum Payload Violation'\r\n", Error::too_big, false, "Maximum Payload");
    check("MSG a 1 2\r\nhello\r\n", Error::protocol_violation, true, "no CR LF");
    check("MSG a 1 9999999\r\n", Error::too_big, false, "max_message_bytes");
}

TEST_CASE("nats: an error that a permission makes is logged, and the link goes on")
{
    RawPeer peer{[&](RawConnection& c) {
        let_in(c);
        std::string errors;
        for (int i = 0; i < 40; ++i)
            errors += "-ERR 'Permissions Violation for Publish to \"secret.place\"'\r\n";
        c.send(errors + "MSG a 1 2\r\nhi\r\n");
        confirm_close(c);
    }};
    std::mutex mutex;
    std::vector<std::string> lines;
    Sidecar<Nats> feed{to(peer), {.log = [&](LogLevel level, std::string_view text) {
                           const std::lock_guard lock{mutex};
                           if (level == LogLevel::error)
                               lines.emplace_back(text);
                       }}};
    REQUIRE(feed.start(10s));
    CHECK(feed.receive(10s).value().text() == "hi");
    CHECK(feed.stop().clean());
    CHECK(lines.size() == 16);
    CHECK(contains(lines.front(), "Permissions Violation for Publish"));
    CHECK(contains(lines.back(), "no more of these"));
}

TEST_CASE("nats: pings find a server that is silent, and a PONG keeps the link")
{
    RawPeer peer{[&](RawConnection& c) {
        let_in(c);
        for (int i = 0; i < 3; ++i) {
            CHECK(c.read_until("\r\n") == "PING\r\n");
            c.send("PONG\r\n");
        }
        c.wait_for_end(); // and says nothing more
    }};
    auto options = silent_options();
    options.ping_interval = 20ms;
    options.ping_timeout = 100ms;
    Sidecar<Nats> feed{to(peer), options};
    REQUIRE(feed.start(10s));
    const auto ended = feed.receive(10s);
    CHECK(ended == Error::unresponsive);
    CHECK(feed.stats().round_trips.count == 3);
}

TEST_CASE("nats: a server in lame duck mode is left when it has all, and another is found")
{
    std::promise<std::string> written;
    RawPeer other{[&](RawConnection& c) {
        let_in(c);
        c.send("MSG b 1 5\r\nother\r\n");
        confirm_close(c);
    }};
    RawPeer duck{[&](RawConnection& c) {
        let_in(c);
        auto text = c.read_until("one\r\n");
        c.send(fmt::format("INFO {{\"ldm\":true,\"connect_urls\":[\"127.0.0.1:{}\"]}}\r\n",
                           other.port()));
        text += c.read_until("PING\r\n");
        c.send("MSG a 1 4\r\nlast\r\nPONG\r\n"); // what came before the PONG is delivered
        written.set_value(text);
        c.wait_for_end();
    }};
    auto options = silent_options();
    options.reconnect = Reconnect{.window = 1ms, .max_window = 1ms};
    Sidecar<Nats> feed{to(duck), options};
    REQUIRE(feed.start(10s));
    REQUIRE(feed.send("one", {.topic = "t"}));
    CHECK(written.get_future().get() == "PUB t 3\r\none\r\nPING\r\n");
    using Kind = Event::Kind;
    std::string seen;
    for (int messages = 0; messages < 2;) {
        const auto event = feed.next_event(10s).value();
        if (event.kind == Kind::message) {
            ++messages;
            seen += std::string{event.message.text()} + ";";
        } else if (event.kind == Kind::down) {
            CHECK(contains(event.failure->message(), "lame duck"));
            seen += "down;";
        } else if (event.kind == Kind::up) {
            seen += fmt::format("up {};", to_string(event.continuity));
        }
    }
    CHECK(seen == "up first;last;down;up unknown;other;");
    CHECK(feed.stop().clean());
}

TEST_CASE("nats: a server that refuses or is silent costs little when there are others")
{
    RawPeer good{[&](RawConnection& c) {
        let_in(c);
        confirm_close(c);
    }};
    RawPeer silent{[&](RawConnection& c) { c.wait_for_end(); }};
    RawPeer full{[&](RawConnection& c) { c.send("-ERR 'maximum connections exceeded'\r\n"); }};
    const auto url = [](const RawPeer& peer) {
        return fmt::format("nats://127.0.0.1:{}", peer.port());
    };
    Sidecar<Nats> feed{{.url = url(full) + "," + url(silent) + "," + url(good), .keep_order = true},
                       silent_options()};
    const auto began = std::chrono::steady_clock::now();
    REQUIRE(feed.start(4s));
    CHECK(std::chrono::steady_clock::now() - began < 3s);
    CHECK(feed.stop().clean());
}

TEST_CASE("nats: when no server lets us in, the failure is the last one's")
{
    RawPeer one{[&](RawConnection& c) { c.send("-ERR 'maximum connections exceeded'\r\n"); }};
    RawPeer two{[&](RawConnection& c) { c.send("nonsense\r\n"); }};
    Sidecar<Nats> feed{
        {.url = fmt::format("nats://127.0.0.1:{},nats://127.0.0.1:{}", one.port(), two.port()),
         .keep_order = true},
        silent_options()};
    const auto started = feed.start(10s);
    CHECK(started == Error::protocol_violation);
    CHECK(contains(started.error().message(), std::to_string(two.port())));
}

TEST_CASE("nats: a stop beside a server that never confirms ends in time, and is not clean")
{
    RawPeer peer{[&](RawConnection& c) {
        let_in(c);
        c.wait_for_end();
    }};
    Sidecar<Nats> feed{to(peer), silent_options({.total = 2s, .drain = 50ms, .close = 100ms})};
    REQUIRE(feed.start(10s));
    CHECK(!feed.stop().clean());
}

} // namespace wire_test
