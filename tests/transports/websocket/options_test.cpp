// What of the options goes into the request, and which make no sense.
#include "handshake_trial.hpp"
#include "options.hpp"

#include <doctest/doctest.h>

#include <string>

namespace options_test {

using namespace sidecar;
using namespace std::chrono_literals;
using handshake_trial::contains;

std::string request_of(const WebSocket::Options& options)
{
    return handshake_trial::make(options).request();
}

std::string why(const WebSocket::Options& options)
{
    const auto checked = WebSocket::check(options);
    REQUIRE_FALSE(checked);
    CHECK(checked.error() == Error::bad_options);
    const auto text = checked.error().message();
    CAPTURE(text);
    CHECK_FALSE(contains(text, "s3cret"));
    return text;
}

TEST_CASE("request: origin, basic and bearer authorization each have their field, once")
{
    const auto plain = request_of({.url = "ws://h/"});
    CHECK_FALSE(contains(plain, "Origin"));
    CHECK_FALSE(contains(plain, "Authorization"));
    CHECK(contains(request_of({.url = "ws://h/", .origin = "https://example.com"}),
                   "\r\nOrigin: https://example.com\r\n"));
    CHECK(
        contains(request_of({.url = "ws://h/", .basic_auth = BasicAuth{"Aladdin", "open sesame"}}),
                 "\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
    CHECK(contains(request_of({.url = "ws://h/", .basic_auth = BasicAuth{}}),
                   "\r\nAuthorization: Basic Og==\r\n"));
    CHECK(contains(request_of({.url = "ws://h/", .bearer = "mF_9.B5f-4.1JqM=="}),
                   "\r\nAuthorization: Bearer mF_9.B5f-4.1JqM==\r\n"));
    CHECK(contains(request_of({.url = "ws+unix:/s:/x"}), "\r\nHost: localhost\r\n"));
}

TEST_CASE("check: authorization and origin that make no sense are refused, with no secret")
{
    const auto with_user = [](std::string user, std::string password) {
        return why(
            {.url = "ws://h/", .basic_auth = BasicAuth{std::move(user), std::move(password)}});
    };
    CHECK(contains(with_user("s3cret:x", ""), "':'"));
    CHECK(contains(with_user("s3cret\n", ""), "user"));
    CHECK(contains(with_user("u", "s3cret\r\n"), "password"));
    CHECK(contains(with_user("u", std::string("s3cret\0", 7)), "password"));
    CHECK(WebSocket::check({.url = "ws://h/", .basic_auth = BasicAuth{"m\xc3\xbcller", "p:w"}}));
    for (const std::string bad : {" ", "\r\n", ",", "\"", "\xff", "=x"})
        CHECK(contains(why({.url = "ws://h/", .bearer = "s3cret" + bad}), "bearer token"));
    CHECK(contains(why({.url = "ws://h/", .bearer = "="}), "bearer token"));
    CHECK(contains(
        why({.url = "ws://h/", .basic_auth = BasicAuth{"u", "s3cret"}, .bearer = "s3cret"}),
        "exclude"));
    CHECK(contains(why({.url = "ws://h/", .headers = {{"authorization", "s3cret"}}, .bearer = "x"}),
                   "exclude"));
    CHECK(contains(why({.url = "ws://h/",
                        .headers = {{"Authorization", "s3cret"}},
                        .basic_auth = BasicAuth{}}),
                   "exclude"));
    CHECK(contains(
        why({.url = "ws://h/", .headers = {{"ORIGIN", "https://a"}}, .origin = "https://b"}),
        "exclude"));
    for (const auto* origin : {"a b", "a\r\nb", "\xc3\xa4"})
        CHECK(contains(why({.url = "ws://h/", .origin = origin}), "origin"));
}

TEST_CASE("handshake: a refusal that repeats who we are repeats no secret")
{
    const auto options =
        WebSocket::Options{.url = "ws://h/", .basic_auth = BasicAuth{"someuser", "s3cret pass"}};
    auto handshake = handshake_trial::make(options);
    const std::string answer = "HTTP/1.1 401 s3cret pass\r\n\r\nnot someuser with s3cret pass, "
                               "Basic c29tZXVzZXI6czNjcmV0IHBhc3M=";
    const auto verdict = handshake.take(std::as_bytes(std::span{answer}));
    REQUIRE(verdict);
    const auto text = verdict->error().message();
    CAPTURE(text);
    for (const auto* secret : {"s3cret", "someuser", "c29tZXVzZXI6"})
        CHECK_FALSE(contains(text, secret));
}

TEST_CASE("check: options that would be passed over in silence are refused")
{
    CHECK(contains(why({.url = "ws://h/", .tls = {.server_name = "n"}}),
                   "the option tls has no meaning for ws://; use wss://"));
    CHECK(contains(why({.url = "ws+unix:/s", .tls = {.insecure_skip_verification = true}}),
                   "no meaning for ws://"));
    CHECK(contains(why({.url = "ws://h/", .proxy = {.tls = {.server_name = "n"}}}),
                   "proxy.tls has no meaning without a proxy of https://"));
    // A redirection may lead to wss://
    CHECK(WebSocket::check({.url = "ws://h/", .max_redirects = 1, .tls = {.server_name = "n"}}));
}

TEST_CASE("check: a proxy and options of sockets that make no sense are refused")
{
    CHECK(contains(why({.url = "ws://h/", .proxy = {.url = "socks5://u:s3cret@p"}}), "proxy.url"));
    CHECK(contains(why({.url = "ws://h/", .socket = {.user_timeout = -1s}}), "user_timeout"));
    CHECK(
        contains(why({.url = "ws://h/", .socket = {.bind_address = "localhost"}}), "bind_address"));
    CHECK(contains(why({.url = "ws+unix:/s", .socket = {.bind_address = "127.0.0.1"}}),
                   "no meaning for a Unix-domain socket"));
    CHECK(WebSocket::check({.url = "ws+unix:/s",
                            .socket = {.receive_buffer_bytes = 1000},
                            .proxy = {.url = "nonsense://"}}));
    CHECK(WebSocket::check({.url = "ws://h/", .proxy = {.url = "http://u:p@p:3128"}}));
}

} // namespace options_test
