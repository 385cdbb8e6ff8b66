// Messages over TCP: whole, in order, both ways, until the stream ends or breaks.
#include "support/failure_of.hpp"
#include "support/raw_peer.hpp"
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"
#include "tcp_peer.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <future>
#include <latch>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

std::string echo(RawConnection& c, std::size_t bytes)
{
    auto text = c.read(bytes);
    c.send(text);
    return text;
}

template <class F>
Failure ends_with(F framing, std::string bytes)
{
    RawPeer peer{[&](RawConnection& c) {
        c.send(bytes);
        c.half_close();
        c.wait_for_end();
    }};
    Sidecar<Tcp<F>> feed{
        {.host = "127.0.0.1", .port = peer.port(), .framing = framing, .max_message_bytes = 1000},
        silent_options()};
    feed.start(10s).value();
    for (;;)
        if (auto message = feed.receive(10s); !message)
            return message.error();
}

} // namespace

TEST_CASE("tcp: messages go both ways, over IPv4, IPv6 and a name")
{
    for (const std::string host : {"127.0.0.1", "::1", "localhost"}) {
        CAPTURE(host);
        RawPeer peer{[](RawConnection& c) {
                         for (;;)
                             echo(c, 1);
                     },
                     host == "::1"};
        Sidecar<Tcp<LengthPrefix>> feed{{.host = host, .port = peer.port()}, silent_options()};
        REQUIRE(feed.start(10s));
        const std::string large(900'000, 'L');
        for (const std::string& text :
             {std::string{"hello"}, std::string{}, large.substr(0, 20'000)}) {
            REQUIRE(feed.send(text));
            CHECK(feed.receive(20s).value().text() == text);
        }
        CHECK(feed.stop().clean());
    }
}

TEST_CASE("tcp: a large message is gathered from many segments")
{
    const std::string large(900'000, 'L');
    RawPeer peer{[&](RawConnection& c) {
        echo(c, 4 + large.size());
        c.wait_for_end();
    }};
    Sidecar<Tcp<LengthPrefix>> feed{{.host = "127.0.0.1", .port = peer.port()}, silent_options()};
    REQUIRE(feed.start(10s));
    REQUIRE(feed.send(large));
    CHECK(feed.receive(10s).value().text() == large);
    CHECK(feed.stop().clean());
}

TEST_CASE("tcp: messages that trickle in byte by byte are whole and in order")
{
    RawPeer peer{[](RawConnection& c) {
        for (int i = 0; i < 300; ++i)
            c.trickle(framed(std::to_string(i)));
        c.wait_for_end();
    }};
    Sidecar<Tcp<LengthPrefix>> feed{to(peer), silent_options()};
    REQUIRE(feed.start(10s));
    for (int i = 0; i < 300; ++i)
        REQUIRE(feed.receive(10s).value().text() == std::to_string(i));
}

TEST_CASE(
    "tcp: a batch of every size arrives as it was sent, and flush says when the system has it")
{
    std::vector<std::string> messages;
    for (std::size_t i = 0; i < 2000; ++i)
        messages.push_back(
            std::string(i % 100 == 7 ? 100'000 + i : i % 50, static_cast<char>('a' + i % 26)));
    std::promise<bool> same;
    RawPeer peer{[&](RawConnection& c) {
        bool is_same = true;
        for (const auto& message : messages)
            is_same &= read_message(c) == message;
        same.set_value(is_same);
        c.wait_for_end();
    }};
    Sidecar<Tcp<LengthPrefix>> feed{to(peer), silent_options()};
    REQUIRE(feed.start(10s));
    for (const auto& message : messages)
        REQUIRE(feed.send(message, 10s));
    REQUIRE(feed.flush(10s));
    CHECK(feed.stats().messages_sent == messages.size());
    auto answer = same.get_future();
    REQUIRE(answer.wait_for(20s) == std::future_status::ready);
    CHECK(answer.get());
    CHECK(feed.stop().clean());
}

TEST_CASE("tcp: a message of exactly the limit comes in, one with a byte more ends the link")
{
    constexpr std::size_t size = 1u << 20;
    RawPeer peer{[&](RawConnection& c) {
        for (;;)
            c.send(framed(read_message(c)));
    }};
    Sidecar<Tcp<LengthPrefix>> feed{to(peer), silent_options()};
    REQUIRE(feed.start(10s));
    for (const char letter : {'a', 'b', 'c', 'd', 'e'}) {
        const std::string message(size, letter);
        REQUIRE(feed.send(message, 10s));
        CHECK((feed.receive(10s).value().text() == message));
    }
    // The limit is for what comes: this goes out, and what comes back is too much.
    REQUIRE(feed.send(std::string(size + 1, 'x'), 10s));
    CHECK(feed.receive(10s).error() == Error::too_big);
}

TEST_CASE("tcp: a burst of small messages takes few reads")
{
    constexpr int count = 100'000;
    RawPeer peer{[](RawConnection& c) {
        std::string burst;
        for (int i = 0; i < count; ++i)
            burst += std::string("\0\0\0\x40", 4) + std::string(64, 'x');
        c.send(burst);
        c.wait_for_end();
    }};
    Sidecar<Tcp<LengthPrefix>> feed{{.host = "127.0.0.1", .port = peer.port()}, silent_options()};
    REQUIRE(feed.start(10s));
    std::size_t seen = 0;
    while (seen < count) {
        REQUIRE(feed.receive(10s));
        seen += 1 + feed.poll([](const MessageView&) {}).value();
    }
    CHECK(seen == count);
    CHECK(feed.stats().reads < count / 20);
}

TEST_CASE("tcp: what the framing cannot carry is refused by send")
{
    RawPeer peer{[](RawConnection& c) { c.wait_for_end(); }};
    Sidecar<Tcp<Lines>> lines{{.host = "127.0.0.1", .port = peer.port()}, silent_options()};
    REQUIRE(lines.start(10s));
    CHECK(lines.send("a\nb").error() == Error::bad_message);
    lines.stop();
    Sidecar<Tcp<LengthPrefix>> bytes{
        {.host = "127.0.0.1", .port = peer.port(), .framing = {.width = 1}}, silent_options()};
    REQUIRE(bytes.start(10s));
    CHECK(bytes.send(std::string(256, 'x')).error() == Error::too_big);
    bytes.stop();
    Sidecar<Tcp<FixedSize<4>>> fixed{{.host = "127.0.0.1", .port = peer.port()}, silent_options()};
    REQUIRE(fixed.start(10s));
    CHECK(fixed.send("12345").error() == Error::bad_message);
}

TEST_CASE("tcp: the same object starts again, with a new connection and new counts")
{
    RawPeer peer{[](RawConnection& c) {
        c.send(framed("hello"));
        c.wait_for_end();
    }};
    Sidecar<Tcp<LengthPrefix>> feed{to(peer), silent_options()};
    for (int run = 0; run < 5; ++run) {
        REQUIRE(feed.start(10s));
        CHECK(feed.receive(10s).value().text() == "hello");
        CHECK(feed.stats().messages_received == 1);
        CHECK(feed.stop().clean());
    }
}

TEST_CASE("tcp: two links share one inbox, and each message says whose it is")
{
    const auto talk = [](std::string name) {
        return [name](RawConnection& c) {
            for (;;)
                c.send(framed(name + read_message(c)));
        };
    };
    RawPeer first{talk("1")}, second{talk("2")};
    Sidecar<Tcp<LengthPrefix>> feed{to(first), silent_options()};
    REQUIRE(feed.start(10s));
    auto link = feed.open(to(second), 10s);
    REQUIRE(link.has_value());
    REQUIRE(feed.send("a"));
    REQUIRE(link->send("b"));
    for (int i = 0; i < 2; ++i) {
        const auto message = feed.receive(10s).value();
        CHECK(message.text() == (message.link() == link->id() ? "2b" : "1a"));
    }
    CHECK(feed.stop().clean());
}

TEST_CASE("tcp: broken streams end the link with what was wrong")
{
    const auto eof = ends_with(LengthPrefix{}, "");
    CHECK(eof == Error::disconnected);
    CHECK(eof.cause() == boost::asio::error::eof);
    const auto half = ends_with(LengthPrefix{}, std::string("\0\0\0\5ab", 6));
    CHECK(half == Error::disconnected);
    CHECK(half.message().find("6 bytes of it arrived") != std::string::npos);
    CHECK(half.message().find("00 00 00 05 61 62") != std::string::npos);
    CHECK(ends_with(Lines{}, "whole\nlast \"line\r").explanation()
          == R"(in the middle of a message, 11 bytes of it arrived: "last "line\r")");
    const auto shown = ends_with(Lines{}, std::string(900, 'x')).explanation();
    CHECK(shown.find("900 bytes") != std::string::npos);
    CHECK(shown.size() < 150);
    CHECK(ends_with(LengthPrefix{}, std::string("\0\0\3\xe9", 4)) == Error::too_big);
    CHECK(ends_with(Lines{}, std::string(2000, 'x')) == Error::too_big);
    CHECK(ends_with(Lines{}, std::string(1001, 'x') + "\n") == Error::too_big);
}

TEST_CASE("tcp: a reset in the middle of a message is told with what had come of it")
{
    RawPeer peer{[](RawConnection& c) {
        c.send(framed("whole") + framed("half").substr(0, 6));
        c.read(1); // the whole one has arrived
        c.reset();
    }};
    Sidecar<Tcp<LengthPrefix>> feed{to(peer), silent_options()};
    REQUIRE(feed.start(10s));
    CHECK(feed.receive(10s).value().text() == "whole");
    REQUIRE(feed.send(""));
    const auto failure = failure_of(feed);
    CHECK(failure == Error::disconnected);
    CHECK(failure.cause() == boost::asio::error::connection_reset);
    CHECK(failure.explanation().find("6 bytes of it arrived") != std::string::npos);
    CHECK(failure.endpoint() == "127.0.0.1:" + std::to_string(peer.port()));
}

TEST_CASE("tcp: a protocol error while the stop waits for the peer's end fails the close, and is "
          "its first error")
{
    std::latch closing{1};
    RawPeer peer{[&](RawConnection& c) {
        c.wait_for_end(); // the sidecar's half is closed
        c.send("\xff\xff\xff\xff");
        closing.wait();
    }};
    Sidecar<Tcp<LengthPrefix>> feed{to(peer), silent_options()};
    REQUIRE(feed.start(10s));
    const auto report = feed.stop();
    closing.count_down();
    CAPTURE(to_string(report));
    CHECK(report.total < 500ms);
    CHECK(report.close.verdict == Verdict::failed);
    REQUIRE(report.first_error);
    CHECK(*report.first_error == Error::too_big);
}

TEST_CASE(
    "spin: round trips work, and a stop is no later, where both sides look again before they sleep")
{
    RawPeer peer{[](RawConnection& c) {
        for (;;)
            c.send(framed(read_message(c)));
    }};
    auto options = silent_options();
    options.busy_poll = 1ms;
    Sidecar<Tcp<LengthPrefix>> feed{to(peer), options};
    REQUIRE(feed.start(10s));
    for (int i = 0; i < 200; ++i) {
        REQUIRE(feed.send(std::to_string(i)));
        CHECK(feed.receive(10s)->text() == std::to_string(i));
    }
    CHECK(feed.receive(5ms).error() == Error::timed_out);
    const auto report = feed.stop();
    CHECK(report.clean());
    CHECK(report.total < promptly);
}
