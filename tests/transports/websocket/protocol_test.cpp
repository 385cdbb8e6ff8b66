#include "octets.hpp"

#include <doctest/doctest.h>

#include <cctype>
#include <cstdint>
#include <set>

namespace protocol_test {

using namespace sidecar;
using namespace sidecar::websocket;

constexpr std::size_t mebibyte = 1u << 20;

std::string frame(unsigned first, std::string_view payload) { return server_frame(first, payload); }

struct Case {
    const char* sent;
    const char* told;
};

void check_all(std::span<const Case> cases, std::size_t limit = mebibyte)
{
    for (const auto& one : cases) {
        CAPTURE(one.sent);
        CHECK(told(hear_every_way(octets(one.sent), limit)) == one.told);
    }
}

TEST_CASE("protocol: messages, fragments and control frames mix, in order")
{
    constexpr Case cases[] = {
        {"81 00", "t: on"},
        {"82 00", "b: on"},
        {"81 05 'hello' 82 02 00 'b' 81 00", nullptr},
        {"01 02 'he' 80 03 'llo' 81 01 'x'", "t:hello t:x on"},
        {"02 02 'he' 00 00 00 01 'l' 80 02 'lo'", "b:hello on"},
        {"01 00 80 00", "t: on"},
        {"01 02 'he' 89 01 'p' 80 03 'llo'", "t:hello on"},
        {"01 02 'he' 8a 00 00 01 'l' 89 00 8a 01 'x' 80 02 'lo' 82 01 'y'", "t:hello b:y on"},
        {"89 7d", "on"},
        {"01 02 'he' 88 02 03 e8", "closed 1000"},
    };
    for (const auto& one : cases) {
        CAPTURE(one.sent);
        const auto heard = hear_every_way(octets(one.sent));
        if (one.told)
            CHECK(told(heard) == one.told);
    }
    CHECK(hear_every_way(octets(cases[2].sent)).messages
          == std::vector<Heard::Message>{{MessageKind::text, "hello"},
                                         {MessageKind::binary, {"\0b", 2}},
                                         {MessageKind::text, ""}});
}

TEST_CASE("protocol: all lengths come whole, at the edges of the three forms")
{
    for (const std::size_t size : {0, 1, 125, 126, 127, 255, 256, 65'535, 65'536, 100'000}) {
        CAPTURE(size);
        const std::string payload(size, 'x');
        const auto heard =
            hear(frame(0x81, payload) + frame(0x82, payload), mebibyte, 1000, Large::in_place);
        CHECK(heard.messages
              == std::vector<Heard::Message>{{MessageKind::text, payload},
                                             {MessageKind::binary, payload}});
    }
}

TEST_CASE("protocol: what no server may send is 1002, and what came before it is given out")
{
    constexpr Case cases[] = {
        {"81 01 'a' c1 00", "t:a wrong 1002"}, // RSV1
        {"a1 00", "wrong 1002"},
        {"91 00", "wrong 1002"},
        {"91", "wrong 1002"}, // known at its first octet
        {"83 00", "wrong 1002"},
        {"87 00", "wrong 1002"},
        {"8b 00", "wrong 1002"},
        {"8f 00", "wrong 1002"},
        {"81 81 00 00 00 00 'a'", "wrong 1002"}, // masked
        {"81 80", "wrong 1002"},
        {"89 80 00 00 00 00", "wrong 1002"},
        {"09 00", "wrong 1002"}, // control frames: fragmented, too large
        {"08 00", "wrong 1002"},
        {"0a 00", "wrong 1002"},
        {"89 7e", "wrong 1002"},
        {"88 7f", "wrong 1002"},
        {"80 00", "wrong 1002"}, // continues nothing
        {"00 01 'a'", "wrong 1002"},
        {"01 01 'a' 80 01 'b' 80 00", "t:ab wrong 1002"},
        {"01 01 'a' 81 01 'b'", "wrong 1002"}, // begins within another
        {"01 01 'a' 02 01 'b'", "wrong 1002"},
        {"81 7e 00 05 'hello'", "wrong 1002"}, // lengths not in the fewest bytes
        {"81 7e 00 7d", "wrong 1002"},
        {"82 7f 00 00 00 00 00 00 ff ff", "wrong 1002"},
        {"82 7f 00 00 00 00 00 00 00 01 'a'", "wrong 1002"},
        {"01 7e 00 05 'hello'", "wrong 1002"},
        {"82 7f 80 00 00 00 00 00 00 00", "wrong 1002"}, // the highest bit
        {"82 7f ff ff ff ff ff ff ff ff", "wrong 1002"},
        {"82 01 'a' 81 01 'b' c2 00 81 01 'c'", "b:a t:b wrong 1002"},
    };
    check_all(cases);
}

TEST_CASE("protocol: a message above the limit is 1009 at its head, over all its fragments")
{
    constexpr Case cases[] = {
        {"81 05 'hello'", "t:hello on"},
        {"81 06", "too big 1009"},
        {"82 7f 7f ff ff ff ff ff ff ff", "too big 1009"},
        {"82 7f 00 00 00 01 00 00 00 00", "too big 1009"},
        {"01 03 'hel' 80 02 'lo'", "t:hello on"},
        {"01 03 'hel' 80 03", "too big 1009"},
        {"01 05 'hello' 00 00 80 00", "t:hello on"},
        {"01 05 'hello' 00 01", "too big 1009"},
        {"01 05 'hello' 00 7f 7f ff ff ff ff ff ff ff", "too big 1009"},
        {"01 7e 00 7e", "too big 1009"},
        {"89 06 'longer' 81 01 'a'", "t:a on"}, // it is about messages only
    };
    check_all(cases, 5);
    constexpr Case nothing_fits[] = {
        {"81 00 82 00 01 00 80 00", "t: b: t: on"},
        {"81 01", "too big 1009"},
        {"01 00 80 01", "too big 1009"},
    };
    check_all(nothing_fits, 0);
}

TEST_CASE("protocol: memory follows what has come, not what was announced, and is given back")
{
    Driver driver{std::size_t{1} << 40};
    driver.feed(octets("02 7f 00 00 00 01 00 00 00 00 'begins'"));
    CHECK_FALSE(driver.heard().ending);
    CHECK(driver.protocol().held_bytes() <= 256);

    Driver other{4 * mebibyte};
    other.feed(frame(0x02, std::string(mebibyte, 'x')));
    CHECK(other.protocol().held_bytes() >= mebibyte);
    CHECK(other.protocol().held_bytes() <= 2 * mebibyte);
    other.feed(frame(0x80, ""));
    CHECK(other.heard().messages.size() == 1);
    CHECK(other.protocol().held_bytes() <= Assembly::kept_bytes);
}

TEST_CASE("protocol: text that is not UTF-8 is 1007, a good message after it or before it is not")
{
    constexpr Case cases[] = {
        {"01 02 e2 82 80 00", "wrong 1007"},
        {"01 05 'hello' 80 00", "t:hello on"},
        {"01 02 e2 82 80 01 ac", "t:\xe2\x82\xac on"},
        {"01 02 e2 82 89 00 00 00 80 01 ac", "t:\xe2\x82\xac on"},
        {"01 01 f0 00 01 9f 00 01 98 80 01 80", "t:\xf0\x9f\x98\x80 on"},
        {"01 01 f0 80 01 80", "wrong 1007"},
        {"81 01 'a' 81 01 ff 81 01 'b'", "t:a wrong 1007"},
        {"81 02 e2 82 81 01 'b'", "wrong 1007"},
        {"02 02 e2 82 80 00 81 01 'b'", "b:\xe2\x82 t:b on"}, // bytes may be anything
        {"82 01 ff 01 01 'a' 80 01 'b'", "b:\xff t:ab on"},
        {"01 01 ff 88 02 03 e8", "wrong 1007"}, // first what came first
        {"01 01 ff 89 00", "wrong 1007"},
        {"01 01 ff c1", "wrong 1007"},
        {"01 01 e2 00 01 'a' 80 00", "wrong 1007"},
        {"01 02 e2 82 88 00", "closed 0"}, // it could have gone on
    };
    check_all(cases);
    CHECK(hear(octets("01 02 'ok' 80 03 'ok' ff"), mebibyte).ending->explanation
          == "a text message is not UTF-8, from byte 4 on");
}

TEST_CASE(
    "protocol: text is refused at the octet where it goes wrong, without waiting for the rest")
{
    // each is shown up to its last octet, which is wrong, of a message that is far from its end
    constexpr const char* cases[] = {
        "81 64 'fine' ff",    "81 64 'fine' e2 82 'x'",
        "81 64 c0",           "81 64 c1",
        "81 64 e0 80",        "81 64 ed a0",
        "81 64 f0 80",        "81 64 f4 90",
        "81 64 f5",           "81 64 80",
        "81 64 f0 9f 'x'",    "81 7e 01 00 'fine' ff",
        "01 64 'fine' ff",    "01 04 'fine' 00 64 ff",
        "01 01 e2 00 64 'x'", "81 7f 00 00 00 00 00 01 00 00 'fine' e2 82 ac ed bf",
    };
    for (const auto* script : cases) {
        CAPTURE(script);
        const auto bytes = octets(script);
        CHECK(told(hear_every_way(bytes)) == "wrong 1007");
        CHECK(told(hear_every_way(std::string_view{bytes}.substr(0, bytes.size() - 1))) == "on");
    }
}

TEST_CASE("protocol: long text is judged wherever it is cut and wherever it is wrong")
{
    std::string text;
    while (text.size() < 1000)
        text += "price \xe2\x82\xac \xf0\x9f\x98\x80 \xc3\xa9 ";
    const auto good = frame(0x81, text) + frame(0x01, text) + frame(0x80, text);
    for (std::size_t segment_bytes = 1; segment_bytes < 70; ++segment_bytes)
        CHECK(hear(good, mebibyte, segment_bytes).messages.size() == 2);
    for (std::size_t at = 0; at < 70; ++at) {
        auto bad = text;
        bad.insert(900 + at, 1, '\xff');
        const auto bytes = frame(0x81, "first") + frame(0x81, bad) + frame(0x81, "third");
        const auto heard = hear_every_way(bytes);
        CHECK(heard.messages.size() == 1);
        REQUIRE(heard.ending);
        CHECK(heard.ending->close_code == close_code::not_utf8);
    }
}

TEST_CASE("protocol: short texts in a row are judged one by one, were a character cut between two")
{
    const std::string good = "\xe4\xbd\xa0 ok \xf0\x9f\x98\x80";
    for (std::size_t before : {0, 1, 5, 100, 300}) {
        std::string bytes;
        for (std::size_t i = 0; i < before; ++i)
            bytes += frame(0x81, good + std::to_string(i)) + frame(0x81, "");
        const auto fine = hear(bytes, mebibyte);
        CHECK(told(fine).ends_with("on"));
        CHECK(fine.messages.size() == 2 * before);
        for (const auto* bad :
             {"81 02 e2 82 81 01 ac", "81 01 e2 81 02 82 ac", "81 01 ff", "81 01 ac 81 01 ac"}) {
            const auto heard = hear(bytes + octets(bad) + frame(0x81, good), mebibyte);
            CHECK(heard.messages == fine.messages);
            CHECK(told(heard).ends_with("wrong 1007"));
        }
        // a row may be cut by what is no text, or no whole message
        const auto cut = bytes + frame(0x82, "\xff") + frame(0x81, good) + frame(0x01, good)
                         + frame(0x89, "") + frame(0x80, good) + bytes;
        CHECK(hear(cut, mebibyte).is_the_same_as(hear(cut, mebibyte, 1)));
        CHECK(hear(cut, mebibyte).messages.size() == 4 * before + 3);
    }
    // the message limit holds within a row too
    CHECK(told(hear(frame(0x81, "\xc3\xa9") + frame(0x81, "\xc3\xa9x"), 2))
          == "t:\xc3\xa9 too big 1009");
}

TEST_CASE("protocol: the peer's Close tells code and reason, and nothing behind it is looked at")
{
    constexpr Case cases[] = {
        {"88 00", "closed 0"},
        {"88 02 03 e9", "closed 1001"},
        {"88 05 03 e9 'bye'", "closed 1001bye"},
        {"88 05 03 e9 'bye' 81 01 'x' ff ff", "closed 1001bye"},
        {"81 01 'a' 88 00 88 01", "t:a closed 0"},
        {"88 01 03", "wrong 1002"},
        {"88 03 03 e9 ff", "wrong 1007"},
        {"88 04 03 e9 e2 82", "wrong 1007"},
        {"88", "on"},
        {"88 02 03", "on"},
    };
    check_all(cases);
}

TEST_CASE("protocol: close codes by RFC 6455 section 7.4 and the registry")
{
    const auto is_valid = [](unsigned code) {
        return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006)
               || (code >= 3000 && code <= 4999);
    };
    for (unsigned code = 0; code <= 0xffff; ++code) {
        const char payload[] = {static_cast<char>(code >> 8), static_cast<char>(code)};
        const auto heard = hear(frame(0x88, {payload, 2}), mebibyte);
        REQUIRE(heard.ending);
        CAPTURE(code);
        if (is_valid(code) != (heard.ending->error == Error::closed_by_peer))
            FAIL_CHECK("the code is judged wrongly");
        if (is_valid(code) && heard.ending->close_code != code)
            FAIL_CHECK("the code is told wrongly");
    }
}

TEST_CASE("protocol: a ping is answered with its payload; of several that were decoded, the latest")
{
    Driver driver{mebibyte};
    auto& protocol = driver.protocol();
    std::vector<std::byte> out;
    CHECK_FALSE(protocol.owes_answer());
    protocol.append_answer(out);
    CHECK(out.empty());

    const auto pings = octets("89 05 'first' 8a 03 'not' 89 06 'second'");
    const auto bytes = std::as_bytes(std::span{pings});
    for (std::size_t at = 0; at < bytes.size();)
        at += protocol.decode(bytes.subspan(at)).consumed_bytes;
    CHECK(protocol.owes_answer());
    protocol.append_answer(out);
    CHECK_FALSE(protocol.owes_answer());
    const auto frames = frames_of(out);
    REQUIRE(frames.size() == 1);
    CHECK(frames[0].first == 0x8a);
    CHECK(frames[0].payload == "second");
}

TEST_CASE("protocol: pings among bytes that cannot be decoded yet are found once, whatever stands "
          "around them")
{
    struct Case {
        const char* waiting;
        std::size_t seen; // octets, if all came at once
        const char* last; // ping that was found
    };
    constexpr Case cases[] = {
        {"81 02 'ab' 89 01 'p' 82 00", 9, "p"},    {"89 01 'p' 89 01 'q' 81 05 'hel'", 6, "q"},
        {"01 01 'a' 89 01 'p' 80 01 'b'", 9, "p"}, {"81 01 'a' 89 01", 3, "none"},
        {"89 01 'p' 88 00 89 01 'q'", 3, "p"}, // a Close is not passed over
        {"89 01 'p' c1 00 89 01 'q'", 3, "p"}, // nor what is wrong
        {"89 01 'p' 89 7e 00 7e", 3, "p"},         {"8a 00 8a 00", 4, "none"},
    };
    for (const auto& one : cases)
        for (const auto role : {Role::client, Role::server}) {
            CAPTURE(one.waiting);
            const bool is_server = role == Role::server;
            const auto encoded = [&](std::string_view frames) {
                return is_server ? of_other_role(frames) : std::string{frames};
            };
            auto text = encoded(octets(one.waiting)), twice = text;
            const auto bytes = std::as_bytes(std::span{text});
            const auto seen = encoded(octets(one.waiting).substr(0, one.seen)).size();
            Protocol at_once{mebibyte, role}, octet_by_octet{mebibyte, role};
            const auto look = [](Protocol& protocol, std::span<const std::byte> at,
                                 std::size_t from) {
                for (;;) { // one look ends behind a ping
                    const auto end = protocol.look_ahead(at, from);
                    if (end == from)
                        return end;
                    from = end;
                }
            };
            CHECK(look(at_once, bytes, 0) == seen);
            std::size_t offset = 0;
            for (std::size_t size = 1; size <= bytes.size(); ++size)
                offset = look(octet_by_octet, bytes.first(size), offset);
            CHECK(offset == seen);
            for (auto* protocol : {&at_once, &octet_by_octet}) {
                std::vector<std::byte> out;
                protocol->append_answer(out);
                const auto answered = out.empty() ? "none"
                                      : is_server ? text_of(out).substr(2)
                                                  : frames_of(out).at(0).payload;
                CHECK(answered == one.last);
                // decoded later: those that were found are not answered again, others are
                auto more = encoded(octets("89 01 'n'"));
                auto& own = protocol == &at_once ? text : twice;
                const auto first = std::as_bytes(std::span{own}).first(seen);
                for (std::size_t at = 0; at < seen;)
                    at += protocol->decode(first.subspan(at)).consumed_bytes;
                CHECK_FALSE(protocol->owes_answer());
                CHECK(protocol->decode(std::as_bytes(std::span{more})).consumed_bytes
                      == more.size());
                CHECK(protocol->owes_answer());
            }
        }
}

TEST_CASE("protocol: our answer to an ending is a Close, and nothing leaves behind it")
{
    struct Answer {
        const char* sent;
        std::string payload;
    };
    const Answer cases[] = {
        {"88 00", ""},
        {"88 05 0f a1 'bye'", "\x0f\xa1"},
        {"c1", "\x03\xea"},
        {"81 01 ff", "\x03\xef"},
        {"82 7f 7f ff ff ff ff ff ff ff", "\x03\xf1"},
    };
    for (const auto& one : cases) {
        CAPTURE(one.sent);
        Driver driver{mebibyte};
        driver.feed(octets(one.sent));
        auto& protocol = driver.protocol();
        CHECK(protocol.owes_answer());
        std::vector<std::byte> out;
        CHECK(protocol.append_message(out, MessageKind::text, {}));
        protocol.append_answer(out);
        CHECK(protocol.is_send_over());
        CHECK_FALSE(protocol.owes_answer());
        CHECK_FALSE(protocol.append_message(out, MessageKind::text, {}));
        protocol.append_answer(out);
        protocol.append_close(out, 1000, {});
        const auto frames = frames_of(out);
        REQUIRE(frames.size() == 2);
        CHECK(frames[1].first == 0x88);
        CHECK(frames[1].payload == one.payload);
    }
}

TEST_CASE(
    "protocol: after our Close messages still come, pings are not answered, the peer's ends it")
{
    Driver driver{mebibyte};
    auto& protocol = driver.protocol();
    std::vector<std::byte> out;
    protocol.append_close(out, 1001, "good bye");
    driver.feed(octets("81 01 'a' 89 00"));
    CHECK(driver.heard().messages.size() == 1);
    CHECK_FALSE(protocol.owes_answer());
    driver.feed(octets("88 02 03 e9"));
    REQUIRE(protocol.ending());
    CHECK(protocol.ending()->error == Error::closed_by_peer);
    CHECK_FALSE(protocol.owes_answer());
    protocol.append_answer(out);
    const auto frames = frames_of(out);
    REQUIRE(frames.size() == 1);
    CHECK(frames[0].payload == "\x03\xe9good bye");
}

TEST_CASE("protocol: the reason of our Close is cut where a character ends")
{
    for (int ascii = 0; ascii < 4; ++ascii) {
        Protocol protocol{0};
        std::vector<std::byte> out;
        std::string reason(static_cast<std::size_t>(ascii), 'x');
        while (reason.size() < 200)
            reason += "\xe2\x82\xac";
        protocol.append_close(out, 1000, reason);
        const auto payload = frames_of(out).at(0).payload;
        CHECK(payload.size() <= max_control_bytes);
        CHECK(payload.size() > max_control_bytes - 3);
        CHECK(is_utf8(std::as_bytes(std::span{payload}.subspan(2))));
    }
    Protocol protocol{0};
    std::vector<std::byte> out;
    protocol.append_close(out, close_code::none, "left out");
    CHECK(frames_of(out).at(0).payload.empty());
}

TEST_CASE("protocol: what is sent is whole, masked, and has the shortest length")
{
    for (const std::size_t size : {0, 1, 7, 8, 33, 125, 126, 65'535, 65'536}) {
        CAPTURE(size);
        std::string payload;
        for (std::size_t i = 0; i < size; ++i)
            payload += static_cast<char>(i * 7);
        const auto bytes = std::as_bytes(std::span{payload});
        Protocol protocol{0};
        std::vector<std::byte> out;
        CHECK(protocol.append_message(out, MessageKind::binary, bytes));
        CHECK(protocol.append_message(out, MessageKind::text, bytes));
        const auto frames = frames_of(out);
        REQUIRE(frames.size() == 2);
        CHECK(frames[0].first == 0x82);
        CHECK(frames[1].first == 0x81);
        for (const auto& one : frames)
            CHECK((one.payload == payload));
    }
}

TEST_CASE("protocol: a message in pieces is a message in fragments, between which a pong may go")
{
    std::string payload;
    for (std::size_t i = 0; i < 5000; ++i)
        payload += static_cast<char>(i * 7);
    const auto bytes = std::as_bytes(std::span{payload});
    for (const std::size_t step : {1u, 100u, 999u, 2500u, 5000u}) {
        CAPTURE(step);
        Protocol protocol{0};
        std::vector<std::byte> out;
        auto message = protocol.begin_message(MessageKind::text, bytes.size());
        while (message.offset() < bytes.size()) {
            const auto rest = bytes.subspan(message.offset());
            message.append(out, rest.first(std::min(step, rest.size())));
            (void)protocol.append_pong(out, std::as_bytes(std::span{"p", 1}));
        }
        std::string whole;
        const auto frames = frames_of(out);
        for (std::size_t i = 0; i < frames.size(); ++i) {
            if (i % 2 == 1) {
                CHECK(frames[i].first == 0x8a);
                continue;
            }
            whole += frames[i].payload;
            CHECK(frames[i].first
                  == ((i == 0 ? 0x01u : 0u) | (i + 2 == frames.size() ? 0x80u : 0u)));
        }
        CHECK((whole == payload));
    }
}

TEST_CASE("protocol: a server sends unmasked frames, and says what a client has done wrong")
{
    Protocol protocol{mebibyte, Role::server};
    std::vector<std::byte> out;
    CHECK(protocol.append_message(out, MessageKind::text, std::as_bytes(std::span{"hi", 2})));
    CHECK(protocol.append_ping(out, std::as_bytes(std::span{"p", 1})));
    auto pieces = protocol.begin_message(MessageKind::binary, 4);
    pieces.append(out, std::as_bytes(std::span{"ab", 2}));
    pieces.append(out, std::as_bytes(std::span{"cd", 2}));
    CHECK(protocol.append_close(out, 1001, "bye"));
    CHECK(text_of(out) == octets("81 02 'hi' 89 01 'p' 02 02 'ab' 80 02 'cd' 88 05 03 e9 'bye'"));
    for (const std::size_t size : {125, 126, 65'535, 65'536}) {
        const std::string payload(size, 'x');
        Protocol other{0, Role::server};
        out.clear();
        CHECK(other.append_message(out, MessageKind::binary, std::as_bytes(std::span{payload})));
        CHECK((text_of(out) == frame(0x82, payload)));
    }
    // whatever goes before it, an unmasked frame of any form is refused
    for (const auto* unmasked : {"81 02 'hi'", "82 00", "89 00", "88 00", "82 7e", "01 01 'a'"}) {
        CAPTURE(unmasked);
        for (const auto& before : {std::string{}, of_other_role(octets("81 01 'a'")),
                                   of_other_role(octets("82 01 'a' 89 01 'p'"))}) {
            const auto heard =
                hear_every_way_as(Role::server, before + octets(unmasked), mebibyte, {});
            REQUIRE(heard.ending);
            CHECK(heard.ending->close_code == close_code::protocol_error);
            CHECK(heard.ending->explanation == "the client has not masked a frame");
            CHECK(heard.messages.size() == (before.empty() ? 0 : 1));
        }
    }
    CHECK(hear(octets("81 80"), mebibyte).ending->explanation == "the server has masked a frame");
    // a key of zeros is one too
    CHECK(told(hear_every_way_as(Role::server, octets("81 82 00 00 00 00 'hi'"), mebibyte, {}))
          == "t:hi on");
}

TEST_CASE("protocol: long messages are unmasked wherever they are cut")
{
    std::string text;
    for (unsigned i = 0; text.size() < 70'000; ++i)
        text += std::to_string(i * 7919);
    for (const std::size_t size : {1u, 7u, 8u, 33u, 125u, 126u, 65'535u, 70'000u}) {
        CAPTURE(size);
        const auto payload = text.substr(0, size);
        const auto half = payload.substr(0, size / 2), rest = payload.substr(size / 2);
        const auto bytes = of_other_role(frame(0x81, payload) + frame(0x02, half)
                                         + frame(0x89, "ping") + frame(0x80, rest));
        for (const std::size_t segment_bytes : {0u, 13u, 1000u, 4099u})
            for (const auto large : {Large::collected, Large::in_place}) {
                const auto heard = hear(bytes, mebibyte, segment_bytes, large, {}, Role::server);
                CHECK((heard.messages
                       == std::vector<Heard::Message>{{MessageKind::text, payload},
                                                      {MessageKind::binary, payload}}));
                CHECK(heard.last_ping == "ping");
            }
    }
}

TEST_CASE("protocol: ten million pings, and as many empty fragments as may be, hold no memory")
{
    Protocol protocol{mebibyte};
    const auto pings = [] {
        std::string text;
        for (int i = 0; i < 1000; ++i)
            text += frame(0x89, std::string(125, 'p'));
        return text;
    }();
    const auto bytes = std::as_bytes(std::span{pings});
    for (int round = 0; round < 10'000; ++round)
        for (std::size_t at = 0; at < bytes.size();)
            at += protocol.decode(bytes.subspan(at)).consumed_bytes;
    CHECK_FALSE(protocol.ending());
    CHECK(protocol.held_bytes() == 0);
    std::vector<std::byte> out;
    protocol.append_answer(out);
    CHECK(out.size() == 2 + 4 + 125);
}

TEST_CASE(
    "protocol: a message of empty fragments ends at a count, one of single bytes at the limit")
{
    const auto empty = [](std::size_t count) {
        auto text = octets("01 01 'a'");
        for (std::size_t i = 0; i < count; ++i)
            text += octets("00 00");
        return text + octets("80 01 'b'");
    };
    CHECK(told(hear(empty(Receiver::max_empty_fragments), 10)) == "t:ab on");
    CHECK(told(hear(empty(Receiver::max_empty_fragments + 1), 10)) == "wrong 1008");
    // the count is one message's
    auto twice = empty(Receiver::max_empty_fragments);
    twice += twice;
    CHECK(told(hear(twice, 10)) == "t:ab t:ab on");

    auto single = octets("02 01 'x'");
    for (std::size_t i = 0; i < mebibyte; ++i)
        single += octets("00 01 'x'");
    const auto heard = hear(single, mebibyte);
    CHECK(told(heard) == "too big 1009");
    CHECK(heard.max_held_bytes <= 2 * mebibyte);
}

} // namespace protocol_test
