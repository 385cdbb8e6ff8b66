// Control frames of the peer's, also when the application has no time for its messages.
#include "client_frames.hpp"
#include "support/failure_of.hpp"
#include "support/raw_peer.hpp"
#include "support/signal_once.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>

#include <sys/socket.h>

#include <atomic>
#include <set>

namespace ping_test {

using namespace sidecar;
using namespace std::chrono_literals;

using Client = Sidecar<WebSocket>;

Options small_inbox()
{
    auto options = silent_options();
    options.inbox = {.bytes = 64u << 10, .messages = 8};
    return options;
}

/// What the peer sends to an application that computes; then it pings, three times, and wants its
/// answers one by one.
struct Busy {
    std::vector<std::string> before;  ///< one write each
    std::vector<std::string> between; ///< behind each ping but the last
    std::vector<std::string> after;
    std::vector<std::string> messages; ///< that all this is
};

void check_busy(const Busy& busy)
{
    SignalOnce is_answered;
    std::atomic<int> answers = 0;
    std::vector<std::string> rest;
    {
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            for (const auto& bytes : busy.before)
                c.send(bytes);
            for (std::size_t i = 0; i < 3; ++i) {
                const auto name = "ping " + std::to_string(i);
                c.send(frame(0x89, name));
                const auto pong = read_client_frame(c);
                answers += pong.first_byte == 0x8a && pong.payload == name;
                if (i < busy.between.size())
                    c.send(busy.between[i]);
            }
            is_answered.give();
            for (const auto& bytes : busy.after)
                c.send(bytes);
            for (auto next = read_client_frame(c); !next.is_close(); next = read_client_frame(c))
                rest.push_back(next.payload);
            c.send(frame(0x88, "\x03\xe8"));
        }};
        Client feed{{.url = peer.url(), .max_message_bytes = 10'000}, small_inbox()};
        REQUIRE(feed.start(10s));
        is_answered.wait(); // it computes, for at most 20 s
        for (const auto& expected : busy.messages) {
            const auto message = feed.receive(10s);
            REQUIRE(message.has_value());
            CHECK((message->text() == expected));
        }
        CHECK(feed.stop().clean());
    }
    CHECK(answers == 3);
    CHECK(rest.empty()); // none was answered twice
}

TEST_CASE("ping: is answered while the inbox is full, of messages in one burst")
{
    Busy busy;
    busy.before.emplace_back();
    for (int i = 0; i < 100; ++i) {
        busy.messages.push_back("message " + std::to_string(i));
        busy.before[0] += frame(0x81, busy.messages.back());
    }
    for (int i = 0; i < 3; ++i) {
        busy.messages.push_back("later " + std::to_string(i));
        busy.between.push_back(frame(0x82, busy.messages.back()));
    }
    check_busy(busy);
}

TEST_CASE("ping: is answered while the inbox is full, of messages that came one by one")
{
    Busy busy;
    for (int i = 0; i < 12; ++i) {
        busy.messages.push_back(std::string(5000, static_cast<char>('a' + i)));
        busy.before.push_back(frame(0x81, busy.messages.back()));
    }
    check_busy(busy);
}

TEST_CASE("ping: is answered while the inbox is full and a fragmented message is under way")
{
    Busy busy;
    for (int i = 0; i < 12; ++i) {
        const auto name = "message " + std::to_string(i);
        busy.messages.push_back(name + name + name);
        busy.before.push_back(frame(0x01, name) + frame(0x00, name) + frame(0x80, name));
    }
    busy.before.push_back(frame(0x02, "beg"));
    busy.between.push_back(frame(0x00, "un"));
    busy.after.push_back(frame(0x80, ""));
    busy.messages.push_back("begun");
    check_busy(busy);
}

TEST_CASE("ping: is answered while the inbox is full and large messages are received in place")
{
    Busy busy;
    for (int i = 0; i < 12; ++i) {
        busy.messages.push_back(std::string(10'000, static_cast<char>('a' + i)));
        const auto whole = frame(0x82, busy.messages.back());
        busy.before.push_back(whole.substr(0, 3000));
        busy.before.push_back(whole.substr(3000));
    }
    check_busy(busy);
}

TEST_CASE("ping: two hundred thousand of a peer that never reads hold nothing up")
{
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        std::string pings;
        for (int i = 0; i < 1000; ++i)
            pings += frame(0x89, std::string(125, 'p'));
        for (int i = 0; i < 200; ++i)
            c.send(pings);
        c.send(frame(0x81, "behind them"));
        c.wait_for_end();
    }};
    Client feed{{.url = peer.url()}, silent_options()};
    REQUIRE(feed.start(10s));
    CHECK(feed.receive(30s).value().text() == "behind them");
    CHECK(feed.stop().joined);
}

TEST_CASE("ping: of a thousand that come at once the first and the latest are answered, in order")
{
    std::vector<std::string> answers;
    {
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            std::string pings;
            for (int i = 0; i < 1000; ++i)
                pings += frame(0x89, "first " + std::to_string(i));
            c.send(pings);
            do
                answers.push_back(read_client_frame(c).payload);
            while (answers.back() != "first 999");
            for (int i = 0; i < 10; ++i) {
                c.send(frame(0x89, "second"));
                CHECK(read_client_frame(c).payload == "second");
            }
            c.send(frame(0x88, ""));
            c.wait_for_end();
        }};
        Client feed{{.url = peer.url()}, silent_options()};
        REQUIRE(feed.start(10s));
        CHECK(failure_of(feed) == Error::closed_by_peer);
    }
    REQUIRE(answers.size() >= 16);
    for (std::size_t i = 0; i < 15; ++i)
        CHECK(answers[i] == "first " + std::to_string(i));
    CHECK(answers.back() == "first 999");
}

