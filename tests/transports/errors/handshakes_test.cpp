// Answers to a WebSocket's handshake that are no success.
#include "table.hpp"
#include "trial.hpp"

#include <doctest/doctest.h>

#include <functional>

namespace handshakes_test {

using namespace sidecar;
using namespace std::chrono_literals;

/// The answer to a request.
using Answer = std::function<std::string(const std::string&)>;

/// What a start ends with where the peer answers so, and ends.
Failure answered(const Answer& answer, WebSocket::Options options = {})
{
    RawPeer peer{[&](RawConnection& c) {
        const auto request = c.read_until("\r\n\r\n");
        c.send(answer(request));
        c.half_close();
        c.wait_for_end();
    }};
    options.url = "ws://localhost:" + std::to_string(peer.port()) + "/feed?token=s3cret";
    return start_of(std::move(options));
}

Failure answered(const std::string& answer, WebSocket::Options options = {})
{
    return answered([&](const std::string&) { return answer; }, std::move(options));
}

Failure accepted_with(const std::string& fields, WebSocket::Options options = {})
{
    return answered([&](const std::string& request) { return accepting(request, fields); },
                    std::move(options));
}

Failure redirected_to(const std::string& location, unsigned max_redirects = 1)
{
    return answered("HTTP/1.1 302 Found\r\nLocation: " + location + "\r\n\r\n",
                    {.max_redirects = max_redirects});
}

Failure deflating(const std::string& parameters, CompressionOptions offered = {})
{
    return accepted_with("Sec-WebSocket-Extensions: permessage-deflate" + parameters + "\r\n",
                         {.compression = offered});
}

constexpr const char* upgrade = "Upgrade: websocket\r\n";
constexpr const char* connection = "Connection: Upgrade\r\n";

std::string switching(const std::string& fields)
{
    return "HTTP/1.1 101 Switching Protocols\r\n" + fields + "\r\n";
}

std::string accept_field(const std::string& request)
{
    return "Sec-WebSocket-Accept: " + websocket_accept(request) + "\r\n";
}

TEST_CASE("error table: handshakes")
{
    ErrorTable table{"Handshakes"};
    table.add("refuses", answered("HTTP/1.1 403 Forbidden\r\n\r\nnot you"));
    table.add("wants credentials",
              answered("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n"));
    table.add("wants us to wait",
              answered("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 30\r\n\r\n"));
    table.add("serves a page", answered("HTTP/1.1 200 OK\r\n\r\n<html>"));
    table.add("repeats a secret", answered("HTTP/1.1 400 Bad Request\r\n\r\nwhat is s3cret?"));
    table.add("sends control characters", answered("HTTP/1.1 400 \x1b[31mred\r\n\r\n"));
    table.add("speaks HTTP/1.0", answered("HTTP/1.0 101 Switching Protocols\r\n\r\n"));
    table.add("speaks HTTP/2",
              answered(std::string{"\0\0\x12\x04\0\0\0\0\0", 9} + std::string(18, '\0')));
    table.add("speaks TLS", answered(std::string{"\x15\x03\x01\0\x02\x02\x46", 7}));
    const std::string bad_request = "HTTP/1.1 400 Bad Request\r\n\r\n";
    table.add("wants HTTPS, as nginx says it",
              answered(bad_request + "The plain HTTP request was sent to HTTPS port"));
    table.add("wants HTTPS, as Apache says it",
              answered(bad_request + "You're speaking plain HTTP to an SSL-enabled server port."));
    table.add("wants HTTPS, as Go says it",
              answered(bad_request + "Client sent an HTTP request to an HTTPS server.\n"));
    table.add("speaks SSH", answered("SSH-2.0-OpenSSH\r\n"));
    table.add("speaks something else", answered("220 mail.example\r\n"));
    table.add("ends the connection", answered(""));
    table.add("ends it within its answer", answered("HTTP/1.1 101 Swi"));
    table.add("sends a long head", answered(switching("X: " + std::string(70'000, 'x'))));
    table.add("sends one interim answer after the other", answered([](const std::string&) {
                  std::string answer;
                  for (int i = 0; i < 100; ++i)
                      answer += "HTTP/1.1 103 Early\r\nX: " + std::string(1000, 'x') + "\r\n\r\n";
                  return answer;
              }));
    table.add("answers without Upgrade", answered([](const std::string& request) {
                  return switching(connection + accept_field(request));
              }));
    table.add("answers without Connection", answered([](const std::string& request) {
                  return switching(upgrade + accept_field(request));
              }));
    table.add("answers without Sec-WebSocket-Accept",
              answered(switching(std::string{upgrade} + connection)));
    table.add("answers with two", answered([](const std::string& request) {
                  return accepting(request, accept_field(request));
              }));
    table.add("answers another key",
              answered(switching(std::string{upgrade} + connection
                                 + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")));
    table.add("sends a line that is no field", answered([](const std::string& request) {
                  return accepting(request, "rubbish\r\n");
              }));
    table.add("chooses a subprotocol, and none was offered",
              accepted_with("Sec-WebSocket-Protocol: v1.feed\r\n"));
    table.add("chooses another one than offered",
              accepted_with("Sec-WebSocket-Protocol: v1.feed, v2.feed\r\n",
                            {.subprotocols = {"v1.feed", "v2.feed"}}));
    table.add("chooses two",
              accepted_with("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n",
                            {.subprotocols = {"a", "b"}}));
    RawPeer mute{[](RawConnection& c) { c.wait_for_end(); }};
    table.add("never answers", start_of({.url = mute.url()}, 100ms));
    table.compare();
}

TEST_CASE("error table: redirections")
{
    ErrorTable table{"Redirections"};
    table.add("redirects, and `max_redirects` is 0", redirected_to("/other?token=s3cret", 0));
    table.add("redirects nowhere", answered("HTTP/1.1 302 Found\r\n\r\n", {.max_redirects = 1}));
    table.add("redirects in a circle", redirected_to("/feed?token=s3cret"));
    table.add("redirects to a page", redirected_to("ftp://other.example/"));
    table.add("redirects with a user", redirected_to("ws://user:s3cret@other.example/"));
    table.add("redirects to a Unix-domain socket", redirected_to("ws+unix:/run/feed.sock:/"));
    table.add("redirects to no port", redirected_to("ws://other.example:99999/"));
    std::string answer;
    RawPeer peer{[&](RawConnection& c) {
        c.read_until("\r\n\r\n");
        c.send("HTTP/1.1 302 Found\r\nLocation: " + std::exchange(answer, "/second")
               + "\r\nContent-Length: 0\r\n\r\n");
    }};
    answer = "/first";
    const auto url = "ws://localhost:" + std::to_string(peer.port()) + "/";
    table.add("redirects once more than allowed", start_of({.url = url, .max_redirects = 1}));
    table.compare();
}

TEST_CASE("error table: answers to permessage-deflate")
{
    ErrorTable table{"Answers to permessage-deflate"};
    table.add("takes it up, and it was not offered",
              accepted_with("Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    table.add("takes up another extension",
              accepted_with("Sec-WebSocket-Extensions: bbf-usp-protocol\r\n",
                            {.compression = CompressionOptions{}}));
    table.add("takes it up twice", deflating(", permessage-deflate"));
    table.add("has a parameter that nobody knows", deflating("; fast"));
    table.add("has a parameter twice",
              deflating("; server_no_context_takeover; server_no_context_takeover"));
    table.add("has a value where none belongs", deflating("; server_no_context_takeover=1"));
    table.add("has no value where one belongs", deflating("; server_max_window_bits"));
    table.add("has a window that is too large", deflating("; server_max_window_bits=16"));
    table.add("has one that is too small", deflating("; client_max_window_bits=7"));
    table.add("has one that is no number", deflating("; client_max_window_bits=\"09\""));
    table.add("has a larger one than offered",
              deflating("; client_max_window_bits=12", {.client_max_window_bits = 10}));
    table.add("has a larger one than demanded",
              deflating("; server_max_window_bits=12", {.server_max_window_bits = 10}));
    table.add("passes over the window that was demanded",
              deflating("", {.server_max_window_bits = 10}));
    table.add("passes over the context that was not to be kept",
              deflating("", {.server_no_context_takeover = true}));
    table.add("writes no list of extensions", deflating("; =x"));
    table.compare();
}

} // namespace handshakes_test
