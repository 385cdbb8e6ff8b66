// What send() takes: text, bytes, messages; on a feed, a link and a session alike.
#include "support/fixture.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using namespace sidecar;
using namespace std::chrono_literals;

namespace payload_test {

struct Convertible {
    operator std::string_view() const { return "converted"; } // NOLINT: implicit
};
struct Bytes {
    std::vector<std::byte> bytes{std::byte{'b'}};
    operator std::span<const std::byte>() const { return bytes; } // NOLINT: implicit
};
enum class Octet : std::uint8_t {};

struct Expected {
    MessageKind kind;
    std::string text;
    bool operator==(const Expected&) const = default;
};

Expected of(const Payload& payload)
{
    const MessageView view{{}, payload.kind(), payload.bytes()};
    return {payload.kind(), std::string{view.text()}};
}
Expected text(std::string_view text) { return {MessageKind::text, std::string{text}}; }
Expected bytes(std::string_view text) { return {MessageKind::binary, std::string{text}}; }

template <class... Args>
constexpr bool can_send = requires(Feed& feed, Args... args) { feed.send(args...); };
static_assert(can_send<std::string, std::chrono::seconds>);
static_assert(can_send<std::vector<std::uint8_t>, SendOptions>);
static_assert(!can_send<std::nullptr_t>);

TEST_CASE("Payload: strings of all kinds are text")
{
    using namespace std::string_literals;
    const char* pointer = "pointer";
    std::string string = "string";
    char buffer[8] = "abc";
    const char full[3] = {'a', 'b', 'c'};
    char8_t wide[8] = u8"ä";
    CHECK(of("literal") == text("literal"));
    CHECK(of("") == text(""));
    CHECK(of("up to\0here") == text("up to"));
    CHECK(of("with\0zero"s) == text("with\0zero"s));
    CHECK(of(pointer) == text("pointer"));
    CHECK(of(string) == text("string"));
    CHECK(of(std::string_view{"view"}) == text("view"));
    CHECK(of(std::string{"temporary"}) == text("temporary"));
    CHECK(of(buffer) == text("abc"));
    CHECK(of(full) == text("abc")); // no zero: all of it
    CHECK(of(Convertible{}) == text("converted"));
    CHECK(of(u8"ä") == text("\xc3\xa4"));
    CHECK(of(wide) == text("\xc3\xa4"));
    CHECK(of(std::u8string{u8"ä"}) == text("\xc3\xa4"));
    CHECK(of(std::u8string_view{u8"ä"}) == text("\xc3\xa4"));
    CHECK(of({pointer, 3}) == text("poi"));
    CHECK(of({string.begin(), string.end()}) == text("string"));
}

TEST_CASE("Payload: other ranges with elements of one byte are bytes")
{
    const std::vector<std::uint8_t> octets{'a', 'b'};
    std::vector<char> chars{'a', '\0', 'b'};
    const std::byte raw[2] = {std::byte{'x'}, std::byte{'y'}};
    const unsigned char with_zero[3] = {'a', 0, 0};
    CHECK(of(octets) == bytes("ab"));
    CHECK(of(std::vector<std::byte>(2, std::byte{'z'})) == bytes("zz"));
    CHECK(of(std::vector<std::int8_t>{}) == bytes(""));
    CHECK(of(chars) == bytes(std::string_view{"a\0b", 3}));
    CHECK(of(std::array<char, 2>{'h', 'i'}) == bytes("hi"));
    CHECK(of(std::span<const char>{chars}.first(1)) == bytes("a"));
    CHECK(of(std::span<char>{chars}.first(1)) == bytes("a"));
    CHECK(of(std::span<const std::byte>{raw}) == bytes("xy"));
    CHECK(of(std::as_bytes(std::span{octets})) == bytes("ab"));
    CHECK(of(raw) == bytes("xy"));
    CHECK(of(with_zero) == bytes(std::string_view{"a\0\0", 3}));
    CHECK(of(std::vector{Octet{'o'}}) == bytes("o"));
    CHECK(of(Bytes{}) == bytes("b"));
    CHECK(of({octets}) == bytes("ab"));
    CHECK(of({octets.data(), octets.size()}) == bytes("ab"));
    CHECK(of({raw, 1}) == bytes("x"));
}

TEST_CASE("Payload: a message keeps its kind")
{
    const MessageView view{LinkId{3}, MessageKind::text, std::as_bytes(std::span{"t", 1}), 2};
    Message message{view};
    CHECK(of(view) == text("t"));
    CHECK(of(message) == text("t"));
    CHECK(of(Message{MessageView{{}, MessageKind::binary, {}}}) == bytes(""));
    CHECK(of(MessageView{}) == bytes(""));
}

TEST_CASE("send: feed, link and session take the same payloads, and copy them at once")
{
    MockPeer peer;
    auto options = silenced({});
    options.on_connected = [](Context, Session& session) -> Task<> {
        std::vector<std::uint8_t> octets{'1'};
        auto sent = session.send(octets);
        octets.front() = '?';
        co_await std::move(sent);
        co_await session.send("2");
        co_await session.send(Message{MessageView{{}, MessageKind::text, {}}});
    };
    Sidecar<Mock> feed{{.peer = peer}, options};
    REQUIRE(feed.start(1s));
    auto link = feed.link().value();
    std::vector<std::uint8_t> octets{'3'};
    REQUIRE(feed.send(octets));
    octets.front() = '?';
    REQUIRE(feed.send(octets = {'4'}, 1s));
    REQUIRE(feed.send(std::array<char, 1>{'5'}, {.timeout = 1s, .priority = Priority::normal}));
    REQUIRE(feed.send("6", 1s));
    REQUIRE(link.send(octets = {'7'}));
    REQUIRE(link.send(std::string{"8"}, {.timeout = 1s}));
    peer.deliver("9");
    REQUIRE(link.send(feed.receive(1s).value(), 1s));
    std::size_t relayed = 0;
    peer.deliver("10");
    while (relayed == 0)
        relayed = feed.poll([&](const MessageView& message) { CHECK(feed.send(message)); }).value();
    REQUIRE(link.subscribe("a", std::vector<std::uint8_t>{'1', '1'}));
    REQUIRE(feed.flush(1s));
    CHECK(link.unsubscribe("a", std::vector<std::uint8_t>{'1', '2'}).value());
    REQUIRE(feed.flush(1s));
    CHECK(peer.sent()
          == std::vector<std::string>{"1", "2", "", "3", "4", "5", "6", "7", "8", "9", "10", "11",
                                      "12"});
}

} // namespace payload_test
