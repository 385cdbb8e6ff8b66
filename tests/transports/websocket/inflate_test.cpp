// What the peer has compressed.
#include "octets.hpp"
#include "zlib_peer.hpp"

#include <random>

namespace inflate_test {

using namespace sidecar;
using namespace sidecar::websocket;

constexpr Deflation with_context{};
constexpr Deflation without_context{.peer_keeps_context = false, .keeps_context = false};

struct Case {
    const char* sent;
    const char* told;
};

void check_all(std::span<const Case> cases, const Deflation& deflation = with_context)
{
    for (const auto& one : cases) {
        CAPTURE(one.sent);
        CHECK(told(hear_every_way(octets(one.sent), 1u << 20, deflation)) == one.told);
    }
}

std::string compressed_frame(std::string_view payload) { return server_frame(0xc1, payload); }

TEST_CASE("inflate: the examples of RFC 7692 section 7.2.3")
{
    constexpr Case cases[] = {
        {"c1 07 f2 48 cd c9 c9 07 00", "t:Hello on"},
        {"c2 07 f2 48 cd c9 c9 07 00", "b:Hello on"},
        {"41 03 f2 48 cd 80 04 c9 c9 07 00", "t:Hello on"},
        {"c1 07 f2 48 cd c9 c9 07 00 c1 07 f2 48 cd c9 c9 07 00", "t:Hello t:Hello on"},
        {"c1 0b 00 05 00 fa ff 'Hello' 00", "t:Hello on"},              // a stored block
        {"c1 08 f3 48 cd c9 c9 07 00 00", "t:Hello on"},                // BFINAL
        {"c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00", "t:Hello on"}, // two blocks
        {"c1 01 00", "t: on"},
    };
    check_all(cases);
    check_all(cases, without_context);
}

TEST_CASE("inflate: a message refers to earlier ones where that was agreed on, and only there")
{
    constexpr Case first_and_second[] = {
        {"c1 07 f2 48 cd c9 c9 07 00 c1 05 f2 00 11 00 00", "t:Hello t:Hello on"}};
    check_all(first_and_second);
    constexpr Case refused[] = {
        {"c1 07 f2 48 cd c9 c9 07 00 c1 05 f2 00 11 00 00", "t:Hello wrong 1007"}};
    check_all(refused, without_context);
}

TEST_CASE("inflate: plain messages, pings and a Close between compressed ones and their fragments")
{
    constexpr Case cases[] = {
        {"81 02 'hi' c1 07 f2 48 cd c9 c9 07 00 82 01 'x' c1 05 f2 00 11 00 00",
         "t:hi t:Hello b:x t:Hello on"},
        {"41 03 f2 48 cd 89 01 'p' 00 00 00 02 c9 c9 8a 00 00 00 80 02 07 00 81 01 '.'",
         "t:Hello t:. on"},
        {"41 03 f2 48 cd 88 02 03 e8", "closed 1000"},
        // fragments that are plain, and a compressed message behind them
        {"01 02 'ab' 80 01 'c' c1 07 f2 48 cd c9 c9 07 00", "t:abc t:Hello on"},
    };
    check_all(cases);
}

TEST_CASE("inflate: blocks that end their stream")
{
    constexpr Case cases[] = {
        // without the octet that should follow it
        {"c1 07 f3 48 cd c9 c9 07 00 c1 07 f2 48 cd c9 c9 07 00", "t:Hello t:Hello on"},
        // several in one message, and a message that refers to before them
        {"c1 0f f3 48 cd c9 c9 07 00 f3 48 cd c9 c9 07 00 00", "t:HelloHello on"},
        {"c1 08 f3 48 cd c9 c9 07 00 00 c1 05 f2 00 11 00 00", "t:Hello t:Hello on"},
        {"c1 02 03 00 c1 03 03 00 00 81 01 '.'", "t: t: t:. on"},
        // and what follows it is rubbish
        {"c1 09 f3 48 cd c9 c9 07 00 ff ff", "wrong 1007"},
    };
    check_all(cases);
}

TEST_CASE("inflate: nothing at all is an empty message, and spoils nothing")
{
    constexpr Case cases[] = {
        {"c1 00 c1 07 f2 48 cd c9 c9 07 00", "t: t:Hello on"},
        {"41 00 00 00 80 00 c1 07 f2 48 cd c9 c9 07 00", "t: t:Hello on"},
        {"41 00 00 01 f2 00 00 80 06 48 cd c9 c9 07 00", "t:Hello on"},
    };
    check_all(cases);
}

TEST_CASE("inflate: RSV1 stands on the first frame of a message, and only where it was agreed on")
{
    constexpr Case agreed[] = {
        {"41 03 f2 48 cd c0 04 c9 c9 07 00", "wrong 1002"},
        {"01 01 'a' c0 01 'b'", "wrong 1002"},
        {"c9 00", "wrong 1002"},
        {"c8 02 03 e8", "wrong 1002"},
        {"ca 00", "wrong 1002"},
        {"e1 07 f2 48 cd c9 c9 07 00", "wrong 1002"},
        {"d1 07 f2 48 cd c9 c9 07 00", "wrong 1002"},
        {"a1 01 'a'", "wrong 1002"},
        {"c3 01 'a'", "wrong 1002"},
        {"41 03 f2 48 cd c1 07 f2 48 cd c9 c9 07 00", "wrong 1002"},
    };
    check_all(agreed);
    for (const auto* sent : {"c1 07 f2 48 cd c9 c9 07 00", "41 03 f2 48 cd"})
        CHECK(told(hear_every_way(octets(sent))) == "wrong 1002");
    CHECK(hear(octets("c0 00"), 100, 0, Large::collected, with_context).ending->explanation
          == "the bit of a compressed message is set on another frame than its first");
}

TEST_CASE("inflate: what is no DEFLATE data is refused where it goes wrong, with zlib's words")
{
    constexpr Case cases[] = {
        {"c1 02 ff ff", "wrong 1007"},          {"c1 02 07 00", "wrong 1007"},
        {"c1 05 00 05 00 fa fe", "wrong 1007"}, // stored, and its lengths differ
        {"c1 03 f2 48 cd", "wrong 1007"},       // it ends within a block
        {"41 03 f2 48 cd 80 00", "wrong 1007"}, {"c1 03 00 05 00", "wrong 1007"},
        {"41 02 ff ff", "wrong 1007"}, // before the message has ended
    };
    check_all(cases);
    check_all(cases, without_context);
    const auto why = [](const char* sent) {
        return hear(octets(sent), 100, 0, Large::collected, with_context).ending->explanation;
    };
    CHECK(why("c1 02 07 00") == "a compressed message cannot be inflated: invalid block type");
    CHECK(why("c1 03 f2 48 cd")
          == "a compressed message cannot be inflated: it ends within a block");
}

TEST_CASE(
    "inflate: text is UTF-8 when it is inflated, over all cuts, and judged where it goes wrong")
{
    for (const auto& [text, is_good] :
         {std::pair{std::string{"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"}, true},
          std::pair{std::string{"cut \xf0\x9f\x98"}, false},
          std::pair{std::string{"bad \xff behind"}, false},
          std::pair{std::string{"surrogate \xed\xa0\x80"}, false}}) {
        ZlibDeflater peer;
        const auto payload = peer.message(text);
        CHECK(told(hear_every_way(compressed_frame(payload), 1000, with_context))
              == (is_good ? "t:" + text + " on" : "wrong 1007"));
        for (std::size_t cut = 0; cut <= payload.size(); ++cut)
            CHECK(told(hear_every_way(server_frame(0x41, payload.substr(0, cut))
                                          + server_frame(0x80, payload.substr(cut)),
                                      1000, with_context))
                  == (is_good ? "t:" + text + " on" : "wrong 1007"));
        CHECK(told(hear_every_way(server_frame(0xc2, payload), 1000, with_context))
              == "b:" + text + " on");
    }
    // before the message is whole
    ZlibDeflater peer;
    const auto payload = peer.message("\xff" + feed_message(1, 5000));
    CHECK(told(hear_every_way(server_frame(0x41, payload), 10'000, with_context)) == "wrong 1007");
}

TEST_CASE("inflate: the message limit counts what a message inflates to, to the octet")
{
    for (const std::size_t size : {1u, 2u, 100u, 4095u, 4096u, 4097u, 70'000u}) {
        CAPTURE(size);
        for (const auto& text : {std::string(size, 'a'), feed_message(1, size)}) {
            ZlibDeflater peer;
            const auto bytes = compressed_frame(peer.message(text));
            CHECK((told(hear_every_way(bytes, size, with_context)) == "t:" + text + " on"));
            CHECK((told(hear_every_way(bytes, size - 1, with_context)) == "too big 1009"));
            CHECK((told(hear_every_way(bytes, size + 1, with_context)) == "t:" + text + " on"));
        }
    }
    CHECK(told(hear_every_way(octets("c1 01 00"), 0, with_context)) == "t: on");
    CHECK(told(hear_every_way(octets("c1 03 4a 04 00"), 0, with_context)) == "too big 1009");
    // the first thing that is wrong
    ZlibDeflater peer;
    CHECK(told(hear_every_way(compressed_frame(peer.message("ab\xff"
                                                            "d")),
                              3, with_context))
          == "wrong 1007");
    peer.forget();
    CHECK(told(hear_every_way(compressed_frame(peer.message("abc\xff")), 3, with_context))
          == "too big 1009");
}

TEST_CASE("inflate: blocks without end that hold nothing, end")
{
    std::string empty_blocks;
    while (empty_blocks.size() < 60'000)
        empty_blocks += std::string("\x00\x00\x00\xff\xff", 5);
    const auto whole = server_frame(0xc1, empty_blocks + '\0');
    CHECK(told(hear_every_way(whole, 10'000, with_context)) == "t: on");
    CHECK(told(hear_every_way(whole, 1'000, with_context)) == "too big 1009");
    Driver driver{1'000'000, Large::collected, with_context};
    driver.feed(server_frame(0x41, empty_blocks));
    std::size_t frames = 0;
    for (; !driver.heard().ending && frames < 1000; ++frames)
        driver.feed(server_frame(0x00, empty_blocks));
    CHECK(told(driver.heard()) == "too big 1009");
}

TEST_CASE("inflate: a gibibyte out of a megabyte ends at the limit, and takes no more memory")
{
    constexpr std::size_t gibibyte = 1u << 30, part = 1u << 20;
    // What a mebibyte of zeroes compresses to, behind one: the same each time
    ZlibDeflater peer;
    const std::string zeroes(part, '\0');
    std::string bomb = peer.message(zeroes);
    const auto again = std::string("\x00\x00\xff\xff", 4) + peer.message(zeroes);
    for (std::size_t size = part; size < gibibyte; size += part)
        bomb += again;
    REQUIRE(bomb.size() < 2u << 20);
    for (const std::size_t limit : {1u << 20, 16u << 20}) {
        Driver driver{limit, Large::collected, with_context};
        driver.feed(server_frame(0xc2, bomb));
        const auto& heard = driver.heard();
        CHECK(told(heard) == "too big 1009");
        CHECK(heard.messages.empty());
        CHECK(driver.protocol().held_bytes() < 64u << 10);
        const auto in_pieces =
            hear(server_frame(0xc2, bomb), limit, 1000, Large::collected, with_context);
        CHECK(told(in_pieces) == "too big 1009");
        CHECK(in_pieces.max_held_bytes <= limit + (64u << 10));
    }
}

TEST_CASE("inflate: every length from 1 to 20,000, in fragments at random, with pings between")
{
    const auto all_feed = feed_message(1, 40'000), all_noise = noise(1, 40'000);
    for (const auto& deflation : {with_context, without_context}) {
        std::mt19937 random{20'000};
        ZlibDeflater peer{15, 1};
        Driver driver{20'000, Large::collected, deflation};
        for (std::size_t size = 1; size <= 20'000; size += deflation.peer_keeps_context ? 1 : 7) {
            const auto text =
                (size % 7 == 0 ? all_noise : all_feed).substr(random() % 20'000, size);
            auto payload = size % 11 == 0 ? peer.final_message(text) : peer.message(text);
            if (!deflation.peer_keeps_context)
                peer.forget();
            std::string bytes;
            unsigned first = 0x42;
            while (random() % 3 != 0 && payload.size() > 1) {
                const auto cut = random() % payload.size();
                bytes += server_frame(first, std::string_view{payload}.substr(0, cut));
                payload.erase(0, cut);
                first = 0;
                if (random() % 2 == 0)
                    bytes += server_frame(0x89, "ping");
            }
            bytes += server_frame(first | 0x80, payload);
            for (std::size_t at = 0; at < bytes.size();) {
                const auto segment = std::min<std::size_t>(1 + random() % 5000, bytes.size() - at);
                driver.feed(std::string_view{bytes}.substr(at, segment));
                at += segment;
            }
            const auto& heard = driver.heard();
            REQUIRE(!heard.ending);
            REQUIRE(heard.messages.size() == 1);
            REQUIRE((heard.messages.back().payload == text));
            driver.forget_messages();
        }
    }
}

TEST_CASE("inflate: peers of every window, level and memory are understood")
{
    for (const int window_bits : {9, 10, 12, 15})
        for (const int level : {0, 1, 6, 9})
            for (const int mem_level : {1, 8, 9}) {
                ZlibDeflater peer{window_bits, level, mem_level};
                std::string bytes, expected;
                for (unsigned i = 0; i < 20; ++i) {
                    const auto text = feed_message(i % 3, 3000 * i);
                    bytes += compressed_frame(peer.message(text));
                    expected += "t:" + text + " ";
                }
                CHECK((told(hear(bytes, 1u << 20, 0, Large::collected, with_context))
                       == expected + "on"));
            }
}

TEST_CASE("inflate: without context a link holds memory only while a message is under way")
{
    ZlibDeflater peer;
    const auto payload = peer.message(feed_message(1, 3000));
    Driver with{1u << 20, Large::collected, with_context};
    Driver without{1u << 20, Large::collected, without_context};
    CHECK(with.protocol().held_bytes() == 0);
    with.feed(compressed_frame(payload));
    without.feed(server_frame(0x41, payload.substr(0, 100)));
    CHECK(without.protocol().held_bytes() > 32u << 10);
    without.feed(server_frame(0x80, payload.substr(100)));
    CHECK(told(without.heard()) == told(with.heard()));
    CHECK(with.protocol().held_bytes() > 32u << 10);
    CHECK(with.protocol().held_bytes() <= (48u << 10));
    CHECK(without.protocol().held_bytes() <= Assembly::kept_bytes);
}

TEST_CASE("inflate: messages of two links that take turns without context do not mix")
{
    Driver a{1u << 20, Large::collected, without_context};
    Driver b{1u << 20, Large::collected, without_context};
    ZlibDeflater peer;
    const auto first = feed_message(1, 2000), second = feed_message(2, 2500);
    const auto to_a = peer.message(first);
    peer.forget();
    const auto to_b = peer.message(second);
    a.feed(server_frame(0x41, to_a.substr(0, 50)));
    b.feed(server_frame(0x41, to_b.substr(0, 70)));
    a.feed(server_frame(0x80, to_a.substr(50)));
    b.feed(server_frame(0x80, to_b.substr(70)));
    CHECK(told(a.heard()) == "t:" + first + " on");
    CHECK(told(b.heard()) == "t:" + second + " on");
}

TEST_CASE("inflate: pings are found ahead, behind compressed messages")
{
    Protocol protocol{1000};
    protocol.agree_on(with_context);
    const auto bytes = octets("c1 07 f2 48 cd c9 c9 07 00 41 01 f2 00 01 48 89 01 'p'");
    CHECK(protocol.look_ahead(std::as_bytes(std::span{bytes}), 0) == bytes.size());
    CHECK(protocol.owes_answer());
    const auto strange = octets("c9 01 'p' 89 01 'p'");
    CHECK(protocol.look_ahead(std::as_bytes(std::span{strange}), 0) == 0);
    Protocol plain{1000};
    CHECK(plain.look_ahead(std::as_bytes(std::span{bytes}), 0) == 0);
}

} // namespace inflate_test
