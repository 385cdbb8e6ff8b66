#include "options.hpp"
#include "url.hpp"

#include <sidecar/format.hpp>

#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

namespace url_test {

using namespace sidecar;
using websocket::parse_url;
using websocket::redact_url;

bool contains(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

/// Every text that options can lead to before there is a socket.
std::string all_texts(const WebSocket::Options& options)
{
    std::string text = WebSocket::endpoint(options) + "\n" + redact_url(options.url);
    if (const auto checked = WebSocket::check(options); !checked) {
        const auto& failure = checked.error();
        text += "\n" + failure.message() + "\n" + failure.endpoint() + "\n" + failure.explanation()
                + "\n" + fmt::format("{}", failure) + "\n" + Exception{failure}.what();
    }
    if (const auto sent =
            WebSocket::check_send(options, MessageKind::text, std::as_bytes(std::span{"\xff", 1}));
        !sent)
        text += "\n" + sent.error().message();
    return text;
}

std::string why(const std::string& url)
{
    const auto result = parse_url(url);
    CAPTURE(url);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error() == Error::bad_address);
    CHECK(result.error().message().find("cannot read the URL") == 0);
    return result.error().explanation();
}

TEST_CASE("url: host, port, Host field and resource are as RFC 3986 and RFC 6455 have them")
{
    struct Case {
        std::string url, host;
        std::uint16_t port;
        std::string authority, resource;
        bool is_secure = false;
    };
    const Case cases[] = {
        {"ws://h", "h", 80, "h", "/"},
        {"ws://h/", "h", 80, "h", "/"},
        {"ws://h:/", "h", 80, "h", "/"},
        {"ws://h:80/", "h", 80, "h", "/"},
        {"ws://h:00080", "h", 80, "h", "/"},
        {"ws://h:1", "h", 1, "h:1", "/"},
        {"ws://h:65535/", "h", 65535, "h:65535", "/"},
        {"WS://H:81/P", "H", 81, "H:81", "/P"},
        {"wS://h?a=b&c", "h", 80, "h", "/?a=b&c"},
        {"ws://h/?", "h", 80, "h", "/?"},
        {"ws://h:8080/a%20b//c;d=e/../@f:g?h=i/j?k", "h", 8080, "h:8080",
         "/a%20b//c;d=e/../@f:g?h=i/j?k"},
        {"ws://example.com/ws/btcusdt@trade", "example.com", 80, "example.com",
         "/ws/btcusdt@trade"},
        {"ws://ex%61mple.com/", "example.com", 80, "ex%61mple.com", "/"},
        {"ws://my_host/", "my_host", 80, "my_host", "/"},
        {"ws://127.0.0.1:9/", "127.0.0.1", 9, "127.0.0.1:9", "/"},
        {"ws://[::1]/", "::1", 80, "[::1]", "/"},
        {"ws://[::1]:/", "::1", 80, "[::1]", "/"},
        {"ws://[fe80::1%25eth0]/", "fe80::1%eth0", 80, "[fe80::1]", "/"},
        {"ws://[fe80::1%25en1.100]:81/x?y", "fe80::1%en1.100", 81, "[fe80::1]:81", "/x?y"},
        {"ws://h:443/", "h", 443, "h:443", "/"},
        {"wss://h", "h", 443, "h", "/", true},
        {"WSS://h:443/x?y", "h", 443, "h", "/x?y", true},
        {"wss://h:80/", "h", 80, "h:80", "/", true},
        {"wss://[::1]:8443", "::1", 8443, "[::1]:8443", "/", true},
    };
    for (const auto& c : cases) {
        CAPTURE(c.url);
        const auto url = parse_url(c.url);
        REQUIRE(url.has_value());
        CHECK(url->host == c.host);
        CHECK(url->port == c.port);
        CHECK(url->authority == c.authority);
        CHECK(url->resource == c.resource);
        CHECK(url->is_secure == c.is_secure);
        CHECK(url->unix_path.empty());
    }
}

TEST_CASE("url: a Unix-domain socket stands in place of the host")
{
    struct Case {
        std::string url, socket, resource;
        bool is_secure = false;
    };
    const Case cases[] = {
        {"ws+unix:/run/feed.sock", "/run/feed.sock", "/"},
        {"ws+unix:/run/feed.sock:", "/run/feed.sock", "/"},
        {"ws+unix:/run/feed.sock:/", "/run/feed.sock", "/"},
        {"ws+unix:/run/feed.sock:/a/b?c=d:e", "/run/feed.sock", "/a/b?c=d:e"},
        {"ws+unix:/run/feed.sock:?c", "/run/feed.sock", "/?c"},
        {"ws+unix:/run/feed.sock?c", "/run/feed.sock", "/?c"},
        {"ws+unix:///run/feed.sock:/a", "/run/feed.sock", "/a"},
        {"ws+unix:/a%20b%3Ac%25%3f:/%20", "/a b:c%?", "/%20"},
        {"ws+unix:@name:/a", "@name", "/a"},
        {"WS+Unix:/s", "/s", "/"},
        {"wss+unix:/s:/a", "/s", "/a", true},
    };
    for (const auto& c : cases) {
        CAPTURE(c.url);
        const auto url = parse_url(c.url);
        REQUIRE(url.has_value());
        CHECK(url->unix_path == c.socket);
        CHECK(url->authority == "localhost");
        CHECK(url->resource == c.resource);
        CHECK(url->is_secure == c.is_secure);
    }
}

TEST_CASE("url: what is no Unix-domain socket says why")
{
    CHECK(contains(why("ws+unix:"), "no path"));
    CHECK(contains(why("ws+unix::/x"), "no path"));
    CHECK(contains(why("ws+unix:?x"), "no path"));
    CHECK(contains(why("ws+unix:@"), "empty"));
    CHECK(contains(why("ws+unix://host/x"), "no place"));
    CHECK(contains(why("ws+unix:relative.sock:/x"), "must begin with '/'"));
    CHECK(contains(why("ws+unix:/s:x"), "%3A"));
    CHECK(contains(why("ws+unix:/s:/x#f"), "fragment"));
    CHECK(contains(why("ws+unix:/s%00:/x"), "zero byte"));
    CHECK(contains(why("ws+unix:/s%2:/x"), "percent-encoded"));
    CHECK(contains(why("ws+unix:/s:/x%zz"), "percent-encoded"));
    CHECK(contains(why("http+unix:/s:/x"), "\"http+unix\""));
    CHECK(parse_url("ws+unix:/" + std::string(106, 's')).has_value());
    CHECK(parse_url("ws+unix:@" + std::string(106, 's')).has_value());
    CHECK(contains(why("ws+unix:/" + std::string(107, 's')), "108 bytes"));
    CHECK(parse_url("ws+unix:/" + std::string(104, 's') + "%20%20").has_value());
}

TEST_CASE("url: what is none for a WebSocket says why")
{
    CHECK(contains(why(""), "empty"));
    for (const auto* port : {"0", "00", "65536", "99999", "99999999999999999999"}) {
        CHECK(contains(why(fmt::format("ws://h:{}/", port)), fmt::format("\"{}\"", port)));
    }
    for (const auto* port : {"x", "-1", "+1", "8 0", "1x"})
        (void)why(fmt::format("ws://h:{}/", port));
    CHECK(contains(why("ws:///path"), "no host"));
    CHECK(contains(why("ws://:80/"), "no host"));
    CHECK(contains(why("ws://"), "no host"));
    CHECK(contains(why("ws://::1/"), "brackets"));
    CHECK(contains(why("ws://fe80::1:80/"), "brackets"));
    for (const auto* url : {"ws://[::1", "ws://::1]/", "ws://[]/", "ws://[g::1]/", "ws://[::1]x/",
                            "ws://[v1.x]/", "ws://h/%zz", "ws://h/%2", "ws://a|b/", "ws://a%00b/",
                            "ws://a%20b/", "ws://h/<x>", "ws://h/\"x\"", "ws://h/[x]"})
        (void)why(url);
    for (const auto* url : {"ws://[fe80::1%eth0]/", "ws://[fe80::1%25]/", "ws://[fe80::1%25e/h]/",
                            "ws://[fe80::1%25a%20b]/", "ws://[127.0.0.1%25eth0]/"})
        (void)why(url);
    CHECK(contains(why("ws://[fe80::1%eth0]/"), "%25"));
    // What stands behind an address would be put into the request to a proxy
    for (const auto* url :
         {"ws://127.0.0.1%25%0d%0aX/", "ws://127.0.0.1%20x/", "ws://127.0.0.1%25/"})
        CHECK(contains(why(url), "characters that no host name has"));
    CHECK(contains(why("ws://h/#f"), "fragment"));
    CHECK(contains(why("ws://h#"), "fragment"));
    CHECK(contains(why("ws://u:p@h/"), "Authorization"));
    CHECK(contains(why("ws://@h/"), "Authorization"));
    CHECK(contains(why("ftp://h/"), "\"ftp\""));
}

TEST_CASE("url: a slip of the pen is answered with what was probably meant")
{
    CHECK(contains(why("http://h:81/x"), "did you mean ws://h:81/x?"));
    CHECK(contains(why("HTTP://h:81/x"), "did you mean ws://h:81/x?"));
    CHECK(contains(why("https://h/x"), "did you mean wss://h/x?"));
    CHECK(contains(why("localhost:8080/feed"), "did you mean ws://localhost:8080/feed?"));
    CHECK(contains(why("localhost/feed"), "did you mean ws://localhost/feed?"));
    CHECK(contains(why("localhost"), "did you mean ws://localhost?"));
    CHECK(contains(why("//h/x"), "did you mean ws://h/x?"));
    CHECK(contains(why("127.0.0.1:80"), "did you mean ws://127.0.0.1:80?"));
    CHECK(contains(why("[::1]:80/"), "did you mean ws://[::1]:80/?"));
    for (const auto* url : {"ws:/h/", "ws:h/", "http:/h/", "ws//h/", "HTTP//h/"})
        CHECK(why(url) == "it must begin with ws:// or wss://; did you mean ws://h/?");
    for (const auto* url : {"wss:/h", "wss:h", "https:/h", "WSS//h", "https//h"})
        CHECK(why(url) == "it must begin with ws:// or wss://; did you mean wss://h?");
    for (const auto* url : {"ws:", "wss:", "ws:/", "https:/"})
        CHECK(why(url) == "it must begin with ws:// or wss://");
    CHECK(why("ws:8080/x") == "the scheme is missing; did you mean ws://ws:8080/x?");
    CHECK(why("ws/x") == "the scheme is missing; did you mean ws://ws/x?");
    CHECK(why("wss.example/x") == "the scheme is missing; did you mean ws://wss.example/x?");
    CHECK(contains(why("wss:/h?token=secret"), "did you mean wss://h?token=***?"));
    CHECK(contains(why("http://h/?token=secret"), "did you mean ws://h/?token=***?"));
}

TEST_CASE("url: a host name is checked once, as a name, and one beyond ASCII is told its xn-- form")
{
    CHECK(
        why("ws://m\xc3\xbcnchen.test/")
        == "there is a byte 0xc3 at position 6, in the host name; write a name beyond ASCII in its "
           "xn-- form");
    CHECK(contains(why("m\xc3\xbcnchen.test:80/x"), "xn-- form"));
    CHECK(contains(why("wss://user@m\xc3\xbcnchen.test:80/"), "xn-- form"));
    CHECK(why("ws://m%C3%BCnchen.test/")
          == "the host name has a character beyond ASCII; write it in its xn-- form");
    CHECK(contains(why("ws://h/m\xc3\xbcnchen"), "must be percent-encoded"));
    std::string longest = "h";
    while (longest.size() < 253)
        longest += ".h";
    CHECK(parse_url("ws://" + longest + "./").has_value());
    CHECK(why("ws://" + std::string(64, 'h') + "/")
          == "a part of the host name between two dots has more than 63 bytes");
    CHECK(why("ws://" + std::string(254, 'h') + "/")
          == "the host name has 254 bytes, a name has at most 253");
    for (const auto* url : {"ws://.example.com/", "wss://a..example.com/", "ws://%2eexample.com/"})
        CHECK(why(url) == "the host name has an empty part before a dot");
}

TEST_CASE("url: bytes that no URL has are refused, wherever they stand")
{
    for (int byte = 0; byte < 256; ++byte) {
        if (byte > 0x20 && byte < 0x7f)
            continue;
        for (const std::string before :
             {"", "ws://", "ws://h", "ws://h:8", "ws://h/", "ws://h/?x="}) {
            const auto url = before + static_cast<char>(byte) + "/";
            CHECK(contains(why(url), fmt::format("0x{:02x} at position {}", byte, before.size())));
            if (byte != ' ')
                CHECK_FALSE(contains(redact_url(url), std::string(1, static_cast<char>(byte))));
        }
    }
}

TEST_CASE("url: a blank at its beginning or end is to be removed, not encoded")
{
    CHECK(why(" ws://h/") == "it begins with a blank, byte 0x20 at position 0; remove it");
    CHECK(why("\tws://h/") == "it begins with a blank, byte 0x09 at position 0; remove it");
    CHECK(why("\nws://h/") == "it begins with a line break, byte 0x0a at position 0; remove it");
    CHECK(why("ws://h/ ") == "it ends with a blank, byte 0x20 at position 7; remove it");
    CHECK(why("ws://h/x?y \r\n") == "it ends with a blank, byte 0x20 at position 10; remove it");
    CHECK(why("ws://h/\r\n") == "it ends with a line break, byte 0x0d at position 7; remove it");
    CHECK(why("ws://h/a b")
          == "there is a blank in it, byte 0x20 at position 8; behind the host "
             "it is written %20");
    CHECK(contains(why(" "), "blank"));
    CHECK(contains(why("ws://h/\x01"), "must be percent-encoded"));
}

TEST_CASE("redact: user information and the values of the query go, all else stays")
{
    const std::pair<std::string, std::string> cases[] = {
        {"ws://h/p", "ws://h/p"},
        {"ws://h:81/p?", "ws://h:81/p?"},
        {"ws://h/p?token=abc", "ws://h/p?token=***"},
        {"ws://h/p?a=1&b=2&c=", "ws://h/p?a=***&b=***&c=***"},
        {"ws://h/?abc", "ws://h/?***"},
        {"ws://h/?a&&b=c&", "ws://h/?***&&b=***&"},
        {"ws://h/?a=b=c?d", "ws://h/?a=***"},
        {"ws://h/?u=ws://x:y@z/", "ws://h/?u=***"},
        {"ws://u:p@h/p", "ws://***@h/p"},
        {"http://u@h?x=y#z=a", "http://***@h?x=***#***"},
        {"ws://h/ws/btcusdt@trade", "ws://h/ws/btcusdt@trade"},
        {"ws://[fe80::1%25eth0]:81/?a=b", "ws://[fe80::1%25eth0]:81/?a=***"},
        {"WSS://H/?a=b", "WSS://H/?a=***"},
        {"localhost:80/feed?token=abc", "localhost:80/feed?***"},
        {"/login?next=abc", "/login?***"},
        {"nonsense", "nonsense"},
        {"", ""},
        {"a\r\nb", "a\\r\\nb"},
        {"ws+unix:/run/a@b.sock:/x?token=abc", "ws+unix:/run/a@b.sock:/x?token=***"},
        {"ws+unix:/run/a.sock?abc#def", "ws+unix:/run/a.sock?***#***"},
        {"wss+unix:@name", "wss+unix:@name"},
    };
    for (const auto& [url, expected] : cases)
        CHECK(redact_url(url) == expected);
}

TEST_CASE("url: no text ever holds a secret, however broken the URL is")
{
    // Where the secrets stand is marked; each pattern is tried with each secret.
    const char* const patterns[] = {
        "ws://h/?token={}",
        "ws://h/?{}",
        "ws://h?a=b&token={}&c=d",
        "wss://h/?token={}",
        "http://h/?token={}",
        "https://user:{}@h/?token={}",
        "http://user:{}@h/",
        "ws://user:{}@h/",
        "ws://{}:pass@h/",
        "ws://{}@h/",
        "ws://user:{}@h:99999/",
        "ws://user:{}@:80/",
        "ws://user:{}@/",
        "ws://user:{}@",
        "ws://user:{}@h /",
        "ws:// user:{}@h/",
        " ws://user:{}@h/",
        "ws://user:pa/{}@h/",
        "ws://user:pa?{}@h/",
        "ws://user:pa#{}@h/?x=y",
        "ws://user:pa@{}@h/",
        "ws://user:{}/word@h/",
        "ws://user:{}?word@h/",
        "ws://user:{}%40h/",
        "ws://user%3A{}%40h/",
        "ws://user:{}@[::1/",
        "ws:///user:{}@h/",
        "ws:/user:{}@h/",
        "ws:user:{}@h/",
        "ws:\\\\user:{}@h/",
        "user:{}@h/",
        "user:pa/{}@h/",
        "user:12/{}@h/",
        "{}@h",
        "//user:{}@h/",
        "http:/user:{}@h/",
        "htp:/user:{}@h/",
        "user:{}@ws://h/",
        "://user:{}@h/",
        "h:80/feed?token={}",
        "h:99999/feed?token={}",
        "ws://h:99999/feed?token={}",
        "ws://h:x/feed?email=a@b.c&token={}",
        "ws://h:x/feed#token={}",
        "ws://h/feed#token={}",
        "ws://h/feed?token={}#x",
        "ws://h/fe ed?token={}",
        "ws://h/feed?token={}\r\n",
        "ws://h/feed?token={}\xff",
        "ws://[::1/feed?token={}",
        "ws://[fe80::1%eth0]/feed?token={}",
        "ftp://h/feed?token={}",
        "?token={}",
        "ws://?token={}",
        "ws:?token={}",
        "ws://h/feed?to ken={}",
        "ws://h/feed?%zz={}",
        "ws+unix:/s:/x?token={}",
        "ws+unix:/s?{}",
        "ws+unix:/s:/x#{}",
        "ws+unix:user:{}@h/",
        "ws+unix://user:{}@h/x",
        "ws+unix:/s:user:{}@h",
        "http+unix:/s:/x?token={}",
    };
    for (const std::string secret : {"s3cret", "123456", "s3c%20ret"}) {
        for (const auto* pattern : patterns) {
            const auto url = fmt::format(fmt::runtime(pattern), secret, secret);
            CAPTURE(url);
            const auto texts = all_texts({.url = url});
            CAPTURE(texts);
            CHECK_FALSE(contains(texts, secret));
        }
    }
}

TEST_CASE("check: header fields of the handshake's own are refused by name")
{
    const auto fault = [](const std::string& name, const std::string& value) {
        const auto checked = WebSocket::check({.url = "ws://h/", .headers = {{name, value}}});
        CAPTURE(name);
        REQUIRE_FALSE(checked);
        CHECK(checked.error() == Error::bad_options);
        return checked.error().message();
    };
    for (const auto* name : {"Connection", "UPGRADE", "sec-websocket-key", "Sec-WebSocket-Version",
                             "Sec-WebSocket-Extensions", "Sec-WebSocket-Accept",
                             "Sec-WebSocket-Anything", "content-length", "Transfer-Encoding"})
        CHECK(contains(fault(name, "x"), fmt::format("\"{}\"", name)));
    CHECK(contains(fault("Sec-WebSocket-Protocol", "x"), "subprotocols"));
    for (const std::string value :
         {"s3cret\n", "s3cret\r", "s3\r\ncret: x", "s3cret\x7f", "s3cret\xc3\xa4"}) {
        const auto text = fault("Authorization", value);
        CHECK(contains(text, "\"Authorization\""));
        CHECK(contains(text, fmt::format("({} bytes)", value.size())));
        CHECK_FALSE(contains(text, "s3c"));
        CHECK_FALSE(contains(text, "cret"));
    }
    (void)fault("A", std::string("a\0b", 3));
    for (const auto* name : {"", "A B", "A:", "A\n", "\xc3\xa4", "A\r\nB"})
        (void)fault(name, "x");
    CHECK_FALSE(contains(fault("Authorization: Bearer s3cret", ""), "s3cret"));
    for (const auto* host : {"", "a b", "a/b", "u@h", "a,b"})
        (void)fault("Host", host);
    CHECK(WebSocket::check({.url = "ws://h/", .headers = {{"Host", "a"}, {"host", "b"}}}).error()
          == Error::bad_options);
    CHECK(WebSocket::check(
        {.url = "ws://h/", .headers = {{"Host", "a:1"}, {"X", "\t y "}, {"X", ""}, {"Y", "z"}}}));
}

TEST_CASE("check: subprotocols are tokens, each once, and no text shows one")
{
    const auto is_fine = [](std::vector<std::string> subprotocols) {
        const auto checked =
            WebSocket::check({.url = "ws://h/", .subprotocols = std::move(subprotocols)});
        if (!checked) {
            CHECK(checked.error() == Error::bad_options);
            CHECK(contains(checked.error().message(), "subprotocol"));
            CHECK_FALSE(contains(checked.error().message(), "s3cret"));
        }
        return bool{checked};
    };
    CHECK(is_fine({}));
    CHECK(is_fine({"mqtt", "MQTT", "graphql-transport-ws", "v1.x!"}));
    CHECK_FALSE(is_fine({""}));
    CHECK_FALSE(is_fine({"s3cret", "s3cret"}));
    for (const std::string bad : {" ", ",", "\n", "\r\n", "\xff", "/", "\"", ":", "(", "\x7f"})
        CHECK_FALSE(is_fine({"x", "s3cret" + bad}));
    CHECK_FALSE(is_fine({std::string("s3cret\0", 7)}));
    CHECK(WebSocket::check({.url = "ws://h/", .max_head_bytes = 0}).error() == Error::bad_options);
}

} // namespace url_test
