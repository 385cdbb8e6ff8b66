#include "proxy.hpp"

#include <doctest/doctest.h>

#include <string>

namespace no_proxy_test {

using sidecar::http::is_exempt;

TEST_CASE("no_proxy: names, addresses, networks and ports, each in every way they are written")
{
    struct Case {
        std::string list, host;
        bool expected;
        std::uint16_t port = 80;
    };
    const Case cases[] = {
        {"", "h", false},
        {" , ,", "h", false},
        {"*", "h", true},
        {"a,*", "::1", true},
        {"*:80", "h", true, 80},
        {"*:80", "h", false, 81},
        {"*:80", "::1", true, 80},
        {"example.com", "example.com", true},
        {"example.com", "EXAMPLE.Com", true},
        {"Example.COM", "feed.example.com", true},
        {"example.com", "a.b.example.com", true},
        {"example.com", "notexample.com", false},
        {"example.com", "example.com.evil", false},
        {"example.com", "com", false},
        {".example.com", "feed.example.com", true},
        {".example.com", "example.com", true},
        {"*.example.com", "feed.example.com", true},
        {"*.example.com", "xexample.com", false},
        {"example.com.", "example.com", true},
        {"example.com", "example.com.", true},
        {".", "h", false},
        {"a, b ,c", "b", true},
        {"a b\tc", "c", true},
        {"a,b,c", "d", false},
        {"localhost", "localhost", true},
        {"localhost", "127.0.0.1", false},
        {"h:80", "h", true, 80},
        {"h:80", "h", false, 81},
        {"h:", "h", false, 80},
        {"h:x", "h", false, 80},
        {".h:443", "a.h", true, 443},
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1:81", "127.0.0.1", true, 81},
        {"127.0.0.1:81", "127.0.0.1", false, 80},
        {"127.0.0.1", "127.0.0.10", false},
        {"0.0.1", "127.0.0.1", false},
        {"::1", "::1", true},
        {"[::1]", "::1", true},
        {"[::1]:81", "::1", true, 81},
        {"[::1]:81", "::1", false, 80},
        {"0:0:0:0:0:0:0:1", "::1", true},
        {"2001:DB8::1", "2001:db8:0::1", true},
        {"2001:db8::2", "2001:db8::1", false},
        {"fe80::1", "fe80::1%eth0", true},
        {"127.0.0.1", "::ffff:127.0.0.1", true},
        {"192.0.2.0/24", "192.0.2.255", true},
        {"192.0.2.77/24", "192.0.2.1", true},
        {"192.0.2.0/24", "192.0.3.0", false},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.128/25", "192.0.2.128", true},
        {"0.0.0.0/0", "8.8.8.8", true},
        {"0.0.0.0/0", "::1", false},
        {"192.0.2.1/32", "192.0.2.1", true},
        {"192.0.2.1/32", "192.0.2.2", false},
        {"192.0.2.1/33", "192.0.2.1", false},
        {"192.0.2.1/-1", "192.0.2.1", false},
        {"192.0.2.1/", "192.0.2.1", false},
        {"192.0.2.1/8x", "192.0.2.1", false},
        {"192.0.2.0/24", "name.example", false},
        {"2001:db8::/32", "2001:db8:ffff::1", true},
        {"2001:db8::/32", "2001:db9::1", false},
        {"[2001:db8::]/32", "2001:db8::1", true},
        {"::/0", "fe80::1", true},
        {"::/129", "fe80::1", false},
        {"10.0.0.0/8, example.com", "feed.example.com", true},
        {"]:80,[,:,/,/8,[]", "h", false},
    };
    for (const auto& c : cases) {
        CAPTURE(c.list);
        CAPTURE(c.host);
        CAPTURE(c.port);
        CHECK(is_exempt(c.list, c.host, c.port) == c.expected);
    }
}

} // namespace no_proxy_test