TEST_CASE("ping: each is answered, in order, were they sent in one write or by the octet")
{
    for (const bool is_trickled : {false, true}) {
        std::string pings;
        std::vector<std::string> sent, heard;
        for (int i = 0; i < 10; ++i) {
            sent.push_back("payload-" + std::to_string(i));
            pings += frame(0x89, sent.back());
        }
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            if (is_trickled)
                c.trickle(pings);
            else
                c.send(pings);
            for (int i = 0; i < 10; ++i)
                heard.push_back(read_client_frame(c).payload);
            c.send(frame(0x88, ""));
            c.wait_for_end();
        }};
        Client feed{{.url = peer.url()}, silent_options()};
        REQUIRE(feed.start(10s));
        CHECK(failure_of(feed) == Error::closed_by_peer);
        CHECK(heard == sent);
    }
}

TEST_CASE("ping: each is answered, in order, while the inbox is full")
{
    SignalOnce is_answered;
    std::vector<std::string> sent, heard;
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        std::string bytes;
        for (int i = 0; i < 100; ++i)
            bytes += frame(0x81, "message");
        for (int i = 0; i < 12; ++i) {
            sent.push_back("payload-" + std::to_string(i));
            bytes += frame(0x89, sent.back()) + frame(0x82, "between");
        }
        c.send(bytes);
        for (int i = 0; i < 12; ++i)
            heard.push_back(read_client_frame(c).payload);
        is_answered.give();
        c.wait_for_end();
    }};
    Client feed{{.url = peer.url(), .max_message_bytes = 10'000}, small_inbox()};
    REQUIRE(feed.start(10s));
    is_answered.wait();
    CHECK(heard == sent);
}

TEST_CASE(
    "ping: is answered between the fragments of large messages, which arrive as they were sent")
{
    constexpr int count = 4;
    std::string large(3u << 20, '\0');
    for (std::size_t i = 0; i < large.size(); ++i)
        large[i] = static_cast<char>(i * 31 >> 3);
    std::vector<ClientFrame> frames;
    {
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            for (int messages = 0; messages < count;) {
                c.send(frame(0x89, "p"));
                frames.push_back(read_client_frame(c));
                messages += frames.back().first_byte == 0x80;
            }
            c.send(frame(0x89, "last"));
            do
                frames.push_back(read_client_frame(c));
            while (frames.back().payload != "last");
            c.send(frame(0x88, ""));
            frames.push_back(read_client_frame(c));
        }};
        auto options = silent_options();
        options.outbox = {.bytes = 32u << 20, .messages = 100};
        Client feed{{.url = peer.url()}, options};
        REQUIRE(feed.start(10s));
        for (int i = 0; i < count; ++i)
            REQUIRE(feed.send(std::as_bytes(std::span{large})));
        CHECK(failure_of(feed) == Error::closed_by_peer);
        CHECK(feed.stats().messages_sent == count);
    }
    int messages = 0, pongs_within = 0;
    std::string message;
    for (const auto& one : frames) {
        if (one.first_byte == 0x8a) {
            pongs_within += !message.empty();
            continue;
        }
        if (one.is_close())
            continue;
        CHECK(one.first_byte
              == ((message.empty() ? 0x02u : 0u)
                  | (message.size() + one.payload.size() == large.size() ? 0x80u : 0u)));
        message += one.payload;
        if (message.size() == large.size()) {
            ++messages;
            CHECK((std::exchange(message, {}) == large));
        }
    }
    CHECK(messages == count);
    CHECK(pongs_within > 0);
}

TEST_CASE("ping: the pong to a peer that reads slowly waits for a fragment, not for 16 MiB")
{
    constexpr std::size_t size = 16u << 20;
    std::size_t between = 0, pieces = 0;
    RawPeer peer{[&](RawConnection& c) {
        const int small = 64 << 10;
        ::setsockopt(c.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        c.accept_websocket();
        (void)read_client_frame(c);
        c.send(frame(0x89, "now"));
        for (auto next = read_client_frame(c); next.first_byte != 0x8a; ++pieces) {
            between += next.payload.size();
            next = read_client_frame(c);
        }
        for (auto next = read_client_frame(c); next.first_byte != 0x80;)
            next = read_client_frame(c);
        c.send(frame(0x88, ""));
        c.wait_for_end();
    }};
    auto options = silent_options();
    options.outbox = {.bytes = 64u << 20, .messages = 10};
    Client feed{{.url = peer.url(), .socket = {.send_buffer_bytes = 64u << 10}}, options};
    REQUIRE(feed.start(10s));
    REQUIRE(feed.send(std::string(size, 'x')));
    CHECK(failure_of(feed) == Error::closed_by_peer);
    CAPTURE(pieces);
    CHECK(between < size / 8);
}

TEST_CASE("mask: the keys of thousands of data frames, pongs and the Close differ")
{
    constexpr int count = 10'000, pings = 1000;
    std::set<std::string> keys;
    {
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            for (int i = 0; i < count; ++i)
                keys.insert(read_client_frame(c).key);
            for (int i = 0; i < pings; ++i) {
                c.send(frame(0x89, ""));
                keys.insert(read_client_frame(c).key);
            }
            c.send(frame(0x88, ""));
            keys.insert(read_client_frame(c).key);
        }};
        Client feed{{.url = peer.url()}, silent_options()};
        REQUIRE(feed.start(10s));
        for (int i = 0; i < count; ++i)
            REQUIRE(feed.send("x", 10s));
        CHECK(failure_of(feed) == Error::closed_by_peer);
    }
    // of four billion: a pair is no wonder, three would be
    CHECK(keys.size() >= count + pings + 1 - 2);
}

} // namespace ping_test
