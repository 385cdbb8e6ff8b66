// Compressed messages between a link and its peer, and what was agreed on.
#include "client_frames.hpp"
#include "zlib_peer.hpp"

#include "support/failure_of.hpp"
#include "support/python_peer.hpp"
#include "support/raw_peer.hpp"
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>

#include <fstream>
#include <future>

namespace compression_test {

using namespace sidecar;
using namespace std::chrono_literals;

/// Answers the handshake with such a Sec-WebSocket-Extensions; gives the one that was offered.
std::string accept_with(RawConnection& c, const std::string& extensions)
{
    const auto request = c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Accept: "
           + websocket_accept(request)
           + (extensions.empty() ? "" : "\r\nSec-WebSocket-Extensions: " + extensions)
           + "\r\n\r\n");
    constexpr std::string_view field = "Sec-WebSocket-Extensions: ";
    const auto at = request.find(field);
    if (at == request.npos)
        return "none";
    const auto begin = at + field.size();
    return request.substr(begin, request.find('\r', begin) - begin);
}

WebSocket::Options options_for(const RawPeer& peer, const CompressionOptions& compression = {})
{
    return {.url = peer.url(), .compression = compression};
}

std::size_t peak_kib()
{
    std::ifstream status{"/proc/self/status"};
    std::size_t kib = 0;
    for (std::string word; status >> word;)
        if (word == "VmHWM:")
            status >> kib;
    return kib;
}

TEST_CASE("websocket: talks compressed with an independent peer, by each option")
{
    for (const auto& compression :
         {CompressionOptions{}, CompressionOptions{.threshold_bytes = 0},
          CompressionOptions{.server_no_context_takeover = true,
          .client_no_context_takeover = true},
          CompressionOptions{
              .server_max_window_bits = 9, .client_max_window_bits = 9, .mem_level = 1},
          CompressionOptions{.level = 0}, CompressionOptions{.level = 9, .mem_level = 9}}) {
        PythonPeer peer;
        Sidecar<WebSocket> feed{{.url = peer.url, .compression = compression}, silent_options()};
        REQUIRE(feed.start(10s));
        const auto check_echo = [&](const std::string& text) {
            REQUIRE(feed.send(std::as_bytes(std::span{text}), 10s));
            const auto echo = feed.receive(10s);
            REQUIRE(echo.has_value());
            CHECK((echo->text() == text));
        };
        for (const std::size_t size : {0u, 1u, 100u, 300u, 5'000u, 70'000u, 300'000u, 900'000u}) {
            check_echo(feed_message(1, size));
            check_echo(noise(1, size));
            check_echo(feed_message(2, size / 2));
        }
        REQUIRE(feed.send("in fragments"));
        CHECK(feed.receive(10s)->text() == "one two three");
        REQUIRE(feed.send("ping me"));
        CHECK(feed.receive(10s)->text() == "you answered");
        const auto report = feed.stop();
        CHECK(report.clean());
        CHECK(peer.close_code() == 1000);
    }
}

TEST_CASE("websocket: compression is offered as the options say, or not at all")
{
    std::vector<std::string> offers;
    {
        RawPeer peer{[&](RawConnection& c) {
            offers.push_back(accept_with(c, ""));
            c.send(frame(0x88, read_client_frame(c).payload));
        }};
        for (const auto& compression :
             {std::optional<CompressionOptions>{}, std::optional{CompressionOptions{}},
              std::optional{CompressionOptions{.server_max_window_bits = 10,
              .client_max_window_bits = 11,
              .client_no_context_takeover = true}}}) {
            Sidecar<WebSocket> feed{{.url = peer.url(), .compression = compression},
                                    silent_options()};
            REQUIRE(feed.start(10s));
        }
    }
    CHECK(offers
          == std::vector<std::string>{
              "none", "permessage-deflate; client_max_window_bits",
              "permessage-deflate; client_no_context_takeover; server_max_window_bits=10; "
              "client_max_window_bits=11"});
}

TEST_CASE(
    "websocket: compression options that cannot be are bad_options, before anything is connected")
{
    for (const auto& compression :
         {CompressionOptions{.server_max_window_bits = 7},
          CompressionOptions{.client_max_window_bits = 16}, CompressionOptions{.level = 10},
          CompressionOptions{.mem_level = 0}}) {
        Sidecar<WebSocket> feed{{.url = "ws://127.0.0.1:1/", .compression = compression},
                                silent_options()};
        const auto started = feed.start(10s);
        REQUIRE(!started);
        CHECK(started.error() == Error::bad_options);
        CHECK(started.error().explanation().starts_with("compression."));
    }
}

