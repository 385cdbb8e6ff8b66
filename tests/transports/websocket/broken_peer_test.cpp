// Peers that break the protocol, the connection or the patience.
#include "support/failure_of.hpp"
#include "support/raw_peer.hpp"
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>

#include <unistd.h>

#include <fstream>
#include <latch>
#include <vector>

namespace broken_peer_test {

using namespace sidecar;
using namespace std::chrono_literals;

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
    Sidecar<WebSocket> feed{{.url = peer.url(), .max_message_bytes = 1000}, silent_options()};
    feed.start(10s).value();
    done.count_down();
    return failure_of(feed);
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
    CHECK(ends_with(frame(0x01, "\xe2\x82") + frame(0x80, "")) == Error::protocol_violation);
    CHECK(ends_with(frame(0x01, "hello") + frame(0x80, "")) == Error::disconnected);
    CHECK(ends_with(std::string("\x82\x7f\x80\0\0\0\0\0\0\0", 10)) == Error::protocol_violation);
    CHECK(ends_with(std::string("\x82\x7f\0\0\0\1\0\0\0\0", 10)) == Error::too_big);
    const auto closed = ends_with(frame(0x88, "\x03\xe9"
                                              "bye"));
    CHECK(closed == Error::closed_by_peer);
    CHECK(closed.close_code() == 1001);
    CHECK(closed.close_reason() == "bye");
}

TEST_CASE("websocket: a message of endless fragments ends the link, with and without content")
{
    std::string empty = frame(0x01, ""), single = frame(0x02, "x");
    for (int i = 0; i < 100'000; ++i) {
        empty += frame(0x00, "");
        single += frame(0x00, "x");
    }
    CHECK(ends_with(empty) == Error::protocol_violation);
    CHECK(ends_with(single) == Error::too_big);
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
        Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options()};
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
            Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options()};
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
    Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options()};
    REQUIRE(feed.start(10s));
    const std::string block(100'000, 'z');
    while (feed.send(block, 200ms)) {
    }
    is_blocked.count_down();
    for (int i = 0; i < 5; ++i)
        CHECK(feed.receive(10s).has_value());
}

TEST_CASE(
    "websocket: hundreds of peers that announce a large message and stall take no memory for it, "
    "and the other links go on")
{
    constexpr std::size_t count = 400; // two descriptors each
    struct Kept {                      // goes after the peer's thread, which fills it
        std::vector<int> descriptors;
        ~Kept()
        {
            for (const int fd : descriptors)
                ::close(fd);
        }
    } kept;
    RawPeer stalling{[&](RawConnection& c) {
        c.accept_websocket();
        c.send(std::string("\x82\x7f\0\0\0\0\0\x10\0\0begins", 16)); // of 1 MiB
        kept.descriptors.push_back(::dup(c.fd()));
    }};
    RawPeer good{[&](RawConnection& c) {
        c.accept_websocket();
        for (int i = 0; i < 100; ++i)
            c.send(frame(0x82, std::string(50'000, 'g')));
        c.wait_for_end();
    }};
    const auto resident_bytes = [] {
        std::size_t total = 0, resident = 0;
        std::ifstream{"/proc/self/statm"} >> total >> resident;
        return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    };
    auto options = silent_options({.total = 20s, .drain = 50ms, .close = 100ms, .cancel = 10s});
    options.inbox = {.bytes = 8u << 20, .messages = 10'000};
    Sidecar<WebSocket> feed{{.url = stalling.url()}, options};
    const auto before = resident_bytes();
    REQUIRE(feed.start(10s));
    for (std::size_t i = 1; i < count; ++i)
        REQUIRE(feed.open({.url = stalling.url()}, 10s));
    REQUIRE(feed.open({.url = good.url()}, 10s));
    for (int i = 0; i < 100; ++i)
        REQUIRE(feed.receive(10s).value().size() == 50'000);
    if (!is_sanitized)
        CHECK(resident_bytes() - before < (8u << 20) + count * (32u << 10));
    CHECK(feed.stop().joined);
}

} // namespace broken_peer_test
