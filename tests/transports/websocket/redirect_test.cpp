// Where redirections lead and what goes along, without a socket.
#include "redirect.hpp"
#include "url.hpp"

#include <doctest/doctest.h>

#include <string>

namespace redirect_test {

using namespace sidecar;
using websocket::Redirects;
using websocket::resolve_location;

bool contains(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

Failure redirection(std::string location, std::uint16_t status = 302)
{
    return {Error::handshake_refused,
            {.attempted = "shake hands",
             .endpoint = "here",
             .explanation = "the answer was HTTP 302",
             .http_status = status,
             .location = std::move(location)}};
}

WebSocket::Options options(std::string url, unsigned most = 9)
{
    return {.url = std::move(url), .max_redirects = most};
}

/// Empty: it is followed.
std::string refusal(const std::string& from, const std::string& to)
{
    Redirects redirects{options(from)};
    const auto followed = redirects.follow(redirection(to));
    if (followed) {
        CHECK(*followed);
        return {};
    }
    CHECK(followed.error() == Error::handshake_refused);
    CHECK(followed.error().http_status() == 302);
    CHECK(followed.error().location() == to);
    CHECK(followed.error().endpoint() == "here");
    CHECK(contains(followed.error().explanation(), "HTTP 302, which is not followed"));
    return followed.error().explanation();
}

TEST_CASE("redirect: a Location is resolved against the URL that was asked (RFC 3986 section 5)")
{
    struct Case {
        const char *base, *location, *expected;
    };
    const Case cases[] = {
        {"ws://h/a/b?c", "ws://x/y", "ws://x/y"},
        {"ws://h/a/b?c", "wss://x:1/y?z", "wss://x:1/y?z"},
        {"ws://h/a/b?c", "http://x/y", "ws://x/y"},
        {"ws://h/a/b?c", "HTTPS://x/y", "wss://x/y"},
        {"ws://h/a/b?c", "ftp://x/", "ftp://x/"},
        {"wss://h/a/b?c", "//x:2/y", "wss://x:2/y"},
        {"ws://h:1/a/b?c", "/d", "ws://h:1/d"},
        {"ws://h:1/a/b?c", "/d?e", "ws://h:1/d?e"},
        {"ws://h:1/a/b?c", "/d#f", "ws://h:1/d"},
        {"ws://h/a/b?c", "d", "ws://h/a/d"},
        {"ws://h/a/b?c", "./d", "ws://h/a/d"},
        {"ws://h/a/b?c", "../d", "ws://h/d"},
        {"ws://h/a/b?c", "../../../d", "ws://h/d"},
        {"ws://h/a/b/c", "..", "ws://h/a/"},
        {"ws://h/a/b/c", ".", "ws://h/a/b/"},
        {"ws://h/a/b?c", "/x/./y/../z/", "ws://h/x/z/"},
        {"ws://h/a/b?c", "?d", "ws://h/a/b?d"},
        {"ws://h/a/b?c", "", "ws://h/a/b?c"},
        {"ws://h/a/b?c", "#f", "ws://h/a/b?c"},
        {"ws://h", "d", "ws://h/d"},
        {"ws://h?q", "?d", "ws://h/?d"},
        {"ws://h/a", "d?x=http://y", "ws://h/d?x=http://y"},
        {"ws://[::1]:1/a", "b", "ws://[::1]:1/b"},
        {"ws+unix:/s:/a/b?c", "/d", "ws+unix:/s:/d"},
        {"ws+unix:/s:/a/b?c", "d?e", "ws+unix:/s:/a/d?e"},
        {"ws+unix:/s", "d", "ws+unix:/s:/d"},
    };
    for (const auto& c : cases) {
        CAPTURE(c.base);
        CAPTURE(c.location);
        CHECK(resolve_location(c.base, c.location) == c.expected);
    }
}

TEST_CASE("redirect: only to the same or a more secure scheme, and never to or from a socket")
{
    CHECK(refusal("ws://h/", "ws://x/").empty());
    CHECK(refusal("ws://h/", "wss://x/").empty());
    CHECK(refusal("wss://h/", "https://x/").empty());
    CHECK(refusal("ws+unix:/s", "/other").empty());
    CHECK(contains(refusal("wss://h/", "ws://h/"), "from wss:// to ws://"));
    CHECK(contains(refusal("wss://h/", "http://h/"), "from wss:// to ws://"));
    CHECK(contains(refusal("ws://h/", "ws+unix:/run/x.sock:/"), "Unix-domain socket"));
    CHECK(contains(refusal("ws+unix:/s", "ws://h/"), "Unix-domain socket"));
    CHECK(contains(refusal("ws+unix:/s", "ws+unix:/t"), "Unix-domain socket"));
    CHECK(contains(refusal("ws://h/", "ftp://h/"), "\"ftp\""));
    CHECK(contains(refusal("ws://h/", "ws://u:p@h/"), "user information"));
    CHECK(contains(refusal("ws://h/", "ws:///"), "no host"));
    CHECK(contains(refusal("ws://h/", "/a b"), "0x20"));
    CHECK(contains(refusal("ws://h/", "\xc3\xa4"), "0xc3"));
}

TEST_CASE("redirect: off by default, and only what is a redirection is followed")
{
    Redirects off{options("ws://h/", 0)};
    CHECK_FALSE(off.follow(redirection("/x")).value());
    Redirects on{options("ws://h/")};
    for (const std::uint16_t status : {200, 300, 304, 305, 306, 309, 401, 503})
        CHECK_FALSE(on.follow(redirection("/x", status)).value());
    CHECK_FALSE(on.follow(redirection("")).value());
    CHECK_FALSE(on.follow({Error::connect_failed, {.http_status = 302, .location = "/x"}}).value());
    CHECK(on.options().url == "ws://h/");
    for (const std::uint16_t status : {301, 302, 303, 307, 308}) {
        CHECK(on.follow(redirection("/" + std::to_string(status), status)).value());
        CHECK(on.options().url == "ws://h/" + std::to_string(status));
    }
}

TEST_CASE("redirect: a circle and one too many end the way, and say so")
{
    Redirects circle{options("ws://h/a")};
    CHECK(circle.follow(redirection("/b")).value());
    CHECK(contains(circle.follow(redirection("/a")).error().message(), "circle"));
    CHECK(contains(circle.follow(redirection("/b")).error().message(), "circle"));
    Redirects few{options("ws://h/0", 2)};
    CHECK(few.follow(redirection("/1")).value());
    CHECK(few.follow(redirection("/2")).value());
    CHECK(contains(few.follow(redirection("/3")).error().message(), "max_redirects (2)"));
}

TEST_CASE("redirect: credentials never go to another host or port, and do not come back")
{
    auto given = options("ws://h:81/");
    given.headers = {{"Host", "virtual"},       {"Authorization", "Basic x"},
                     {"COOKIE", "a=b"},         {"X-Api-Key", "k"},
                     {"X-Access-Token", "t"},   {"Proxy-Authorization", "y"},
                     {"Accept-Language", "de"}, {"User-Agent", "mine"}};
    given.subprotocols = {"a", "b"};
    given.origin = "https://o";
    given.tls = {.certificate_file = "c", .key_file = "k", .key_password = "p", .server_name = "n"};
    auto basic = given;
    std::erase_if(basic.headers, [](const auto& f) { return f.first == "Authorization"; });
    basic.basic_auth = BasicAuth{"u", "p"};
    basic.bearer = "t";
    const auto keeps = [](const WebSocket::Options& from, const char* to) {
        Redirects redirects{from};
        REQUIRE(redirects.follow(redirection(to)).value());
        const auto& now = redirects.options();
        CHECK(now.subprotocols == std::vector<std::string>{"a", "b"});
        CHECK(now.origin == from.origin);
        const auto is_all = now.headers.size() == from.headers.size();
        if (is_all) {
            CHECK(now.basic_auth.has_value() == from.basic_auth.has_value());
            CHECK(now.bearer == from.bearer);
            CHECK(now.tls.certificate_file == "c");
        } else {
            CHECK(now.headers
                  == decltype(now.headers){{"Accept-Language", "de"}, {"User-Agent", "mine"}});
            CHECK_FALSE(now.basic_auth);
            CHECK(now.bearer.empty());
            CHECK(now.tls.certificate_file.empty());
            CHECK(now.tls.key_file.empty());
            CHECK(now.tls.key_password.empty());
            CHECK(now.tls.server_name.empty());
            REQUIRE(redirects.follow(redirection("ws://h:81/back")).value());
            CHECK(redirects.options().headers.size() == 2);
            CHECK_FALSE(redirects.options().basic_auth);
        }
        return is_all;
    };
    for (const auto& from : {given, basic}) {
        CHECK(keeps(from, "/x"));
        CHECK(keeps(from, "ws://H:81/x"));
        CHECK(keeps(from, "wss://h:81/x"));
        CHECK_FALSE(keeps(from, "ws://h/x"));
        CHECK_FALSE(keeps(from, "ws://h:82/x"));
        CHECK_FALSE(keeps(from, "ws://other:81/x"));
        CHECK_FALSE(keeps(from, "//h.evil:81/x"));
    }
}

TEST_CASE("redirect: another origin hears only what is public")
{
    auto given = options("ws://h/");
    given.headers = {{"X-Feed", "s3cret"},
                     {"X-Signature", "abc"},
                     {"User-Agent", "mine"},
                     {"Cookie", "a=b"},
                     {"X-Forwarded-For", "::1"}};
    const std::pair<std::vector<std::string>, std::vector<std::string>> cases[] = {
        {{"graphql-transport-ws", "mqtt", "v12.stomp", "MQTTV3.1"},
         {"graphql-transport-ws", "mqtt", "v12.stomp", "MQTTV3.1"}},
        {{"base64url.bearer.authorization.k8s.io.dG9rZW4", "chat"}, {}},
        {{"access_token", "abcdef", "chat"}, {"chat"}},
        {{"realtime", "openai-insecure-api-key.sk-abc", "beta-v1"}, {"realtime"}},
        {{"chat", "eyJhbGciOiJIUzI1NiJ9"}, {"chat"}},
        {{"chat", "s3cret"}, {"chat"}},
        {{"chat", "token-abc"}, {"chat"}},
        {{std::string(33, 'a')}, {}},
    };
    for (const auto& c : cases) {
        given.subprotocols = c.first;
        Redirects away{given}, here{given};
        REQUIRE(away.follow(redirection("ws://x/")).value());
        CHECK(away.options().subprotocols == c.second);
        CHECK(away.options().headers == decltype(given.headers){{"User-Agent", "mine"}});
        REQUIRE(here.follow(redirection("/x")).value());
        CHECK(here.options().subprotocols == c.first);
        CHECK(here.options().headers == given.headers);
    }
}

TEST_CASE("redirect: a secret of one hop is one in the texts of all later hops")
{
    auto given = options("ws://h/feed/secr3t?token=secr3t%2F1&x=harml3ss");
    given.bearer = "bear3r-token";
    given.headers = {{"X-Feed", "f33d-header"}};
    given.subprotocols = {"chat", "t0ken-in-protocol"};
    Redirects redirects{given};
    CHECK(redirects.endpoint() == "ws://h/feed/secr3t?token=***&x=***");
    REQUIRE(redirects.follow(redirection("ws://x/v2/secr3t%2F1/bear3r-token/f33d-header?y=n3xt"))
                .value());
    CHECK(redirects.endpoint() == "ws://x/v2/***/***/***?y=***");
    REQUIRE(redirects.follow(redirection("/n3xt/t0ken-in-protocol/secr3t%2f1/z")).value());
    CHECK(redirects.endpoint() == "ws://x/***/***/***/z");
    CHECK(redirects.secrets().redact("secr3t/1 harml3ss bear3r-token f33d-header n3xt t0ken-in")
          == "*** *** *** *** *** ***");
    const auto refused = redirects.follow(redirection("http://x:0/bear3r-token/"));
    REQUIRE_FALSE(refused);
    CHECK_FALSE(contains(refused.error().message(), "bear3r-token"));
}

} // namespace redirect_test