TEST_CASE("websocket: an answer that breaks the offer of compression refuses the handshake")
{
    struct Case {
        const char* answer;
        const char* fault;
    };
    constexpr Case cases[] = {
        {"permessage-deflate; client_max_window_bits=16",
         "client_max_window_bits is \"16\", and must be a number from 8 to 15"},
        {"permessage-deflate, permessage-deflate", "it chose permessage-deflate twice"},
        {"permessage-deflate\r\nSec-WebSocket-Extensions: permessage-deflate",
         "it chose permessage-deflate twice"},
        {"permessage-deflate; x=1",
         "it has a parameter of permessage-deflate that is not known: \"x\""},
        {"x-webkit-deflate-frame",
         "it chose an extension that was not offered: \"x-webkit-deflate-frame\""},
        {"permessage-deflate; hush",
         "it has a parameter of permessage-deflate that is not known: \"***\""},
    };
    for (const auto& one : cases) {
        CAPTURE(one.answer);
        RawPeer peer{[&](RawConnection& c) {
            (void)accept_with(c, one.answer);
            c.wait_for_end();
        }};
        auto options = options_for(peer);
        options.headers = {{"Authorization", "hush"}};
        Sidecar<WebSocket> feed{options, silent_options()};
        const auto started = feed.start(10s);
        REQUIRE(!started);
        CHECK(started.error() == Error::handshake_refused);
        CHECK(started.error().http_status() == 101);
        CHECK(started.error().explanation()
              == "the answer was HTTP 101, but " + std::string{one.fault});
    }
    // and what nobody offered
    RawPeer peer{[](RawConnection& c) {
        (void)accept_with(c, "permessage-deflate");
        c.wait_for_end();
    }};
    Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options()};
    const auto started = feed.start(10s);
    REQUIRE(!started);
    CHECK(started.error().explanation()
          == "the answer was HTTP 101, but it chose an extension that was not offered: "
             "\"permessage-deflate\"");
}

TEST_CASE("websocket: a peer that does not take compression up gets and sends plain messages only")
{
    std::promise<ClientFrame> got;
    std::promise<UntilEnd> end;
    RawPeer peer{[&](RawConnection& c) {
        (void)accept_with(c, "");
        got.set_value(read_client_frame(c));
        c.send(frame(0x81, "plain") + frame(0xc1, "\xf2\x48\xcd\xc9\xc9\x07"));
        end.set_value(read_until_end(c));
    }};
    Sidecar<WebSocket> feed{options_for(peer), silent_options()};
    REQUIRE(feed.start(10s));
    const auto text = feed_message(1, 1000);
    REQUIRE(feed.send(text));
    const auto sent = got.get_future().get();
    CHECK(sent.first_byte == 0x81);
    CHECK(sent.payload == text);
    CHECK(feed.receive(10s)->text() == "plain");
    CHECK(failure_of(feed) == Error::protocol_violation);
    CHECK(end.get_future().get().frames.back().close_code() == 1002);
}

TEST_CASE("websocket: a window of 256 bytes is kept to, both ways")
{
    RawPeer peer{[](RawConnection& c) {
        (void)accept_with(c,
                          "permessage-deflate; client_max_window_bits=8; server_max_window_bits=8");
        ZlibInflater from_client{8};
        ZlibDeflater to_client{9};
        for (;;) {
            const auto got = read_client_frame(c);
            if (got.is_close())
                return c.send(frame(0x88, got.payload));
            const bool is_compressed = (got.first_byte & 0x40) != 0;
            const auto text = is_compressed ? from_client.message(got.payload) : got.payload;
            c.send(frame(0xc2, to_client.message(text)));
        }
    }};
    Sidecar<WebSocket> feed{options_for(peer), silent_options()};
    REQUIRE(feed.start(10s));
    for (unsigned i = 0; i < 100; ++i) {
        const auto block = noise(i / 10, 260);
        const auto text = block + feed_message(i, 50 * i) + block;
        REQUIRE(feed.send(std::as_bytes(std::span{text})));
        const auto echo = feed.receive(10s);
        REQUIRE(echo.has_value());
        CHECK((echo->text() == text));
    }
    CHECK(feed.stop().clean());
}

TEST_CASE("websocket: a bomb ends with too_big at the limit, and the peer is told 1009")
{
    constexpr std::size_t mebibyte = 1u << 20, limit = 8 * mebibyte;
    ZlibDeflater deflater;
    const std::string zeroes(mebibyte, '\0');
    std::string bomb = deflater.message(zeroes);
    const auto again = std::string("\0\0\xff\xff", 4) + deflater.message(zeroes);
    for (int i = 1; i < 1024; ++i)
        bomb += again;
    std::promise<UntilEnd> end;
    RawPeer peer{[&](RawConnection& c) {
        (void)accept_with(c, "permessage-deflate");
        c.send(frame(0x81, "first"));
        c.send(frame(0xc2, bomb));
        end.set_value(read_until_end(c));
    }};
    auto options = options_for(peer);
    options.max_message_bytes = limit;
    auto bounds = silent_options();
    bounds.inbox.bytes = 4 * limit;
    const auto before = peak_kib();
    Sidecar<WebSocket> feed{options, bounds};
    REQUIRE(feed.start(10s));
    CHECK(feed.receive(10s)->text() == "first");
    const auto failure = failure_of(feed);
    CHECK(failure == Error::too_big);
    CHECK(failure.explanation() == "the option max_message_bytes is 8388608");
    CHECK(end.get_future().get().frames.back().close_code() == 1009);
    // A buffer that grows stands beside its older half for a moment, and the allocator may not use
    // again at once what it left behind. Unbounded it would be a gibibyte.
    if (!is_sanitized)
        CHECK((peak_kib() - before) * 1024 < 3 * limit + 6 * mebibyte);
}

