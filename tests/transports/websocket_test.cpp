#include "dense_streams.hpp"
#include "raw_peer.hpp"
#include "support/sanitized.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <cstdio>
#include <latch>
#include <memory>
#include <sys/socket.h>
#include <sys/time.h>
#include <thread>

using namespace sidecar;
using namespace std::chrono_literals;
using Feed = sidecar::Sidecar<WebSocket>;

namespace {

Options quiet()
{
    return {.log = [](LogLevel, std::string_view) {}};
}

/// The Python peer; it ends with this process.
class PythonPeer {
public:
    PythonPeer()
    {
        int port = 0;
        if (!pipe_ || std::fscanf(pipe_, "%d", &port) != 1)
            throw std::runtime_error{"the Python peer does not start"};
        url = "ws://127.0.0.1:" + std::to_string(port) + "/";
    }
    PythonPeer(const PythonPeer&) = delete;
    PythonPeer& operator=(const PythonPeer&) = delete;
    int close_code()
    {
        int code = 0;
        return std::fscanf(pipe_, " closed %d", &code) == 1 ? code : -1;
    }
    std::string url;

private:
    std::FILE* pipe_ = ::popen("exec /usr/bin/python3 " SIDECAR_ECHO_SERVER, "r");
};

Failure failure_of(Feed& feed)
{
    for (;;) {
        auto message = feed.receive(10s);
        if (!message)
            return message.error();
    }
}

/// What a feed ends with after the handshake and these bytes.
Failure ends_with(std::string bytes, bool is_reset = false)
{
    std::latch done{1};
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        c.send(bytes);
        if (is_reset) {
            done.wait();
            c.reset();
        } else {
            c.half_close();
            c.wait_for_end();
        }
    }};
    Feed feed{{.url = peer.url(), .max_message_bytes = 1000}, quiet()};
    feed.start(10s).value();
    done.count_down();
    return failure_of(feed);
}

} // namespace

TEST_CASE(
    "websocket: talks with an independent peer: text, bytes, empty, large, ping, fragments, close")
{
    PythonPeer peer;
    Feed feed{{.url = peer.url}, quiet()};
    REQUIRE(feed.start(10s));
    const std::string large(900'000, 'L');
    for (const std::string& text :
         {std::string{"hello"}, std::string{}, large, std::string{"gr\xc3\xbc\xc3\x9f"}}) {
        REQUIRE(feed.send(text));
        const auto echo = feed.receive(10s);
        REQUIRE(echo.has_value());
        CHECK(echo->text() == text);
        CHECK(echo->kind() == MessageKind::text);
    }
    const std::string binary("\0\xff\x01", 3);
    REQUIRE(feed.send(std::as_bytes(std::span{binary})));
    const auto echo = feed.receive(10s);
    CHECK(echo->text() == binary);
    CHECK(echo->kind() == MessageKind::bytes);
    REQUIRE(feed.send("ping me"));
    CHECK(feed.receive(10s)->text() == "you answered");
    REQUIRE(feed.send("in fragments"));
    CHECK(feed.receive(10s)->text() == "one two three");
    const auto report = feed.stop();
    CHECK(report.clean());
    CHECK(peer.close_code() == 1000);

    REQUIRE(feed.start(10s));
    REQUIRE(feed.send("close"));
    const auto failure = failure_of(feed);
    CHECK(failure == Error::closed_by_peer);
    CHECK(failure.close_code() == 4001);
    CHECK(failure.close_reason() == "as you wish");
    feed.stop();
    CHECK(peer.close_code() == 4001);
}

TEST_CASE("websocket: what was sent before the stop arrives before the close frame")
{
    std::string received;
    {
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            for (;;) { // every frame of a client is masked
                const auto head = c.read(2);
                const auto key = c.read(4);
                auto payload = c.read(static_cast<unsigned char>(head[1]) & 0x7f);
                for (std::size_t i = 0; i < payload.size(); ++i)
                    payload[i] = static_cast<char>(payload[i] ^ key[i % 4]);
                if (static_cast<unsigned char>(head[0]) == 0x88) {
                    received += "|close";
                    c.send(frame(0x88, payload));
                    return;
                }
                received += payload;
            }
        }};
        Feed feed{{.url = peer.url()}, quiet()};
        REQUIRE(feed.start(10s));
        for (int i = 0; i < 1000; ++i)
            REQUIRE(feed.send("x"));
        const auto report = feed.stop();
        CHECK(report.clean());
        CHECK(report.unsent_messages == 0);
    }
    CHECK(received == std::string(1000, 'x') + "|close");
}

