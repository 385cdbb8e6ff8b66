// A WebSocket's goodbye: what goes out before it, and what cannot hold it up.
#include "support/raw_peer.hpp"
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>

namespace stop_test {

using namespace sidecar;
using namespace std::chrono_literals;

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
        Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options()};
        REQUIRE(feed.start(10s));
        for (int i = 0; i < 1000; ++i)
            REQUIRE(feed.send("x"));
        const auto report = feed.stop();
        CHECK(report.clean());
        CHECK(report.unsent_messages == 0);
    }
    CHECK(received == std::string(1000, 'x') + "|close");
}

TEST_CASE("stop: what was sent goes out in order, and nothing after the close frame")
{
    constexpr int count = 2000;
    std::string received;
    Result<void> sent;
    {
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            for (;;)
                received += c.read(1);
        }};
        Sidecar<WebSocket> feed{
            {.url = peer.url()},
            silent_options({.total = 600ms, .drain = 200ms, .close = 200ms, .cancel = 100ms})};
        REQUIRE(feed.start(10s));
        for (int i = 0; i < count && sent; ++i)
            sent = feed.send(std::as_bytes(std::span{&i, 1}));
        const auto report = feed.stop();
        CHECK(report.unsent_messages == 0);
        CHECK(report.drain.verdict != Verdict::timed_out);
    }
    REQUIRE(sent);
    constexpr std::size_t frame_bytes = 2 + 4 + sizeof(int);
    REQUIRE(received.size() == count * frame_bytes + 2 + 4 + 2);
    bool in_order = true;
    for (int i = 0; i < count; ++i) {
        const auto* at = received.data() + static_cast<std::size_t>(i) * frame_bytes;
        int number = 0;
        for (std::size_t byte = 0; byte < sizeof number; ++byte)
            reinterpret_cast<char*>(&number)[byte] = static_cast<char>(at[6 + byte] ^ at[2 + byte]);
        in_order &= at[0] == static_cast<char>(0x82) && number == i;
    }
    CHECK(in_order);
    CHECK(received[count * frame_bytes] == static_cast<char>(0x88));
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
    Sidecar<WebSocket> feed{
        {.url = peer.url()},
        silent_options({.total = 600ms, .drain = 100ms, .close = 100ms, .cancel = 200ms})};
    REQUIRE(feed.start(10s));
    const auto report = feed.stop();
    CAPTURE(to_string(report));
    CHECK(report.joined);
    CHECK(report.cancel.elapsed < promptly);
}

} // namespace stop_test