TEST_CASE("websocket: rubbish in a compressed message ends the link, and the peer is told 1007")
{
    std::promise<UntilEnd> end;
    RawPeer peer{[&](RawConnection& c) {
        (void)accept_with(c, "permessage-deflate");
        c.send(frame(0xc1, "\xff\xff"));
        end.set_value(read_until_end(c));
    }};
    Sidecar<WebSocket> feed{options_for(peer), silent_options()};
    REQUIRE(feed.start(10s));
    const auto failure = failure_of(feed);
    CHECK(failure == Error::protocol_violation);
    CHECK(failure.explanation() == "a compressed message cannot be inflated: invalid block type");
    CHECK(end.get_future().get().frames.back().close_code() == 1007);
}

TEST_CASE(
    "websocket: a large message goes compressed in fragments, and small ones follow it in order")
{
    RawPeer peer{[](RawConnection& c) {
        (void)accept_with(c, "permessage-deflate");
        ZlibInflater inflater;
        std::string payload;
        for (bool is_compressed = false;;) {
            const auto got = read_client_frame(c);
            if (got.is_close())
                return c.send(frame(0x88, got.payload));
            if ((got.first_byte & 0x0f) != 0)
                is_compressed = (got.first_byte & 0x40) != 0;
            payload += got.payload;
            if ((got.first_byte & 0x80) == 0)
                continue;
            const auto text = is_compressed ? inflater.message(payload) : payload;
            c.send(frame(0x81, std::to_string(std::hash<std::string>{}(text))));
            payload.clear();
        }
    }};
    Sidecar<WebSocket> feed{options_for(peer), silent_options()};
    REQUIRE(feed.start(10s));
    std::vector<std::string> sent;
    for (unsigned i = 0; i < 3; ++i) {
        sent.push_back(feed_message(i, 900'000));
        sent.push_back(feed_message(i, 400));
        sent.push_back(noise(i, 600'000));
        sent.push_back(feed_message(i, 10));
    }
    for (const auto& text : sent)
        REQUIRE(feed.send(std::as_bytes(std::span{text}), 10s));
    for (const auto& text : sent)
        CHECK(feed.receive(10s)->text() == std::to_string(std::hash<std::string>{}(text)));
    CHECK(feed.stop().clean());
}

TEST_CASE("websocket: what a stop cuts off of compressed messages is counted, and nothing else")
{
    std::promise<void> go_on;
    auto may_go_on = go_on.get_future().share();
    std::promise<std::size_t> arrived;
    RawPeer peer{[&](RawConnection& c) {
        (void)accept_with(c, "permessage-deflate");
        (void)may_go_on.wait_for(20s);
        ZlibInflater inflater;
        std::size_t count = 0;
        std::string payload;
        try {
            for (;;) {
                const auto got = read_client_frame(c);
                if (got.is_close())
                    break;
                payload += got.payload;
                if ((got.first_byte & 0x80) == 0)
                    continue;
                (void)inflater.message(std::exchange(payload, {}));
                ++count;
            }
        } catch (const PeerGone&) { // in the middle of a message
        }
        arrived.set_value(count);
    }};
    constexpr std::size_t count = 8;
    Options bounds = silent_options({.total = 1s, .drain = 100ms, .close = 100ms, .cancel = 100ms});
    bounds.outbox.bytes = 64u << 20;
    Sidecar<WebSocket> feed{options_for(peer, {.level = 1}), bounds};
    REQUIRE(feed.start(10s));
    for (unsigned i = 0; i < count; ++i)
        REQUIRE(feed.send(feed_message(i, 3'000'000), 10s));
    const auto report = feed.stop();
    CHECK(report.unsent_messages > 0);
    CHECK(report.unsent_messages < count);
    go_on.set_value();
    // What was not counted as unsent was taken by the system whole
    CHECK(arrived.get_future().get() == count - report.unsent_messages);
}

TEST_CASE("websocket: pings between compressed fragments are answered")
{
    std::promise<std::string> pong;
    RawPeer peer{[&](RawConnection& c) {
        (void)accept_with(c, "permessage-deflate");
        ZlibDeflater deflater;
        const auto payload = deflater.message(feed_message(1, 2000));
        c.send(frame(0x41, payload.substr(0, 100)) + frame(0x89, "are you there"));
        pong.set_value(read_client_frame(c).payload);
        c.send(frame(0x80, payload.substr(100)));
        c.wait_for_end();
    }};
    Sidecar<WebSocket> feed{options_for(peer), silent_options()};
    REQUIRE(feed.start(10s));
    CHECK(pong.get_future().get() == "are you there");
    CHECK(feed.receive(10s)->text() == feed_message(1, 2000));
}

} // namespace compression_test
