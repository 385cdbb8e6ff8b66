// What the handshake asks for, and the answers that it takes.
#include "handshake_trial.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <set>

namespace handshake_bytes_test {

using namespace sidecar;
using namespace std::chrono_literals;
using namespace handshake_trial;

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
             .subprotocols = {"v2", "v1"},
             .compression = CompressionOptions{}})
            .request();
    CHECK(contains(request, "\r\nHost: [fe80::1]\r\n"));
    CHECK(contains(request, "\r\nCookie: a=1\r\nX-B: \r\ncookie: b=2\r\nuser-agent: mine\r\n\r\n"));
    CHECK(contains(request, "\r\nSec-WebSocket-Protocol: v2, v1\r\n"));
    CHECK(contains(request, "\r\nSec-WebSocket-Extensions: permessage-deflate; "
                            "client_max_window_bits\r\n"));
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
            + "Upgrade: , websocket\r\nConnection: keep-alive , "
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
    for (const auto& other :
         {std::string{"Upgrade: h2c, websocket\r\n"}, "Upgrade: h2c\r\n" + upgrade})
        CHECK(contains(fault(status_101 + other + connection + accept), "nothing else"));
    CHECK(contains(fault(status_101 + upgrade + accept), "Connection"));
    CHECK(contains(fault(status_101 + upgrade + "Connection: close\r\n" + accept), "Connection"));
    CHECK(contains(fault(status_101 + upgrade + connection), "Sec-WebSocket-Accept"));
    CHECK(contains(fault(status_101 + upgrade + connection + "Sec-WebSocket-Accept:\r\n"), "key"));
    CHECK(contains(fault(status_101 + upgrade + connection
                         + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
                   "key"));
    CHECK(contains(fault(status_101 + fields + "Sec-WebSocket-Accept: x\r\n"), "several"));
    CHECK(contains(fault("HTTP/1.0 101 x\r\n" + fields), "HTTP/1.0"));
    for (const std::string_view reason : {std::string_view{"a\rb"}, std::string_view{"a\0b", 3}})
        CHECK(contains(fault("HTTP/1.1 101 " + std::string{reason} + "\r\n" + fields),
                       "cannot be read"));
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
    const Trial trial{.options = {.url = "ws://h/",
                                  .subprotocols = {"chat", "superchat"},
                                  .compression = CompressionOptions{}}};
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

    CHECK(choice("").window_bits == 0);
    CHECK(choice("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10\r\n")
              .window_bits
          == 10);
    CHECK(choice("Sec-WebSocket-Extensions: permessage-deflate\r\n"
                 "Sec-WebSocket-Extensions: x-other\r\n")
              .failure
          == Error::handshake_refused);
    for (const auto* value : {"permessage-bzip", "x-other, y", "client_max_window_bits"})
        CHECK(choice(fmt::format("Sec-WebSocket-Extensions: {}\r\n", value)).failure
              == Error::handshake_refused);
}

} // namespace handshake_bytes_test