TEST_CASE("websocket: a URL that cannot be used is told from start, with the reason")
{
    const auto why = [](std::string url) {
        Feed feed{{.url = std::move(url)}, quiet()};
        const auto started = feed.start(1s);
        REQUIRE_FALSE(started);
        CHECK(started.error() == Error::bad_address);
        return started.error().message();
    };
    CHECK(why("nonsense").find("nonsense") != std::string::npos);
    CHECK(why("http://x/").find("scheme") != std::string::npos);
    CHECK(why("wss://x/").find("TLS") != std::string::npos);
    CHECK(why("ws://x:99999/").find("99999") != std::string::npos);
    CHECK(why("ws:///path").find("host") != std::string::npos);
    CHECK(why("ws://a:b@x/").find("Authorization") != std::string::npos);
    CHECK(why("ws://x/#f").find("fragment") != std::string::npos);
    Feed feed{{.url = "ws://x/", .headers = {{"A", "b\r\nC: d"}}}, quiet()};
    CHECK(feed.start(1s).error() == Error::bad_options);
}

TEST_CASE("websocket: the request names host, resource and the headers asked for")
{
    std::string request;
    {
        RawPeer peer{[&](RawConnection& c) {
                         request = c.accept_websocket();
                         c.wait_for_end();
                     },
                     true};
        Feed feed{{.url = peer.url() + "a%20b?c=d", .headers = {{"Authorization", "Bearer x"}}},
                  quiet()};
        REQUIRE(feed.start(10s));
    }
    CHECK(request.starts_with("GET /a%20b?c=d HTTP/1.1\r\n"));
    CHECK(request.find("Host: [::1]:") != std::string::npos);
    CHECK(request.find("Authorization: Bearer x\r\n") != std::string::npos);
}

