#include <utf8.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>

namespace utf8_test {

using namespace sidecar::websocket;

std::span<const std::byte> bytes_of(std::string_view text)
{
    return std::as_bytes(std::span{text});
}

/// UTF-8 as RFC 3629 writes it, octet by octet and without any art: how many characters stand at
/// the front, or -1.
bool is_text(std::string_view text)
{
    const auto in = [&](std::size_t at, unsigned low, unsigned high) {
        return at < text.size() && static_cast<unsigned char>(text[at]) >= low
               && static_cast<unsigned char>(text[at]) <= high;
    };
    for (std::size_t at = 0; at < text.size();) {
        if (in(at, 0, 0x7f))
            at += 1;
        else if (in(at, 0xc2, 0xdf) && in(at + 1, 0x80, 0xbf))
            at += 2;
        else if ((in(at, 0xe0, 0xe0) && in(at + 1, 0xa0, 0xbf) && in(at + 2, 0x80, 0xbf))
                 || (in(at, 0xe1, 0xec) && in(at + 1, 0x80, 0xbf) && in(at + 2, 0x80, 0xbf))
                 || (in(at, 0xed, 0xed) && in(at + 1, 0x80, 0x9f) && in(at + 2, 0x80, 0xbf))
                 || (in(at, 0xee, 0xef) && in(at + 1, 0x80, 0xbf) && in(at + 2, 0x80, 0xbf)))
            at += 3;
        else if (((in(at, 0xf0, 0xf0) && in(at + 1, 0x90, 0xbf))
                  || (in(at, 0xf1, 0xf3) && in(at + 1, 0x80, 0xbf))
                  || (in(at, 0xf4, 0xf4) && in(at + 1, 0x80, 0x8f)))
                 && in(at + 2, 0x80, 0xbf) && in(at + 3, 0x80, 0xbf))
            at += 4;
        else
            return false;
    }
    return true;
}

bool in_parts(std::string_view text, std::size_t part)
{
    Utf8Parts parts;
    for (; !text.empty(); text.remove_prefix(std::min(part, text.size())))
        if (!parts.accept(bytes_of(text.substr(0, part))))
            return false;
    return parts.may_end();
}

TEST_CASE("utf8: every sequence of edge octets is judged as RFC 3629 says, whole and in parts")
{
    constexpr unsigned char edges[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                       0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed,
                                       0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
    std::size_t wrong = 0;
    std::string text(4, '\0');
    for (const auto a : edges)
        for (const auto b : edges)
            for (const auto c : edges)
                for (const auto d : edges) {
                    const unsigned char octets[] = {a, b, c, d};
                    std::copy(std::begin(octets), std::end(octets), text.begin());
                    for (std::size_t size = 1; size <= 4; ++size) {
                        const auto view = std::string_view{text}.substr(4 - size);
                        const bool expected = is_text(view);
                        wrong += is_utf8(bytes_of(view)) != expected;
                        for (std::size_t part = 1; part <= size; ++part)
                            wrong += in_parts(view, part) != expected;
                    }
                }
    CHECK(wrong == 0);
}

TEST_CASE("utf8: parts tell the first octet that cannot be")
{
    struct Case {
        std::string_view text;
        std::size_t bad_offset;
    };
    constexpr Case cases[] = {
        {"abc\xff", 3},          {"\x80", 0},         {"a\xe2\x82x", 3},
        {"\xe0\x80\x80", 1},     {"\xed\xa0\x80", 1}, {"\xf4\x90\x80\x80", 1},
        {"\xf0\x9f\x98\xff", 3}, {"\xc1\x80", 0},     {"\xe2\x82\xac\xac", 3}};
    for (const auto& one : cases) {
        const auto text = one.text;
        CAPTURE(text);
        for (std::size_t part = 1; part <= text.size(); ++part) {
            Utf8Parts parts;
            bool is_good = true;
            for (std::size_t at = 0; at < text.size() && is_good; at += part)
                is_good = parts.accept(bytes_of(text.substr(at, part)));
            CHECK_FALSE(is_good);
            CHECK(parts.bad_offset() == one.bad_offset);
        }
    }
}

TEST_CASE("utf8: text of any length is judged to its last octet")
{
    std::string text;
    for (std::size_t size = 0; size < 300; ++size) {
        CHECK(is_utf8(bytes_of(text)));
        CHECK(is_ascii(bytes_of(text)));
        CHECK_FALSE(is_utf8(bytes_of(text + "\xff")));
        CHECK_FALSE(is_utf8(bytes_of(text + "\xe2\x82")));
        CHECK(is_utf8(bytes_of(text + "\xc3\xa9")));
        CHECK_FALSE(is_ascii(bytes_of("\xc3\xa9" + text)));
        text += 'x';
    }
}

} // namespace utf8_test
