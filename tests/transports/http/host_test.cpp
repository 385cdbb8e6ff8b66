// A host is checked once, for all uses.
#include "uri.hpp"

#include <doctest/doctest.h>

#include <string>

namespace host_test {

using namespace sidecar;
using namespace std::string_literals;

TEST_CASE("host: names as the DNS has them and addresses are taken")
{
    std::string longest;
    while (longest.size() < 253)
        longest += longest.size() % 2 == 0 ? "a" : ".";
    for (const std::string& good :
         {"a"s, "a."s, "a-b.c_d.example"s, "_x.wild.test"s, "xn--mnchen-3ya.example"s, "::1"s,
          "fe80::1%eth0"s, "1.2.3.4"s, "127.1"s, "0x7f000001"s, std::string(63, 'a'), longest})
        CHECK(http::validate_host_name(good).has_value());
    CHECK_FALSE(http::validate_host_name(longest + ".aa").has_value());
}

TEST_CASE("host: what is neither a name nor an address is refused without being repeated")
{
    struct Row {
        std::string host;
        const char* part;
    };
    const Row rows[] = {
        {"", "empty part before a dot"},
        {".", "empty part before a dot"},
        {".example.com", "empty part before a dot"},
        {"a..b", "empty part before a dot"},
        {"a..", "empty part before a dot"},
        {std::string(64, 'a') + ".example", "more than 63 bytes"},
        {std::string(300, 'a'), "a name has at most 253"},
        {"a b", "characters that no host name has"},
        {"*.example", "characters that no host name has"},
        {"m\xc3\xbcn", "its xn-- form"},
        {"a\0b"s, "characters that no host name has"},
        {"1.2.3.4\0x"s, "characters that no host name has"},
        {"a\n", "characters that no host name has"},
        {"1.2.3.4 x", "characters that no host name has"},
        {"1.2.3.4\n", "characters that no host name has"},
        {"1.2.3.4%25x", "characters that no host name has"},
        {"127.0.0.1%\r\nX", "characters that no host name has"},
        {"::1%\r\nX", "characters that no host name has"},
        {"::1%", "characters that no host name has"},
        {"a%eth0", "characters that no host name has"},
    };
    for (const auto& row : rows) {
        const auto valid = http::validate_host_name(row.host);
        REQUIRE_FALSE(valid.has_value());
        CHECK(valid.error() == Error::bad_address);
        CHECK(valid.error().explanation().find(row.part) != std::string::npos);
        if (row.host.size() > 1)
            CHECK(valid.error().explanation().find(row.host) == std::string::npos);
    }
}

TEST_CASE("host: an address is told from a name by its bytes")
{
    CHECK(http::address_bytes("192.0.2.1") == "\xc0\x00\x02\x01"s);
    CHECK(http::address_bytes("127.1") == "\x7f\x00\x00\x01"s);
    CHECK(http::address_bytes("0x7f000001") == "\x7f\x00\x00\x01"s);
    CHECK(http::address_bytes("::1%lo") == std::string(15, '\0') + '\x01');
    CHECK(http::address_bytes("feed.example").empty());
    CHECK(http::address_bytes("1.2.3.4\0x"s).empty());
}

} // namespace host_test