TEST_CASE("websocket: refused, unresolvable, refusing and nonsensical peers are told apart")
{
    std::uint16_t closed_port = 0;
    {
        RawPeer gone{[](RawConnection&) {}};
        closed_port = gone.port();
    }
    Feed refused{{.url = "ws://127.0.0.1:" + std::to_string(closed_port)}, quiet()};
    const auto failure = refused.start(10s).error();
    CHECK(failure == Error::connect_failed);
    CHECK(failure.cause() == boost::asio::error::connection_refused);

    auto options = quiet();
    options.lookup = [](const std::string&) -> std::vector<boost::asio::ip::address> {
        throw std::runtime_error{"no such name"};
    };
    Feed nowhere{{.url = "ws://nowhere.example/"}, options};
    const auto unresolved = nowhere.start(10s).error();
    CHECK(unresolved == Error::lookup_failed);
    CHECK(unresolved.message().find("nowhere.example") != std::string::npos);
    CHECK(unresolved.message().find("no such name") != std::string::npos);

    const auto handshake = [](std::string answer) {
        RawPeer peer{[&](RawConnection& c) {
            c.read_until("\r\n\r\n");
            c.send(answer);
            c.half_close();
            c.wait_for_end();
        }};
        Feed feed{{.url = peer.url()}, quiet()};
        return feed.start(10s).error();
    };
    const auto forbidden = handshake("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    CHECK(forbidden == Error::handshake_refused);
    CHECK(forbidden.message().find("403 Forbidden") != std::string::npos);
    CHECK(handshake("SSH-2.0-OpenSSH_9.2\r\n\r\n") == Error::handshake_refused);
    CHECK(
        handshake(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        == Error::handshake_refused);
    CHECK(handshake("HTTP/1.1 101 Switching Protocols\r\nX: " + std::string(100'000, 'x'))
          == Error::handshake_refused);
    CHECK(handshake("") == Error::connect_failed);
}

TEST_CASE("websocket: a handshake that is never answered ends at start's timeout, which says where "
          "it stood")
{
    RawPeer peer{[](RawConnection& c) { c.wait_for_end(); }};
    Feed feed{{.url = peer.url()}, quiet()};
    const auto late = feed.start(50ms);
    CHECK(late.error() == Error::timed_out);
    CHECK(late.error().message().find("in the handshake") != std::string::npos);
}

TEST_CASE("websocket: names are resolved by the lookup hook, and every address is tried")
{
    RawPeer peer{[](RawConnection& c) {
        c.accept_websocket();
        c.wait_for_end();
    }};
    auto options = quiet();
    options.lookup = [](const std::string&) {
        return std::vector{boost::asio::ip::make_address("127.0.0.2"),
                           boost::asio::ip::make_address("127.0.0.1")};
    };
    Feed feed{{.url = "ws://name.example:" + std::to_string(peer.port())}, options};
    CHECK(feed.start(10s));
}

TEST_CASE("websocket: a look-up that never returns holds up neither start's timeout nor the stop")
{
    auto release = std::make_shared<std::latch>(1);
    auto options = quiet();
    options.lookup = [release](const std::string&) {
        release->wait();
        return std::vector<boost::asio::ip::address>{};
    };
    {
        Feed feed{{.url = "ws://slow.example/"}, options};
        const auto began = std::chrono::steady_clock::now();
        const auto late = feed.start(50ms);
        CHECK(late.error() == Error::timed_out);
        CHECK(late.error().message().find("resolving") != std::string::npos);
        CHECK(std::chrono::steady_clock::now() - began < 1s);
    }
    release->count_down();
}

TEST_CASE("websocket: broken streams end the link with what was wrong")
{
    CHECK(ends_with("") == Error::disconnected);
    CHECK(ends_with(frame(0x81, "whole") + std::string{"\x81\x05half"}) == Error::disconnected);
    CHECK(ends_with(std::string{"\x81\x7e\x01"}) == Error::disconnected);
    CHECK(ends_with("\x81\x05h", true) == Error::disconnected);
    CHECK(ends_with(frame(0x81, std::string(1001, 'x'))) == Error::too_big);
    CHECK(ends_with(frame(0x01, std::string(600, 'x')) + frame(0x80, std::string(600, 'x')))
          == Error::too_big);
    CHECK(ends_with(std::string("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10)) == Error::too_big);
    CHECK(ends_with(frame(0xc1, "reserved bit")) == Error::protocol_violation);
    CHECK(ends_with(frame(0x83, "unknown opcode")) == Error::protocol_violation);
    CHECK(ends_with(frame(0x80, "continues nothing")) == Error::protocol_violation);
    CHECK(ends_with(frame(0x89, std::string(126, 'p'))) == Error::protocol_violation);
    CHECK(ends_with(std::string("\x81\x81\0\0\0\0x", 7)) == Error::protocol_violation);
    CHECK(ends_with(std::string("\x81\x7e\0\x01x", 5)) == Error::protocol_violation);
    CHECK(ends_with(frame(0x81, "\xff\xfe")) == Error::protocol_violation);
    const auto closed = ends_with(frame(0x88, "\x03\xe9"
                                              "bye"));
    CHECK(closed == Error::closed_by_peer);
    CHECK(closed.close_code() == 1001);
    CHECK(closed.close_reason() == "bye");
}

TEST_CASE("websocket: plain messages, fragments and pings mix, byte by byte, in order")
{
    const auto stream = frame(0x81, "1") + frame(0x89, "ping") + frame(0x82, "2")
                        + frame(0x01, "3a") + frame(0x8a, "") + frame(0x80, "3b") + frame(0x81, "")
                        + frame(0x81, std::string(300, '4')) + frame(0x89, "") + frame(0x81, "5");
    for (const bool is_slow : {false, true}) {
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            is_slow ? c.trickle(stream) : c.send(stream);
            c.wait_for_end();
        }};
        Feed feed{{.url = peer.url()}, quiet()};
        REQUIRE(feed.start(10s));
        for (const auto& expected : {std::string{"1"}, std::string{"2"}, std::string{"3a3b"},
                                     std::string{}, std::string(300, '4'), std::string{"5"}})
            CHECK(feed.receive(10s).value().text() == expected);
    }
}

TEST_CASE("websocket: the dense streams of several links arrive as they were sent, with pings and "
          "fragments among them")
{
    const auto talk = [](unsigned stream) {
        return [stream](RawConnection& c) {
            c.accept_websocket();
            std::string bytes;
            for (unsigned i = 0; i < dense_count; ++i) {
                const auto message = dense_message(stream, i);
                if (i % 97 == 0)
                    bytes += frame(0x89, "ping");
                if (i % 101 == 0)
                    bytes += frame(0x02, message.substr(0, message.size() / 2))
                             + frame(0x80, message.substr(message.size() / 2));
                else
                    bytes += frame(0x82, message);
            }
            send_in_pieces(c, bytes);
            c.wait_for_end();
        };
    };
    for (const std::size_t inbox_bytes : {64u << 10, 8u << 20}) {
        CAPTURE(inbox_bytes);
        RawPeer first{talk(0)}, second{talk(1)}, third{talk(2)};
        auto options = quiet();
        options.inbox.bytes = inbox_bytes;
        Feed feed{{.url = first.url(), .max_message_bytes = 2000}, options};
        REQUIRE(feed.start(10s));
        auto second_link = feed.open({.url = second.url(), .max_message_bytes = 2000}, 10s);
        auto third_link = feed.open({.url = third.url(), .max_message_bytes = 2000}, 10s);
        REQUIRE(second_link);
        REQUIRE(third_link);
        check_dense_streams(feed, {LinkId{0}, second_link->id(), third_link->id()});
    }
}

TEST_CASE("websocket: frames that come in the same segment as the handshake's answer are not lost")
{
    RawPeer peer{[](RawConnection& c) {
        // Both parts in one write, as a busy server sends them: hold the answer back by corking.
        const int on = 1, off = 0;
        ::setsockopt(c.fd(), 6, 3, &on, sizeof on); // TCP_CORK
        c.accept_websocket();
        c.send(frame(0x81, "early") + frame(0x89, "p") + frame(0x81, "bird"));
        ::setsockopt(c.fd(), 6, 3, &off, sizeof off);
        c.wait_for_end();
    }};
    Feed feed{{.url = peer.url()}, quiet()};
    REQUIRE(feed.start(10s));
    CHECK(feed.receive(10s).value().text() == "early");
    CHECK(feed.receive(10s).value().text() == "bird");
}

TEST_CASE("websocket: a full inbox pauses reading, and nothing is lost")
{
    constexpr int count = 20'000;
    RawPeer peer{[](RawConnection& c) {
        c.accept_websocket();
        std::string burst;
        for (int i = 0; i < count; ++i)
            burst += frame(0x81, std::to_string(i));
        c.send(burst);
        c.wait_for_end();
    }};
    auto options = quiet();
    options.inbox = {.bytes = 1 << 16, .messages = 100};
    Feed feed{{.url = peer.url(), .max_message_bytes = 1000}, options};
    REQUIRE(feed.start(10s));
    for (const auto give_up = std::chrono::steady_clock::now() + 10s;
         feed.stats().reading_pauses == 0 && std::chrono::steady_clock::now() < give_up;)
        std::this_thread::sleep_for(1ms);
    CHECK(feed.stats().reading_pauses == 1);
    bool in_order = true;
    for (int i = 0; i < count; ++i)
        in_order &= feed.receive(10s).value().text() == std::to_string(i);
    CHECK(in_order);
    CHECK(feed.stats().inbox_peak_messages <= 100);
}

TEST_CASE("websocket: text that is not UTF-8 is refused before it is queued")
{
    RawPeer peer{[](RawConnection& c) {
        c.accept_websocket();
        c.wait_for_end();
    }};
    Feed feed{{.url = peer.url()}, quiet()};
    REQUIRE(feed.start(10s));
    CHECK(feed.send("\xff").error() == Error::bad_message);
    CHECK(feed.stats().messages_queued == 0);
    CHECK(feed.stats().sends_refused == 1);
}

TEST_CASE(
    "websocket: frames behind a long answer to the handshake are not lost, however long it is")
{
    for (const std::size_t padding : {0u, 1400u, 1500u, 3000u, 7000u}) {
        CAPTURE(padding);
        RawPeer peer{[&](RawConnection& c) {
            const auto request = c.read_until("\r\n\r\n");
            std::string text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: "
                               "websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                               + websocket_accept(request)
                               + "\r\nX-Padding: " + std::string(padding, 'p') + "\r\n\r\n";
            for (int i = 0; i < 5; ++i)
                text += frame(0x81, std::to_string(i));
            c.send(text);
            c.wait_for_end();
        }};
        Feed feed{{.url = peer.url()}, quiet()};
        REQUIRE(feed.start(10s));
        for (int i = 0; i < 5; ++i) {
            const auto message = feed.receive(10s);
            REQUIRE(message.has_value());
            CHECK(message->text() == std::to_string(i));
        }
    }
}

TEST_CASE("websocket: large messages that come in pieces are whole, among small ones, and in order")
{
    constexpr std::size_t sizes[] = {10, 40'000, 100, 200'000, 65'536, 0, 900'000, 33'000};
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        std::string stream;
        int kind = 0;
        for (const auto size : sizes) {
            stream += frame(kind % 2 == 0 ? 0x81 : 0x82,
                            std::string(size, static_cast<char>('a' + kind)));
            ++kind;
        }
        stream += frame(0x89, "ping");
        for (std::size_t at = 0; at < stream.size(); at += 7'001) {
            c.send(std::string_view{stream}.substr(at, 7'001));
            std::this_thread::yield();
        }
        c.wait_for_end();
    }};
    Feed feed{{.url = peer.url()}, quiet()};
    REQUIRE(feed.start(10s));
    int kind = 0;
    for (const auto size : sizes) {
        const auto message = feed.receive(10s);
        REQUIRE(message.has_value());
        CHECK(message->kind() == (kind % 2 == 0 ? MessageKind::text : MessageKind::bytes));
        CHECK((message->text() == std::string(size, static_cast<char>('a' + kind))));
        ++kind;
    }
}

TEST_CASE("websocket: a large text that is not UTF-8 ends the link, and the peer is told 1007")
{
    std::string answer;
    {
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            auto text = std::string(100'000, 'x');
            text.back() = '\xff';
            const auto whole = frame(0x81, text);
            c.send(std::string_view{whole}.substr(0, 50'000));
            c.send(std::string_view{whole}.substr(50'000));
            answer = c.read(8);
        }};
        Feed feed{{.url = peer.url()}, quiet()};
        REQUIRE(feed.start(10s));
        CHECK(failure_of(feed) == Error::protocol_violation);
        (void)peer.wait_for_ended(1);
    }
    REQUIRE(answer.size() == 8);
    CHECK(answer[0] == '\x88');
    CHECK(static_cast<char>(answer[6] ^ answer[2]) == '\x03'); // 1007 is 0x03ef
    CHECK(static_cast<char>(answer[7] ^ answer[3]) == '\xef');
}

TEST_CASE("websocket: a connection lost in the middle of a large message ends the link, and the "
          "memory is given back")
{
    for (const bool is_reset : {false, true}) {
        const auto failure = [&] {
            RawPeer peer{[&](RawConnection& c) {
                c.accept_websocket();
                c.send(frame(0x82, std::string(500'000, 'x')).substr(0, 300'000));
                if (is_reset)
                    c.reset();
                else
                    c.half_close();
                if (!is_reset)
                    c.wait_for_end();
            }};
            Feed feed{{.url = peer.url()}, quiet()};
            feed.start(10s).value();
            return failure_of(feed);
        }();
        CHECK(failure == Error::disconnected);
    }
}

TEST_CASE("websocket: a ping is no reason to stop reading while the peer does not read")
{
    std::latch is_blocked{1};
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        is_blocked.wait();
        c.send(frame(0x89, "p"));
        for (int i = 0; i < 5; ++i)
            c.send(frame(0x81, "after the ping"));
        c.wait_for_end();
    }};
    Feed feed{{.url = peer.url()}, quiet()};
    REQUIRE(feed.start(10s));
    const std::string block(100'000, 'z');
    while (feed.send(block, 200ms)) {
    }
    is_blocked.count_down();
    for (int i = 0; i < 5; ++i)
        CHECK(feed.receive(10s).has_value());
}

TEST_CASE(
    "websocket: a flood of pings from a peer that does not read takes no memory without bound")
{
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        std::string pings;
        for (int i = 0; i < 500; ++i)
            pings += frame(0x89, std::string(125, 'p'));
        timeval patience{.tv_sec = 0, .tv_usec = 300'000};
        ::setsockopt(c.fd(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        for (;;) // until it is not read from any more: then the send fails
            c.send(pings);
    }};
    Feed feed{{.url = peer.url()}, quiet()};
    REQUIRE(feed.start(10s));
    CHECK(peer.wait_for_ended(1));
    CHECK(feed.stop().joined);
}

TEST_CASE("stop: is not held up by what was read ahead, were it a hundred thousand empty fragments")
{
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        c.send(frame(0x01, ""));
        std::string fragments;
        for (int i = 0; i < 1000; ++i)
            fragments += frame(0x00, "");
        for (;;)
            c.send(fragments);
    }};
    Feed feed{{.url = peer.url()},
              {.stop = {.total = 600ms, .drain = 100ms, .close = 100ms, .cancel = 200ms},
               .log = [](LogLevel, std::string_view) {}}};
    REQUIRE(feed.start(10s));
    const auto report = feed.stop();
    CAPTURE(to_string(report));
    CHECK(report.joined);
    CHECK(report.cancel.took < promptly);
}
