#include <sidecar/transports/framing.hpp>

#include <doctest/doctest.h>

#include <string_view>

using namespace sidecar;

namespace {

std::span<const std::byte> bytes_of(std::string_view text)
{
    return std::as_bytes(std::span{text});
}

std::string text_of(std::span<const std::byte> bytes)
{
    return std::string{MessageView{{}, MessageKind::binary, bytes}.text()};
}

/// Decodes as a connection does that gets the stream in these pieces.
template <class F>
std::vector<std::string> decode(F framing, std::initializer_list<std::string_view> pieces,
                                std::size_t limit = 1000)
{
    std::vector<std::string> messages;
    std::string unread;
    for (const auto piece : pieces) {
        unread += piece;
        for (;;) {
            const auto decoded = framing.decode(bytes_of(unread), limit);
            if (!decoded.is_complete)
                break;
            messages.push_back(text_of(decoded.payload));
            unread.erase(0, decoded.consumed_bytes);
        }
    }
    return messages;
}

/// The stream cut in two at every place.
template <class F>
void check_every_cut(F framing, std::string_view stream, const std::vector<std::string>& messages)
{
    for (std::size_t at = 0; at <= stream.size(); ++at) {
        CAPTURE(at);
        CHECK(decode(framing, {stream.substr(0, at), stream.substr(at)}) == messages);
    }
}

template <class F>
std::string refusal(F framing, std::string_view bytes, std::size_t limit)
{
    try {
        (void)framing.decode(bytes_of(bytes), limit);
    } catch (const Exception& e) {
        CHECK(e.failure() == Error::too_big);
        return e.failure().explanation();
    }
    return "taken";
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
            CHECK(MessageView{{}, MessageKind::binary, decoded.payload}.text()
                  == messages[found++]);
            begin += decoded.consumed_bytes;
        }
    }
    CHECK(found == messages.size());
    CHECK(begin == stream.size());
}

} // namespace

TEST_CASE("framings: a stream may be cut anywhere, between '\\r' and '\\n' too")
{
    check_every_cut(LengthPrefix{1}, std::string_view("\3abc\0\1d", 7), {"abc", "", "d"});
    check_every_cut(LengthPrefix{2}, std::string_view("\0\3abc\0\0\0\1d", 10), {"abc", "", "d"});
    check_every_cut(LengthPrefix{4, std::endian::little},
                    std::string_view("\3\0\0\0abc\0\0\0\0", 11), {"abc", ""});
    check_every_cut(LengthPrefix{8}, std::string_view("\0\0\0\0\0\0\0\3abc\0\0\0\0\0\0\0\0", 19),
                    {"abc", ""});
    check_every_cut(Lines{}, "abc\r\n\r\nd\n\ne\rf\n", {"abc", "", "d", "", "e\rf"});
    check_every_cut(Lines{'\0'}, std::string_view("abc\r\0\0d\0", 8), {"abc\r", "", "d"});
    check_every_cut(FixedSize<3>{}, "abcdef", {"abc", "def"});
}

TEST_CASE("LengthPrefix: says how many bytes are missing, so that the buffer grows once")
{
    LengthPrefix framing{4};
    CHECK(framing.decode({}, 1000).missing_bytes == 4);
    CHECK(framing.decode(bytes_of(std::string_view("\0\0", 2)), 1000).missing_bytes == 2);
    CHECK(framing.decode(bytes_of(std::string_view("\0\0\1\0ab", 6)), 1000).missing_bytes == 254);
}

TEST_CASE(
    "framings: what passes the limit is refused as soon as that is known, and the sizes are named")
{
    CHECK(refusal(LengthPrefix{2}, std::string_view("\3\xe9", 2), 1000)
          == "a message of 1001 bytes; the option max_message_bytes is 1000");
    CHECK(refusal(LengthPrefix{2}, std::string_view("\3\xe8", 2), 1000) == "taken");
    CHECK(refusal(LengthPrefix{8}, "\xff\xff\xff\xff\xff\xff\xff\xff", 1000)
          == "a message of 18446744073709551615 bytes; the option max_message_bytes is 1000");
    CHECK(refusal(Lines{}, std::string(11, 'x') + "\n", 10)
          == "a message of 11 bytes; the option max_message_bytes is 10");
    CHECK(refusal(Lines{}, std::string(10, 'x') + "\r\n", 10) == "taken");
    CHECK(refusal(Lines{}, std::string(10, 'x') + "\r", 10) == "taken");
    CHECK(refusal(Lines{}, std::string(12, 'x'), 10)
          == "no end of a message in 12 bytes; the option max_message_bytes is 10");
}

TEST_CASE("Lines: a long line that trickles in is not scanned anew with each byte")
{
    // The square of this many bytes would take minutes.
    constexpr std::size_t size = 1u << 20;
    const std::string line = std::string(size, 'x') + '\n';
    Lines framing;
    bool is_early = false;
    for (std::size_t at = 1; at <= size; ++at)
        is_early |= framing.decode(bytes_of(line).first(at), size).is_complete;
    CHECK_FALSE(is_early);
    CHECK(framing.decode(bytes_of(line), size).payload.size() == size);
    CHECK(framing.decode(bytes_of("next\n"), size).payload.size() == 4);
}

TEST_CASE("Raw: passes on what is there, in pieces of at most the limit")
{
    CHECK_FALSE(Raw{}.decode({}, 4).is_complete);
    CHECK(decode(Raw{}, {"abcdefghij", "k"}, 4)
          == std::vector<std::string>{"abcd", "efgh", "ij", "k"});
}

TEST_CASE("framings: settings that make no sense, and messages that cannot be carried, are named")
{
    for (const unsigned width : {0u, 3u, 5u, 9u}) {
        const auto checked = LengthPrefix{.width = width}.check(1000);
        REQUIRE_FALSE(checked);
        CHECK(checked.error() == Error::bad_options);
        CHECK(checked.error().message().find(std::to_string(width) + " bytes")
              != std::string::npos);
    }
    CHECK(FixedSize<8>{}.check(7).error() == Error::bad_options);
    CHECK(FixedSize<8>{}.check(8));
    CHECK(LengthPrefix{1}.check_send(bytes_of(std::string(255, 'x'))));
    CHECK(LengthPrefix{1}.check_send(bytes_of(std::string(256, 'x'))).error() == Error::too_big);
    CHECK(LengthPrefix{2}.check_send(bytes_of(std::string(65'536, 'x'))).error() == Error::too_big);
    CHECK(LengthPrefix{8}.check_send({}));
    CHECK(Lines{}.check_send({}));
    CHECK(Lines{}.check_send(bytes_of("a;b")));
    CHECK(Lines{}.check_send(bytes_of("a\rb")));
    // The receiver would take it for a part of the line's end
    CHECK(Lines{}.check_send(bytes_of("ab\r")).error() == Error::bad_message);
    CHECK(Lines{}.check_send(bytes_of("\r")).error() == Error::bad_message);
    CHECK(Lines{';'}.check_send(bytes_of("ab\r")));
    CHECK(Lines{';'}.check_send(bytes_of("a;b")).error() == Error::bad_message);
    CHECK(FixedSize<4>{}.check_send(bytes_of("abc")).error().message().find("3 bytes")
          != std::string::npos);
}

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
    const MessageView view{{}, MessageKind::binary, out};
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
        CHECK(MessageView{{}, MessageKind::binary, decoded.payload}.text() == expected);
        rest = rest.subspan(decoded.consumed_bytes);
    }
}
