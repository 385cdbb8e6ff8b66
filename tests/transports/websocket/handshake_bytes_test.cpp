#include "accept_key.hpp"
#include "handshake.hpp"
#include "retry_after.hpp"

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <functional>
#include <set>

using namespace sidecar;
using namespace std::chrono_literals;
using websocket::Handshake;

namespace {

bool contains(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

Handshake make(const WebSocket::Options& options, std::string extensions = {})
{
    REQUIRE(WebSocket::check(options));
    return Handshake{websocket::parse_url(options.url).value(), options, std::move(extensions)};
}

std::string key_of(const Handshake& handshake)
{
    const auto at = handshake.request().find("Sec-WebSocket-Key: ") + 19;
    return handshake.request().substr(at, 24);
}

/// What became of an answer.
struct Outcome {
    bool is_undecided = false;
    bool is_accepted = false;
    std::size_t head_bytes = 0; // consumed until the verdict
    std::string subprotocol, extensions;
    Failure failure;

    bool operator==(const Outcome& other) const
    {
        return is_undecided == other.is_undecided && is_accepted == other.is_accepted
               && head_bytes == other.head_bytes && subprotocol == other.subprotocol
               && extensions == other.extensions && failure.code() == other.failure.code()
               && failure.http_status() == other.failure.http_status()
               && failure.location() == other.failure.location()
               && failure.retry_after() == other.failure.retry_after();
    }
};

using Cuts = std::function<std::size_t(std::size_t)>; // from here to the end of the next piece

/// `$ACCEPT` in the answer stands for what belongs to the key.
struct Trial {
    WebSocket::Options options{.url = "ws://h/"};
    std::string extensions{};

    Outcome run(std::string answer, const Cuts& cut) const
    {
        auto handshake = make(options, extensions);
        if (const auto at = answer.find("$ACCEPT"); at != answer.npos)
            answer.replace(at, 7, websocket::accept_of(key_of(handshake)));
        Outcome outcome;
        for (std::size_t at = 0; at < answer.size();) {
            const auto end = std::min(answer.size(), cut(at));
            const auto verdict =
                handshake.take(std::as_bytes(std::span{answer}.subspan(at, end - at)));
            if (verdict) {
                outcome.is_accepted = verdict->has_value();
                if (*verdict) {
                    outcome.head_bytes = at + (*verdict)->consumed_bytes;
                    outcome.subprotocol = (*verdict)->subprotocol;
                    outcome.extensions = (*verdict)->extensions;
                } else {
                    outcome.failure = verdict->error();
                }
                return outcome;
            }
            at = end;
        }
        outcome.is_undecided = true;
        return outcome;
    }

    Outcome whole(const std::string& answer) const
    {
        return run(answer, [](std::size_t) { return std::string::npos; });
    }

    /// In one piece, byte by byte and in two pieces with every cut: the verdict is the same.
    Outcome operator()(const std::string& answer) const
    {
        CAPTURE(answer);
        const auto outcome = whole(answer);
        CHECK(run(answer, [](std::size_t at) { return at + 1; }) == outcome);
        for (std::size_t cut = 1; cut < answer.size(); ++cut) {
            CAPTURE(cut);
            CHECK(run(answer, [&](std::size_t at) { return at < cut ? cut : answer.npos; })
                  == outcome);
        }
        return outcome;
    }
};

const std::string fields = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                           "Sec-WebSocket-Accept: $ACCEPT\r\n";
const std::string status_101 = "HTTP/1.1 101 Switching Protocols\r\n";

std::string with_bare_line_feeds(std::string text)
{
    std::erase(text, '\r');
    return text;
}

} // namespace

TEST_CASE("handshake: the key's answer is the one of RFC 6455, and SHA-1 is right at block borders")
{
    CHECK(websocket::accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    std::set<std::string> keys;
    for (int i = 0; i < 100; ++i) {
        const auto key = websocket::make_key();
        CHECK(key.size() == 24);
        CHECK(key.ends_with("=="));
        keys.insert(key);
    }
    CHECK(keys.size() == 100);
}

TEST_CASE("handshake: the request has what RFC 6455 demands, and the application's fields as given")
{
    const auto plain = make({.url = "ws://h:81/p?q=r"}).request();
    CHECK(plain.starts_with("GET /p?q=r HTTP/1.1\r\nHost: h:81\r\n"));
    CHECK(plain.ends_with("\r\n\r\n"));
    for (const auto* line : {"Upgrade: websocket", "Connection: Upgrade",
                             "Sec-WebSocket-Version: 13", "User-Agent: sidecar"})
        CHECK(contains(plain, fmt::format("\r\n{}\r\n", line)));
    CHECK_FALSE(contains(plain, "Sec-WebSocket-Protocol"));
    CHECK_FALSE(contains(plain, "Sec-WebSocket-Extensions"));

    const auto request =
        make(
            {.url = "ws://[fe80::1%25lo]/",
             .headers = {{"Cookie", "a=1"}, {"X-B", ""}, {"cookie", "b=2"}, {"user-agent", "mine"}},
             .subprotocols = {"v2", "v1"}},
            "permessage-deflate")
            .request();
    CHECK(contains(request, "\r\nHost: [fe80::1]\r\n"));
    CHECK(contains(request, "\r\nCookie: a=1\r\nX-B: \r\ncookie: b=2\r\nuser-agent: mine\r\n\r\n"));
    CHECK(contains(request, "\r\nSec-WebSocket-Protocol: v2, v1\r\n"));
    CHECK(contains(request, "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"));
    CHECK_FALSE(contains(request, "User-Agent"));

    const auto other_host =
        make({.url = "ws://h/", .headers = {{"A", "b"}, {"hOST", "x:1"}}}).request();
    CHECK(contains(other_host, " HTTP/1.1\r\nHost: x:1\r\n"));
    CHECK_FALSE(contains(other_host, "Host: h"));
    CHECK_FALSE(contains(other_host, "hOST"));
}

TEST_CASE("handshake: an answer in any correct form is accepted, and what follows it is left")
{
    std::string many_fields;
    for (int i = 0; i < 300; ++i)
        many_fields += fmt::format("X-{}: {}\r\n", i, i);
    const std::string answers[] = {
        status_101 + fields,
        "HTTP/1.1 101 \r\n" + fields,
        "HTTP/1.1 101\r\n" + fields,
        "HTTP/1.1 101 any \t\x80 reason\r\n" + fields,
        with_bare_line_feeds(status_101 + fields),
        status_101 + with_bare_line_feeds(fields),
        status_101 + "UPGRADE:WebSocket\r\nconnection:UPGRADE\r\nsec-websocket-accept:$ACCEPT\r\n",
        status_101 + "Connection: keep-alive\r\n" + fields,
        status_101 + "Connection: keep-alive, close\r\n" + fields + "Connection: x\r\n",
        status_101
            + "Upgrade: h2c, websocket\r\nConnection: keep-alive , "
              "upgrade,\r\nSec-WebSocket-Accept: \t$ACCEPT \t\r\n",
        status_101 + fields + "X: folded\r\n and on\r\n",
        status_101 + fields + "X: \xc3\xa4\r\nEmpty:\r\n",
        // No length means anything in an answer 101
        status_101 + fields + "Content-Length: 0\r\n",
        status_101 + fields
            + "Content-Length: x, y\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
              "chunked\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n" + status_101 + fields,
        "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 100\n\nHTTP/1.1 199 x\r\nBad "
        "field\r\n\r\n"
            + status_101 + fields,
    };
    const Trial trial;
    for (const auto& answer : answers) {
        for (const std::string frames : {"", "\x81\x02hi", "\n", "HTTP/1.1 403 no\r\n\r\n"}) {
            const bool is_bare = answer.ends_with("\n") && !answer.ends_with("\r\n");
            const auto head = answer + (is_bare ? "\n" : "\r\n");
            const auto outcome = trial(head + frames);
            CAPTURE(outcome.failure.message());
            CHECK(outcome.is_accepted);
            CHECK(outcome.head_bytes == head.size() + 28 - 7); // in place of $ACCEPT
        }
    }
    const auto outcome = trial.whole(status_101 + many_fields + fields + "\r\nframes");
    CHECK(outcome.is_accepted);
    CHECK(trial.run(status_101 + many_fields + fields + "\r\nframes", [](std::size_t at) {
        return at + 1;
    }) == outcome);
}

TEST_CASE("handshake: an answer that is not whole is no verdict")
{
    const Trial trial;
    for (const std::string answer :
         {"", "H", "HTTP/1.", "HTTP/1.1 101", "HTTP/1.1 403 Forbidden\r\n",
          "HTTP/1.1 403 Forbidden\r\nA: b\r\n", "HTTP/1.1 403\nA: b\n", "HTTP/1.1 100\r\n\r\n",
          "HTTP/1.1 403 F\r\nA: b\r\n\r"})
        CHECK(trial(answer).is_undecided);
}

TEST_CASE("handshake: RFC 6455 section 4.1 is held, check by check")
{
    const Trial trial;
    const auto fault = [&](const std::string& answer) {
        const auto outcome = trial(answer + "\r\n");
        CHECK_FALSE(outcome.is_accepted);
        CHECK(outcome.failure == Error::handshake_refused);
        CHECK(outcome.failure.http_status() == 101);
        return outcome.failure.explanation();
    };
    const std::string upgrade = "Upgrade: websocket\r\n";
    const std::string connection = "Connection: Upgrade\r\n";
    const std::string accept = "Sec-WebSocket-Accept: $ACCEPT\r\n";
    CHECK(contains(fault(status_101), "Upgrade"));
    CHECK(contains(fault(status_101 + connection + accept), "Upgrade field"));
    CHECK(contains(fault(status_101 + "Upgrade: websockets\r\n" + connection + accept),
                   "Upgrade field"));
    CHECK(contains(fault(status_101 + upgrade + accept), "Connection"));
    CHECK(contains(fault(status_101 + upgrade + "Connection: close\r\n" + accept), "Connection"));
    CHECK(contains(fault(status_101 + upgrade + connection), "Sec-WebSocket-Accept"));
    CHECK(contains(fault(status_101 + upgrade + connection + "Sec-WebSocket-Accept:\r\n"), "key"));
    CHECK(contains(fault(status_101 + upgrade + connection
                         + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
                   "key"));
    CHECK(contains(fault(status_101 + fields + "Sec-WebSocket-Accept: x\r\n"), "several"));
    CHECK(contains(fault("HTTP/1.0 101 x\r\n" + fields), "HTTP/1.0"));
    CHECK(contains(fault(status_101 + "No field\r\n" + fields), "cannot be read"));
    CHECK(contains(fault(status_101 + " folded\r\n" + fields), "cannot be read"));
    CHECK(contains(fault(status_101 + "A : b\r\n" + fields), "cannot be read"));
    CHECK(contains(fault(status_101 + "A: b\rc\r\n" + fields), "cannot be read"));
    CHECK(contains(fault(status_101 + fields + "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
                   "permessage-deflate"));
    CHECK(contains(fault(status_101 + fields + "Sec-WebSocket-Extensions: ;\r\n"), "extension"));
    CHECK(contains(fault(status_101 + fields + "Sec-WebSocket-Protocol: chat\r\n"), "chat"));
}

TEST_CASE("handshake: subprotocols and extensions that were offered can be chosen, others cannot")
{
    const Trial trial{.options = {.url = "ws://h/", .subprotocols = {"chat", "superchat"}},
                      .extensions = "permessage-deflate; client_max_window_bits, x-other"};
    const auto choice = [&](const std::string& more) {
        return trial(status_101 + fields + more + "\r\n");
    };
    CHECK(choice("").is_accepted);
    CHECK(choice("").subprotocol.empty());
    CHECK(choice("Sec-WebSocket-Protocol: superchat\r\n").subprotocol == "superchat");
    CHECK(choice("Sec-WebSocket-Protocol:chat \r\n").subprotocol == "chat");
    for (const auto* value : {"Chat", "chat, superchat", "", "chat2"})
        CHECK(choice(fmt::format("Sec-WebSocket-Protocol: {}\r\n", value)).failure
              == Error::handshake_refused);
    CHECK(choice("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n").failure
          == Error::handshake_refused);

    CHECK(choice("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n")
              .extensions
          == "permessage-deflate; server_max_window_bits=10");
    CHECK(
        choice(
            "Sec-WebSocket-Extensions: x-other\r\nSec-WebSocket-Extensions: permessage-deflate\r\n")
            .extensions
        == "x-other, permessage-deflate");
    for (const auto* value : {"permessage-bzip", "x-other, y", "client_max_window_bits"})
        CHECK(choice(fmt::format("Sec-WebSocket-Extensions: {}\r\n", value)).failure
              == Error::handshake_refused);
}

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
    CHECK(websocket::parse_retry_after("Thu, 01 Jan 2026 00:00:07 GMT", "", now) == 7s);
    CHECK(websocket::parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT", now)
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
    CHECK(contains(ended("").message(), "before its answer"));
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

TEST_CASE("handshake: a head may be as long as the option says, and not a byte longer")
{
    const std::string begin = "HTTP/1.1 403 F\r\nX: ";
    const auto of_size = [&](std::size_t bytes) {
        return begin + std::string(bytes - begin.size() - 4, 'x') + "\r\n\r\n";
    };
    const Trial by_default;
    CHECK(contains(by_default.whole(of_size(65536)).failure.message(), "403 F"));
    const auto longer = by_default.whole(of_size(65537)).failure;
    CHECK(longer == Error::handshake_refused);
    CHECK(longer.http_status() == 403);
    CHECK(contains(longer.message(), "max_head_bytes (65536)"));

    const Trial small{.options = {.url = "ws://h/", .max_head_bytes = 100}};
    CHECK(contains(small(of_size(100)).failure.message(), "403 F"));
    CHECK(contains(small(of_size(101)).failure.message(), "max_head_bytes"));
    CHECK(contains(small(std::string(99, 'H')).failure.message(), "not HTTP"));
    const Trial large{.options = {.url = "ws://h/", .max_head_bytes = 1u << 20}};
    CHECK(large.whole(status_101 + fields + "X: " + std::string(500'000, 'x') + "\r\n\r\n")
              .is_accepted);
}

TEST_CASE("handshake: interim answers without end are ended")
{
    const Trial small{.options = {.url = "ws://h/", .max_head_bytes = 200}};
    std::string endless;
    for (int i = 0; i < 100; ++i)
        endless += "HTTP/1.1 100 Continue\r\n\r\n";
    CHECK(contains(small(endless.substr(0, 20 * 25)).failure.message(), "interim"));
    CHECK(small(endless.substr(0, 8 * 25)).is_undecided);
    CHECK(small.whole(endless.substr(0, 8 * 25) + "HTTP/1.1 403 F\r\n\r\n").failure.http_status()
          == 403);
}

TEST_CASE("handshake: the time is linear, whatever comes")
{
    const Trial trial{.options = {.url = "ws://h/", .max_head_bytes = 4u << 20}};
    const auto byte_by_byte = [](std::size_t at) { return at + 1; };
    const auto took = [&](const std::string& answer) {
        const auto began = std::chrono::steady_clock::now();
        (void)trial.whole(answer);
        (void)trial.run(answer, byte_by_byte);
        return std::chrono::steady_clock::now() - began;
    };
    constexpr std::size_t bytes = 1'000'000;
    const auto repeated = [](std::string_view part) {
        std::string text;
        while (text.size() < bytes)
            text += part;
        return text;
    };
    // Quadratic time would be hours
    for (const auto* name :
         {"X", "Connection", "Upgrade", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"}) {
        CHECK(took(status_101 + fields + name + ": " + repeated(",") + "\r\n\r\n") < 5s);
        CHECK(took(status_101 + fields + name + ": " + repeated(", ;a,") + "\r\n\r\n") < 5s);
    }
    CHECK(took(status_101 + repeated("x")) < 5s);
    CHECK(took(status_101 + repeated("\r")) < 5s);
    CHECK(took(status_101 + fields + repeated("X:\r\n") + "\r\n") < 5s);
    CHECK(took(status_101 + fields + repeated("Connection: a\r\n") + "\r\n") < 5s);
    CHECK(took(status_101 + fields + "X: y\r\n" + repeated(" \r\n") + "\r\n") < 5s);
    CHECK(took(repeated("HTTP/1.1 100\n\n")) < 5s);
    CHECK(
        trial.whole(status_101 + fields + "Connection: " + repeated(",") + "\r\n\r\n").is_accepted);
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
