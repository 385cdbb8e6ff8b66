#include "encoding.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace sidecar_cat;
using namespace std::string_literals;

namespace {

template <void (*append)(std::string&, std::string_view)>
std::string text_of(std::string_view bytes)
{
    std::string out = "|"; // what stood there stays
    append(out, bytes);
    return out.substr(1);
}

} // namespace

TEST_CASE("hex: each byte is two digits, and back")
{
    CHECK(text_of<append_hex>("\0\x0f\xf0\xff"s) == "000ff0ff");
    CHECK(decode_hex("000ff0FF") == "\0\x0f\xf0\xff"s);
    CHECK(decode_hex(" 00  ff ") == "\0\xff"s);
    CHECK(decode_hex("") == "");
    for (const auto* wrong : {"0", "000", "0g", "0 0", "0x00", "00\n"})
        CHECK_MESSAGE(!decode_hex(wrong), wrong);
}

TEST_CASE("base64: the test vectors of RFC 4648 section 10, and back, with padding or without")
{
    const std::vector<std::pair<std::string, std::string>> vectors{
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (const auto& [plain, encoded] : vectors) {
        CHECK(text_of<append_base64>(plain) == encoded);
        CHECK(decode_base64(encoded) == plain);
        CHECK(decode_base64(encoded.substr(0, encoded.find('='))) == plain);
    }
    CHECK(text_of<append_base64>("\0\x01\xfe\xff"s) == "AAH+/w==");
    for (const auto* wrong :
         {"Z", "Zg=", "Zg===", "=", "====", "Zh==", "Zm9=", "Zm9v\n", "Z-8=", "Zg==Zg=="})
        CHECK_MESSAGE(!decode_base64(wrong), wrong);
}

TEST_CASE("base64: every byte at every place survives")
{
    std::string all;
    for (int i = 0; i < 256; ++i)
        all += static_cast<char>(i);
    for (std::size_t from = 0; from < 4; ++from)
        CHECK(decode_base64(text_of<append_base64>(all.substr(from))) == all.substr(from));
}

TEST_CASE("utf8: overlong forms, surrogates, what is too high and what is cut are none")
{
    for (const auto& good :
         {""s, "ascii\0"s, "\xc2\x80"s, "\xdf\xbf"s, "\xe0\xa0\x80"s, "\xed\x9f\xbf"s,
          "\xee\x80\x80"s, "\xef\xbf\xbf"s, "\xf0\x90\x80\x80"s, "\xf4\x8f\xbf\xbf"s})
        CHECK(is_utf8(good));
    for (const auto& bad : {"\x80"s, "\xc0\x80"s, "\xc1\xbf"s, "\xc2"s, "\xc2x"s, "\xe0\x9f\xbf"s,
                            "\xed\xa0\x80"s, "\xe2\x82"s, "\xf0\x8f\xbf\xbf"s, "\xf4\x90\x80\x80"s,
                            "\xf5\x80\x80\x80"s, "\xf0\x90\x80"s, "\xff"s})
        CHECK_FALSE(is_utf8("good" + bad));
}

TEST_CASE("json: quotes, backslashes and control characters are escaped, letters are not")
{
    CHECK(text_of<append_json_string>("") == R"("")");
    CHECK(text_of<append_json_string>("a\"b\\c\n\r\t\0\x1f\x7f ü"s)
          == R"("a\"b\\c\n\r\t\u0000\u001f\u007f ü")");
    CHECK(text_of<append_json_string>("\xc2\x9b"
                                      "2J\xc2\x80\xc2\xa0")
          == "\"\\u009b2J\\u0080\xc2\xa0\""); // C1 commands a terminal
}

TEST_CASE("terminal: what could command it is shown, newline and tab pass")
{
    CHECK(text_of<append_for_terminal>("ü\tx\n") == "ü\tx\n");
    CHECK(text_of<append_for_terminal>("\x1b[2J\r\b\0\x7f"s) == R"(\x1b[2J\x0d\x08\x00\x7f)");
    CHECK(text_of<append_for_terminal>("\xc2\x9b" // C1, in its UTF-8 form
                                       "2J")
          == R"(\xc2\x9b2J)");
    CHECK(text_of<append_for_terminal>("\xc2\xa0 \xff\xe2\x82") == "\xc2\xa0 \\xff\\xe2\\x82");
}
