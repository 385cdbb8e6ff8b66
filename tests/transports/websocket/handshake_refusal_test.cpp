// Answers that are none, or say no: what is told of them, and what never is.
#include "answer.hpp"
#include "handshake_trial.hpp"

#include <sidecar/reconnect.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <chrono>

namespace handshake_refusal_test {

using namespace sidecar;
using namespace std::chrono_literals;
using namespace handshake_trial;

TEST_CASE("handshake: a refusal is known with its head, whatever follows, and says what it says")
{
    const Trial trial;
    struct Case {
        std::string answer;
        std::uint16_t status;
        std::string_view text;
    };
    const Case cases[] = {
        {"HTTP/1.1 401 Unauthorized\r\n\r\n", 401, "HTTP 401 Unauthorized"},
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nno", 403, "403 Forbidden: \"no\""},
        {"HTTP/1.0 403 Forbidden\r\n\r\n", 403, "403 Forbidden"},
        {"HTTP/1.1 429\r\n\r\n", 429, "HTTP 429"},
        {"HTTP/1.1 200 OK\r\n\r\n<html>", 200, "200 OK: \"<html>\""},
        {"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwait\r\n0\r\n\r\n", 503,
         "Busy: \"wait\""},
        {"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4", 503, "503 Busy"},
        {"HTTP/1.1 400 Bad\r\nContent-Length: x\r\nContent-Length: 7\r\n\r\n", 400, "400 Bad"},
        {"HTTP/1.1 400 Bad\r\nno field at all\r\n\r\n", 400, "400 Bad"},
        {"HTTP/1.1 403 Bad\n\n", 403, "403 Bad"},
        {"HTTP/1.1 407 Proxy\r\n\r\n\x01\xff", 407, "407 Proxy: 01 ff"},
        {"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n\r\n", 426,
         "426 Upgrade Required"},
        {"HTTP/1.1 100\r\n\r\nHTTP/1.1 403 no\r\n\r\n", 403, "403 no"},
        {"HTTP/1.1 999 odd\r\n\r\n", 999, "999 odd"},
    };
    for (const auto& c : cases) {
        const auto outcome = trial(c.answer);
        CHECK(outcome.failure == Error::handshake_refused);
        CHECK(outcome.failure.http_status() == c.status);
        CHECK(contains(outcome.failure.message(), c.text));
    }
    const auto large = trial.whole("HTTP/1.1 403 F\r\n\r\n" + std::string(1'000'000, 'x'));
    CHECK(large.failure.message().size() < 400);
    CHECK(contains(large.failure.message(), std::string(200, 'x') + "..."));
    const auto long_reason = trial.whole("HTTP/1.1 403 " + std::string(50'000, 'x') + "\r\n\r\n");
    CHECK(long_reason.failure.message().size() < 400);
}

TEST_CASE("handshake: a redirect names where to, and code can read it in full")
{
    const Trial trial;
    const auto moved =
        trial("HTTP/1.1 302 Found\r\nLocation: wss://u:s3cret@h/p?token=s3cret\r\n\r\nbody")
            .failure;
    CHECK(moved == Error::handshake_refused);
    CHECK(moved.http_status() == 302);
    CHECK(moved.location() == "wss://u:s3cret@h/p?token=s3cret");
    CHECK(contains(moved.message(), "302 Found, Location: wss://***@h/p?token=***"));
    CHECK_FALSE(contains(moved.message(), "s3cret"));
    const auto relative = trial.whole("HTTP/1.1 307 x\r\nLocation: /login\x01\r\n\r\n").failure;
    CHECK(relative.http_status() == 307);
    const auto far =
        trial.whole("HTTP/1.1 301 x\r\nLocation: /" + std::string(60'000, 'x') + "\r\n\r\n")
            .failure;
    CHECK(far.location().size() == 60'001);
    CHECK(far.message().size() < 400);
}

TEST_CASE("handshake: Retry-After is read as seconds or as a date")
{
    const auto asked = [](const std::string& retry_after, const std::string& more = {}) {
        return Trial{}
            .whole("HTTP/1.1 503 x\r\nRetry-After: " + retry_after + "\r\n" + more + "\r\n")
            .failure.retry_after();
    };
    const std::string date = "Date: Wed, 21 Oct 2015 07:27:00 GMT\r\n";
    CHECK(asked("120") == 120s);
    CHECK(asked("0") == 0s);
    CHECK(asked("99999999999999999999999") == 365 * 24h);
    CHECK(asked("Wed, 21 Oct 2015 07:28:00 GMT", date) == 60s);
    CHECK(asked("Wednesday, 21-Oct-15 07:28:01 GMT", date) == 61s);
    CHECK(asked("Wed Oct 21 07:28:02 2015", date) == 62s);
    CHECK(asked("Wed Nov  4 07:27:00 2015", date) == 14 * 24h);
    CHECK(asked("Wed, 21 Oct 2015 07:26:00 GMT", date) == 0s);
    CHECK(asked("Wed, 21 Oct 2015 07:28:00 GMT") == 0s); // long past, and no Date
    CHECK(asked("Wed, 21 Oct 9999 07:28:00 GMT", date) == 365 * 24h);
    for (const auto* bad : {"", "-1", "1.5", "soon", "Wed, 32 Oct 2015 07:28:00 GMT",
                            "Wed, 21 Okt 2015 07:28:00 GMT", "Wed, 21 ctN 2015 07:28:00 GMT",
                            "Wed, 21 Oct 2015 24:00:00 GMT", "Wed, 21 Oct 2015 07:28:00"})
        CHECK_FALSE(asked(bad, date));
    CHECK_FALSE(Trial{}.whole("HTTP/1.1 503 x\r\n\r\n").failure.retry_after());
    const auto now = std::chrono::sys_days{std::chrono::year{2026} / 1 / 1};
    CHECK(http::parse_retry_after("Thu, 01 Jan 2026 00:00:07 GMT", "", now) == 7s);
    CHECK(http::parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT", now)
          == std::chrono::sys_seconds{784111777s});
}

TEST_CASE("handshake: what is no HTTP says so at its first wrong byte, and is shown")
{
    const Trial trial;
    const auto rubbish = [&](const std::string& answer) {
        const auto outcome = trial(answer);
        CHECK(outcome.failure == Error::handshake_refused);
        CHECK(outcome.failure.http_status() == 0);
        return outcome.failure.message();
    };
    CHECK(contains(rubbish("-ERR\r\n"), "\"-ERR\\r\\n\""));
    // Neither what stands behind the part that is shown, nor a few bytes beyond ASCII, make hex of it
    CHECK(contains(rubbish("220 " + std::string(100, 'm') + '\0'), "\"220 mmm"));
    CHECK(contains(rubbish("220 sch\xc3\xb6n\r\n"), R"("220 sch\xc3\xb6n\r\n")"));
    const auto tls = rubbish(std::string{"\x15\x03\x01\x00\x02\x02\x46", 7});
    CHECK(contains(tls, "15 03 01 00 02 02 46"));
    CHECK(contains(tls, "wss"));
    CHECK(contains(rubbish("SSH-2.0-OpenSSH_9.2\r\n"), "SSH"));
    CHECK(contains(rubbish(std::string{"\x00\x00\x12\x04\x00\x00\x00\x00\x00", 9}), "HTTP/2"));
    for (const std::string answer :
         {"HTTP/2 403\r\n\r\n", "HTTP/2.0 403\r\n\r\n", "HTTP/0.9 200 OK\r\n\r\n",
          "http/1.1 101 x\r\n\r\n", "HTTP/1.1  101 x\r\n\r\n", "HTTP/1.1 10\r\n\r\n",
          "HTTP/1.1 1010 x\r\n\r\n", "HTTP/1.x 101 x\r\n\r\n", "HTTP/1.10 101 x\r\n\r\n", "\r\n",
          " HTTP/1.1 101\r\n", "\x81\x02hi", "220 smtp\r\n", "ICY 200 OK\r\n",
          "HTTP/1.1 100\r\n\r\nrubbish"})
        CHECK(contains(rubbish(answer), "not HTTP/1.1"));
    CHECK(rubbish(std::string(10'000, '\x02')).size() < 400);
}

TEST_CASE("handshake: the end of the stream says how far the answer had come")
{
    const auto ended = [](const std::string& answer, error_code ec = {}) {
        auto handshake = make({.url = "ws://h/"});
        CHECK_FALSE(handshake.take(std::as_bytes(std::span{answer})));
        return handshake.ended(ec);
    };
    CHECK(ended("") == Error::connect_failed);
    CHECK(contains(ended("").message(), "before its answer (does the address want wss://?)"));
    CHECK_FALSE(ended("", boost::asio::error::eof).cause());
    for (const std::string answer : {"H", "HTTP/1.1 101 x\r\n", "HTTP/1.1 100\r\n\r\n"}) {
        CHECK(ended(answer, boost::asio::error::eof) == Error::connect_failed);
        CHECK(contains(ended(answer).message(), "in the middle of its answer"));
    }
    CHECK(contains(ended("HTTP/1.1 403 For").message(), "HTTP/1.1 403 For"));
    CHECK(ended("H", boost::asio::error::connection_reset).cause()
          == boost::asio::error::connection_reset);
    CHECK(ended("H", boost::asio::error::operation_aborted) == Error::cancelled);
}

TEST_CASE("handshake: of HTTP's answers only a status 4xx but 408, 425 and 429 is for good")
{
    const Trial trial;
    for (const unsigned status : {200u, 301u, 302u, 500u, 502u, 503u, 504u, 599u, 408u, 425u, 429u})
        for (const std::string version : {"HTTP/1.1", "HTTP/1.0"})
            CHECK(is_retryable(
                trial.whole(version + " " + std::to_string(status) + " x\r\n\r\n").failure));
    for (const unsigned status : {400u, 401u, 403u, 404u, 407u, 410u, 426u, 499u})
        for (const std::string version : {"HTTP/1.1", "HTTP/1.0"})
            CHECK_FALSE(is_retryable(
                trial.whole(version + " " + std::to_string(status) + " x\r\n\r\n").failure));
    for (const auto* answer : {"SSH-2.0", "<html>503</html>", "HTTP/1.1 101 x\r\n\r\n"})
        CHECK(is_retryable(trial.whole(answer).failure));
}

TEST_CASE("handshake: no text holds a secret of ours, though the peer repeats it")
{
    const Trial trial{.options = {.url = "ws://h/p?token=s3cret%21x&b=1",
                                  .headers = {{"Authorization", "Bearer t0ken-of-ours"},
                                              {"X-Key", "k3y-of-ours"}},
                                  .subprotocols = {"chat"}}};
    const std::string repeated =
        "s3cret%21x s3cret!x Bearer t0ken-of-ours, t0ken-of-ours k3y-of-ours";
    const std::string answers[] = {
        "HTTP/1.1 403 " + repeated + "\r\n\r\n",
        "HTTP/1.1 403 F\r\n\r\n" + repeated,
        "HTTP/1.1 403 F\r\nLocation: /" + repeated + "\r\n\r\n",
        "HTTP/1.1 302 F\r\nLocation: ws://h/s3cret!x\r\n\r\n",
        repeated,
        status_101 + fields + "Sec-WebSocket-Protocol: " + repeated + "\r\n\r\n",
        status_101 + fields + "Sec-WebSocket-Extensions: k3y-of-ours\r\n\r\n",
        "HTTP/1.1 403 F\r\n\r\n" + std::string(790, '.') + repeated,
    };
    const auto check = [](const std::string& text) {
        CAPTURE(text);
        for (const auto* secret : {"s3cr", "t0ke", "k3y-"})
            CHECK_FALSE(contains(text, secret));
    };
    for (const auto& answer : answers) {
        check(trial(answer).failure.message());
        for (std::size_t length = 1; length < answer.size(); ++length) {
            auto handshake = make(trial.options);
            const auto verdict = handshake.take(std::as_bytes(std::span{answer}.first(length)));
            check(verdict && !*verdict ? verdict->error().message() : handshake.ended().message());
        }
    }
}

} // namespace handshake_refusal_test
