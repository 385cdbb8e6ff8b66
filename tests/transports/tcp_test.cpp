#include "raw_peer.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

Options quiet()
{
    return {.log = [](LogLevel, std::string_view) {}};
}

std::string echo(RawConnection& c, std::size_t bytes)
{
    auto text = c.read(bytes);
    c.send(text);
    return text;
}

/// Encodes the messages, then decodes the stream with every byte arriving alone.
template <class F>
void check_round_trip(F framing, const std::vector<std::string>& messages)
{
    std::vector<std::byte> stream;
    for (const auto& message : messages)
        framing.encode(stream, std::as_bytes(std::span{message}));
    std::size_t begin = 0, found = 0;
    for (std::size_t end = 0; end <= stream.size(); ++end) {
        for (;;) {
            const auto decoded =
                framing.decode(std::span{stream}.subspan(begin, end - begin), 1000);
            if (!decoded.is_complete)
                break;
            REQUIRE(found < messages.size());
            CHECK(MessageView{.data = decoded.payload}.text() == messages[found++]);
            begin += decoded.consumed_bytes;
        }
    }
    CHECK(found == messages.size());
    CHECK(begin == stream.size());
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
        quiet()};
    feed.start(10s).value();
    for (;;)
        if (auto message = feed.receive(10s); !message)
            return message.error();
}

} // namespace

TEST_CASE("framings: what is encoded is decoded, wherever the stream is cut")
{
    const std::vector<std::string> messages{"a", "", "bcd", std::string(200, 'e')};
    for (const unsigned width : {1u, 2u, 4u, 8u})
        for (const auto order : {std::endian::big, std::endian::little})
            check_round_trip(LengthPrefix{width, order}, messages);
    check_round_trip(Lines{}, messages);
    check_round_trip(Lines{';'}, messages);
    check_round_trip(FixedSize<3>{}, {"abc", "def"});
}

TEST_CASE("framings: the prefix has the bytes and the order asked for")
{
    std::vector<std::byte> out;
    LengthPrefix{2, std::endian::big}.encode(out, std::as_bytes(std::span{"xyz", 3}));
    LengthPrefix{4, std::endian::little}.encode(out, {});
    const MessageView view{.data = out};
    CHECK(view.text() == std::string_view("\0\3xyz\0\0\0\0", 9));
}

TEST_CASE("Lines: a carriage return before the line feed is not part of the line")
{
    Lines lines;
    const std::string text = "a\r\n\r\nb\rc\n";
    auto rest = std::as_bytes(std::span{text});
    for (const std::string_view expected : {"a", "", "b\rc"}) {
        const auto decoded = lines.decode(rest, 100);
        REQUIRE(decoded.is_complete);
        CHECK(MessageView{.data = decoded.payload}.text() == expected);
        rest = rest.subspan(decoded.consumed_bytes);
    }
}

TEST_CASE("tcp: messages go both ways, over IPv4, IPv6 and a name")
{
    for (const std::string host : {"127.0.0.1", "::1", "localhost"}) {
        CAPTURE(host);
        RawPeer peer{[](RawConnection& c) {
                         for (;;)
                             echo(c, 1);
                     },
                     host == "::1"};
        Sidecar<Tcp<LengthPrefix>> feed{{.host = host, .port = peer.port()}, quiet()};
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
    Sidecar<Tcp<LengthPrefix>> feed{{.host = "127.0.0.1", .port = peer.port()}, quiet()};
    REQUIRE(feed.start(10s));
    REQUIRE(feed.send(large));
    CHECK(feed.receive(10s).value().text() == large);
    CHECK(feed.stop().clean());
}

TEST_CASE("tcp: broken streams end the link with what was wrong")
{
    const auto eof = ends_with(LengthPrefix{}, "");
    CHECK(eof == Error::disconnected);
    CHECK(eof.cause() == boost::asio::error::eof);
    const auto half = ends_with(LengthPrefix{}, std::string("\0\0\0\5ab", 6));
    CHECK(half == Error::disconnected);
    CHECK(half.message().find("6 bytes of it had come") != std::string::npos);
    CHECK(ends_with(LengthPrefix{}, std::string("\0\0\3\xe9", 4)) == Error::too_big);
    CHECK(ends_with(Lines{}, std::string(2000, 'x')) == Error::too_big);
    CHECK(ends_with(Lines{}, std::string(1001, 'x') + "\n") == Error::too_big);
}

TEST_CASE("tcp: addresses and framings that make no sense are told from start")
{
    Sidecar<Tcp<LengthPrefix>> no_host{{.port = 1}, quiet()};
    CHECK(no_host.start(1s).error() == Error::bad_address);
    Sidecar<Tcp<LengthPrefix>> no_port{{.host = "x"}, quiet()};
    CHECK(no_port.start(1s).error() == Error::bad_address);
    Sidecar<Tcp<LengthPrefix>> bad_width{{.host = "x", .port = 1, .framing = {.width = 3}},
                                         quiet()};
    CHECK(bad_width.start(1s).error() == Error::bad_options);
}

TEST_CASE("tcp: what the framing cannot carry is refused by send")
{
    RawPeer peer{[](RawConnection& c) { c.wait_for_end(); }};
    Sidecar<Tcp<Lines>> lines{{.host = "127.0.0.1", .port = peer.port()}, quiet()};
    REQUIRE(lines.start(10s));
    CHECK(lines.send("a\nb").error() == Error::bad_message);
    lines.stop();
    Sidecar<Tcp<LengthPrefix>> bytes{
        {.host = "127.0.0.1", .port = peer.port(), .framing = {.width = 1}}, quiet()};
    REQUIRE(bytes.start(10s));
    CHECK(bytes.send(std::string(256, 'x')).error() == Error::too_big);
    bytes.stop();
    Sidecar<Tcp<FixedSize<4>>> fixed{{.host = "127.0.0.1", .port = peer.port()}, quiet()};
    REQUIRE(fixed.start(10s));
    CHECK(fixed.send("12345").error() == Error::bad_message);
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
    Sidecar<Tcp<LengthPrefix>> feed{{.host = "127.0.0.1", .port = peer.port()}, quiet()};
    REQUIRE(feed.start(10s));
    std::size_t seen = 0;
    while (seen < count) {
        REQUIRE(feed.receive(10s));
        seen += 1 + feed.poll([](const MessageView&) {}).value();
    }
    CHECK(seen == count);
    CHECK(feed.stats().reads < count / 20);
}
