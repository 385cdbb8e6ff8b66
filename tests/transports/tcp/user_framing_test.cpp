// Framings of the application's own, the ones with errors too.
#include "support/failure_of.hpp"
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <doctest/doctest.h>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

/// Messages of the form "<text>"; whatever stands between them is skipped. What it cannot bear is a
/// '!'.
struct Angles {
    static constexpr MessageKind kind = MessageKind::text;
    [[nodiscard]] Decoded decode(std::span<const std::byte> bytes, std::size_t) const
    {
        const auto text = MessageView{{}, MessageKind::binary, bytes}.text();
        if (text.starts_with('!'))
            throw std::runtime_error{"an exclamation mark"};
        const auto begin = std::min(text.find_first_of("<!"), text.size());
        if (begin != 0)
            return {.payload = {}, .consumed_bytes = begin};
        const auto end = text.find('>');
        if (end == text.npos)
            return {};
        return {
            .is_complete = true, .payload = bytes.subspan(1, end - 1), .consumed_bytes = end + 1};
    }
    void encode(std::vector<std::byte>& out, std::span<const std::byte> payload) const
    {
        out.insert(out.end(), payload.begin(), payload.end());
    }
};

/// Never finds a message.
struct Blind {
    [[nodiscard]] Decoded decode(std::span<const std::byte>, std::size_t) const { return {}; }
    void encode(std::vector<std::byte>&, std::span<const std::byte>) const {}
};

/// Says that it found one, and takes nothing.
struct Stuck : Blind {
    [[nodiscard]] Decoded decode(std::span<const std::byte>, std::size_t) const
    {
        return {.is_complete = true, .payload = {}};
    }
};

/// Cannot write what it is given.
struct Mute : Blind {
    void encode(std::vector<std::byte>&, std::span<const std::byte>) const
    {
        throw std::runtime_error{"no words"};
    }
};

template <class F>
Failure ends_with(std::string bytes)
{
    RawPeer peer{[&](RawConnection& c) {
        c.send(bytes);
        c.wait_for_end();
    }};
    Sidecar<Tcp<F>> feed{{.host = "127.0.0.1", .port = peer.port(), .max_message_bytes = 1000},
                         silent_options()};
    feed.start(10s).value();
    return failure_of(feed);
}

} // namespace

TEST_CASE("tcp: a framing of the user's own may skip bytes, and what it throws ends the link with "
          "that reason")
{
    RawPeer peer{[](RawConnection& c) {
        c.trickle("  <one>...<><three>");
        c.send(" !");
        c.wait_for_end();
    }};
    Sidecar<Tcp<Angles>> feed{{.host = "127.0.0.1", .port = peer.port()}, silent_options()};
    REQUIRE(feed.start(10s));
    for (const std::string_view expected : {"one", "", "three"})
        CHECK(feed.receive(10s).value().text() == expected);
    const auto failure = failure_of(feed);
    CHECK(failure == Error::protocol_violation);
    CHECK(failure.explanation() == "an exclamation mark");
    CHECK(failure.endpoint() == "127.0.0.1:" + std::to_string(peer.port()));
}

TEST_CASE("tcp: a flood of what a framing skips holds up neither other tasks nor the stop")
{
    RawPeer peer{[](RawConnection& c) {
        const std::string filler(1u << 20, '.');
        for (;;)
            c.send(filler);
    }};
    auto options = silent_options();
    options.stop = {.total = 2s, .drain = 100ms, .close = 100ms, .cancel = 500ms};
    Sidecar<Tcp<Angles>> feed{{.host = "127.0.0.1", .port = peer.port()}, options};
    REQUIRE(feed.start(10s));
    for (int i = 0; i < 20; ++i)
        REQUIRE(feed.call(
            "a call", [](Context ctx) -> Task<> { co_await ctx.sleep_for(1ms); }, 10s));
    const auto report = feed.stop();
    CHECK(report.joined);
}

TEST_CASE("tcp: a framing that throws when it encodes ends the link with that, and the message "
          "counts as unsent")
{
    RawPeer peer{[](RawConnection& c) { c.wait_for_end(); }};
    Sidecar<Tcp<Mute>> feed{{.host = "127.0.0.1", .port = peer.port()}, silent_options()};
    REQUIRE(feed.start(10s));
    REQUIRE(feed.send("x"));
    CHECK(failure_of(feed).explanation().find("no words") != std::string::npos);
    CHECK(feed.stop().unsent_messages == 1);
}

TEST_CASE("tcp: a framing that never finds a message ends the link, not the memory; one that takes "
          "nothing does not spin")
{
    const auto blind = ends_with<Blind>(std::string(1'000'000, 'x'));
    CHECK(blind == Error::too_big);
    CHECK(blind.explanation().find("no end of a message in ") == 0);
    CHECK_FALSE(blind.endpoint().empty());
    CHECK(ends_with<Stuck>("x") == Error::bad_options);
    CHECK(ends_with<LengthPrefix>(std::string("\0\0\3\xe9", 4))
              .message()
              .find("a message of 1001 bytes; the option max_message_bytes is 1000")
          != std::string::npos);
}

TEST_CASE("tcp: a stream without framing arrives byte for byte")
{
    RawPeer peer{[](RawConnection& c) {
        c.send(c.read(100'000));
        c.wait_for_end();
    }};
    Sidecar<Tcp<Raw>> feed{{.host = "127.0.0.1", .port = peer.port(), .max_message_bytes = 1000},
                           silent_options()};
    REQUIRE(feed.start(10s));
    std::string sent, received;
    for (int i = 0; i < 100; ++i) {
        const std::string piece(1000, static_cast<char>('a' + i % 26));
        REQUIRE(feed.send(piece));
        sent += piece;
    }
    while (received.size() < sent.size()) {
        const auto message = feed.receive(10s).value();
        REQUIRE(message.size() <= 1000);
        received += message.text();
    }
    CHECK((received == sent));
}
