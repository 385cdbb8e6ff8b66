// Messages over WebSocket: whole, in order, both ways.
#include "support/dense_streams.hpp"
#include "support/failure_of.hpp"
#include "support/python_peer.hpp"
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>

#include <thread>

namespace message_test {

using namespace sidecar;
using namespace std::chrono_literals;

TEST_CASE(
    "websocket: talks with an independent peer: text, bytes, empty, large, ping, fragments, close")
{
    PythonPeer peer;
    Sidecar<WebSocket> feed{{.url = peer.url}, silent_options()};
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
    CHECK(echo->kind() == MessageKind::binary);
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
        Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options()};
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
        auto options = silent_options();
        options.inbox.bytes = inbox_bytes;
        Sidecar<WebSocket> feed{{.url = first.url(), .max_message_bytes = 2000}, options};
        REQUIRE(feed.start(10s));
        auto second_link = feed.open({.url = second.url(), .max_message_bytes = 2000}, 10s);
        auto third_link = feed.open({.url = third.url(), .max_message_bytes = 2000}, 10s);
        REQUIRE(second_link);
        REQUIRE(third_link);
        check_dense_streams(feed, {LinkId{0}, second_link->id(), third_link->id()});
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
    Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options()};
    REQUIRE(feed.start(10s));
    int kind = 0;
    for (const auto size : sizes) {
        const auto message = feed.receive(10s);
        REQUIRE(message.has_value());
        CHECK(message->kind() == (kind % 2 == 0 ? MessageKind::text : MessageKind::binary));
        CHECK((message->text() == std::string(size, static_cast<char>('a' + kind))));
        ++kind;
    }
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
    auto options = silent_options();
    options.inbox = {.bytes = 1 << 16, .messages = 100};
    Sidecar<WebSocket> feed{{.url = peer.url(), .max_message_bytes = 1000}, options};
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
    Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options()};
    REQUIRE(feed.start(10s));
    CHECK(feed.send("\xff").error() == Error::bad_message);
    CHECK(feed.stats().messages_accepted == 0);
    CHECK(feed.stats().sends_refused == 1);
}

} // namespace message_test
