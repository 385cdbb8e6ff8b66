// Every answer a proxy can give, cut in every way.
#include "proxy.hpp"

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>

namespace tunnel_handshake_test {

using namespace sidecar;
using http::TunnelHandshake;

bool contains(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

TunnelHandshake make(std::string_view proxy = "http://p:3128")
{
    return {http::parse_proxy(proxy, "proxy.url").value(), "feed.example", 443,
            "wss://feed.example/"};
}

struct Outcome {
    bool is_open = false;
    std::size_t head_bytes = 0;
    std::optional<Failure> failure;
};

using Cut = std::function<std::size_t(std::size_t)>;

Outcome run(const std::string& answer, const Cut& cut)
{
    auto handshake = make("http://user:s3cret@p:3128");
    for (std::size_t at = 0; at < answer.size();) {
        const auto end = std::min(answer.size(), cut(at));
        const auto verdict = handshake.take(std::as_bytes(std::span{answer}.subspan(at, end - at)));
        if (verdict && *verdict)
            return {true, at + verdict->value(), {}};
        if (verdict)
            return {false, 0, verdict->error()};
        at = end;
    }
    return {};
}

/// In one piece, byte by byte, and in two pieces with every cut: the verdict is the same.
Outcome judge(const std::string& answer)
{
    const auto whole = run(answer, [&](std::size_t) { return answer.size(); });
    const auto check = [&](const Cut& cut) {
        const auto outcome = run(answer, cut);
        CHECK(outcome.is_open == whole.is_open);
        CHECK(outcome.head_bytes == whole.head_bytes);
        REQUIRE(outcome.failure.has_value() == whole.failure.has_value());
        if (!whole.failure)
            return;
        CHECK(outcome.failure->code() == whole.failure->code());
        CHECK(outcome.failure->http_status() == whole.failure->http_status());
    };
    check([](std::size_t at) { return at + 1; });
    for (std::size_t cut = 1; cut < std::min<std::size_t>(answer.size(), 400); ++cut) {
        CAPTURE(cut);
        check([&](std::size_t at) { return at < cut ? cut : answer.size(); });
    }
    return whole;
}

TEST_CASE("tunnel: the request is CONNECT in its authority-form, with Host and authorization")
{
    CHECK(make().request()
          == "CONNECT feed.example:443 HTTP/1.1\r\nHost: feed.example:443\r\n"
             "User-Agent: sidecar\r\n\r\n");
    CHECK(contains(make("http://Aladdin:open%20sesame@p").request(),
                   "\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
    const auto proxy = http::parse_proxy("p", "proxy.url").value();
    CHECK(TunnelHandshake{proxy, "fe80::1%eth0", 81, ""}.request().starts_with(
        "CONNECT [fe80::1]:81 HTTP/1.1\r\nHost: [fe80::1]:81\r\n"));
}

TEST_CASE("tunnel: any 2xx opens it, whatever its fields say, and what follows belongs to it")
{
    const std::string heads[] = {
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 299 x\r\nX: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nnot a field\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 102 a\r\nX: y\r\n\r\nHTTP/1.1 103 b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    };
    for (const auto& head : heads)
        for (const std::string glued : {"", "x", "hello\r\n\r\n", "HTTP/1.1 403 no\r\n\r\n"}) {
            CAPTURE(head);
            CAPTURE(glued);
            const auto outcome = judge(head + glued);
            CHECK(outcome.is_open);
            CHECK(outcome.head_bytes == head.size());
        }
}

TEST_CASE("tunnel: every other answer fails with the proxy and the status")
{
    const std::pair<std::string, std::string> cases[] = {
        {"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
         "wants authorization: HTTP 407"},
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nno way",
         "refused: HTTP 403 Forbidden"},
        {"HTTP/1.1 502 Bad Gateway\r\nRetry-After: 7\r\n\r\n", "Retry-After: 7 s"},
        {"HTTP/1.1 503 s3cret\r\n\r\ns3cret", "refused: HTTP 503 ***"},
        {"HTTP/1.1 302 Found\r\nLocation: http://u:s3cret@x/?a=s3cret\r\n\r\n",
         "Location: http://***@x/?a=***"},
        {"HTTP/1.1 101 Switching Protocols\r\n\r\n", "refused: HTTP 101"},
        {"HTTP/1.1 404 x\r\nbroken field\r\n\r\n", "refused: HTTP 404"},
        {"HTTP/1.1 100 a\r\n\r\nHTTP/1.1 500 b\r\n\r\n", "refused: HTTP 500 b"},
        {"HTTP/1.1 999 x\r\n\r\n", "refused: HTTP 999"},
    };
    for (const auto& [first, second] : cases) { // clang 14 captures no structured binding
        const auto& answer = first;
        const auto& why = second;
        CAPTURE(answer);
        const auto outcome = judge(answer);
        REQUIRE(outcome.failure);
        const auto& failure = *outcome.failure;
        CHECK(failure == Error::connect_failed);
        CHECK(failure.endpoint() == "wss://feed.example/");
        CHECK(failure.http_status() != 0);
        const auto text = failure.message();
        CAPTURE(text);
        CHECK(contains(text, "the proxy http://p:3128"));
        CHECK(contains(text, why));
        CHECK_FALSE(contains(text, "s3cret"));
        CHECK_FALSE(contains(text, "user"));
    }
    CHECK(judge("HTTP/1.1 502 x\r\nRetry-After: 7\r\n\r\n").failure->retry_after()
          == std::chrono::seconds{7});
}

TEST_CASE("tunnel: what is no HTTP is told with what it may be")
{
    const std::pair<std::string, std::string> cases[] = {
        {"SSH-2.0-OpenSSH\r\n", "SSH"},
        {std::string{"\x15\x03\x01\x00\x02\x02\x46", 7}, "https://"},
        {std::string{"\x05\xff", 2}, "05 ff"},
        {"HTTP/2 200\r\n\r\n", "HTTP/2"},
        {"ICY 200 OK\r\n\r\n", "ICY"},
        {"hello\r\n\r\n", "hello"},
    };
    for (const auto& [first, second] : cases) { // clang 14 captures no structured binding
        const auto& answer = first;
        const auto& what = second;
        CAPTURE(answer);
        const auto whole = run(answer, [&](std::size_t) { return answer.size(); });
        REQUIRE(whole.failure);
        CHECK(contains(whole.failure->message(), what));
        CHECK(contains(whole.failure->message(), "not HTTP/1.1"));
        (void)judge(answer);
    }
}

TEST_CASE("tunnel: a head and interim answers that never end are refused at 64 KiB")
{
    const auto limit = TunnelHandshake::max_head_bytes;
    const auto long_head = "HTTP/1.1 200 OK\r\nX: " + std::string(limit, 'x') + "\r\n\r\n";
    const auto outcome = judge(long_head);
    REQUIRE(outcome.failure);
    CHECK(contains(outcome.failure->message(), "longer than 65536 bytes"));
    std::string many;
    while (many.size() <= 2 * limit)
        many += "HTTP/1.1 100 Continue\r\n\r\n";
    const auto interim = judge(many);
    REQUIRE(interim.failure);
    CHECK(contains(interim.failure->message(), "interim"));
}

TEST_CASE("tunnel: the end of the stream says whether the answer had begun, and how it ended")
{
    namespace error = boost::asio::error;
    auto handshake = make();
    CHECK(contains(handshake.ended().message(), "the proxy closed the connection before"));
    CHECK(contains(handshake.ended(error::eof).message(), "closed the connection before"));
    const auto reset = handshake.ended(error::connection_reset);
    CHECK(reset == Error::connect_failed);
    CHECK(reset.cause() == error::connection_reset);
    CHECK(contains(reset.message(), "broke before"));
    CHECK(handshake.ended(error::operation_aborted) == Error::cancelled);
    const std::string begun = "HTTP/1.1 200 OK\r\nX: ";
    CHECK_FALSE(handshake.take(std::as_bytes(std::span{begun})));
    CHECK(contains(handshake.ended().message(),
                   "in the middle of its answer, which began with \"HTTP/1.1 200 OK\""));
}

} // namespace tunnel_handshake_test
