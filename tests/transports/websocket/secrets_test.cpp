#include "support/raw_peer.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <mutex>

namespace secrets_test {

using namespace sidecar;
using namespace std::chrono_literals;

/// All that a run says: log, errors, dump, report.
std::string all_texts_of(WebSocket::Options options)
{
    std::mutex mutex;
    std::string texts;
    const auto say = [&](std::string_view text) {
        const std::lock_guard lock{mutex};
        texts.append(text) += '\n';
    };
    {
        Sidecar<WebSocket> feed{std::move(options),
                                {.log = [&](LogLevel, std::string_view text) { say(text); }}};
        if (const auto started = feed.start(10s); !started)
            say(started.error().message());
        say(feed.dump());
        if (const auto sent = feed.send("\xff"); !sent)
            say(sent.error().message());
        if (const auto received = feed.receive(10s); !received)
            say(received.error().message());
        say(feed.dump());
        const auto report = feed.stop();
        say(fmt::format("{}", report));
        say(report.dump);
    }
    return texts;
}

TEST_CASE("websocket: no log, error, dump or report holds a secret of the URL or of a header")
{
    const RawPeer::Script scripts[] = {
        [](RawConnection& c) {
            c.accept_websocket();
            c.reset();
        },
        [](RawConnection& c) {
            c.accept_websocket();
            c.send(frame(0x88, "\x03\xe9"));
            c.wait_for_end();
        },
        [](RawConnection& c) {
            c.read_until("\r\n\r\n");
            c.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
            c.half_close();
            c.wait_for_end();
        },
        [](RawConnection& c) {
            c.read_until("\r\n\r\n");
            c.half_close();
            c.wait_for_end();
        },
    };
    for (const auto& script : scripts) {
        RawPeer peer{script};
        const auto texts = all_texts_of({.url = peer.url() + "feed?token=s3cret",
                                         .headers = {{"Authorization", "Bearer t0ken-of-ours"}}});
        CAPTURE(texts);
        CHECK(texts.find("feed?token=***") != std::string::npos);
        CHECK(texts.find("s3cret") == std::string::npos);
        CHECK(texts.find("t0ken") == std::string::npos);
    }
    for (const auto* url : {"ws://user:s3cret@127.0.0.1/", "http://127.0.0.1/?token=s3cret",
                            "ws://127.0.0.1:0/?token=s3cret", "ws://127.0.0.1/?token=s3cret\n"})
        CHECK(all_texts_of({.url = url}).find("s3cret") == std::string::npos);
    CHECK(all_texts_of({.url = "ws://127.0.0.1/", .headers = {{"Authorization", "s3cret\n"}}})
              .find("s3cret")
          == std::string::npos);
}

TEST_CASE(
    "websocket: a close reason that repeats a secret does not get it into any text, and is not "
    "touched otherwise")
{
    struct Row {
        WebSocket::Options options;
        std::string said, told;
    };
    const Row rows[] = {
        {{.bearer = "t0ken-of-ours"}, "bad token t0ken-of-ours!", "bad token ***!"},
        {{.bearer = "t0ken-of-ours"}, "bad token t0ken-o", "bad token ***"}, // cut by the peer
        {{.basic_auth = BasicAuth{"user", "s3cret"}},
         "user: s3cret dXNlcjpzM2NyZXQ=",
         "***: *** ***="},
        {{.headers = {{"X-Api-Key", "s3cret"}, {"X-Team", "trades"}}},
         "trades: s3cret",
         "***: ***"},
        {{.headers = {{"User-Agent", "trader"}}, .subprotocols = {"chat", "secret.s3cret"}},
         "no chat for trader with secret.s3cret",
         "no chat for trader with ***"},
        {{.url = "?ticket=t1cket&jwt=eyJh.b%2Bc"}, "t1cket, eyJh.b+c, eyJh.b%2bc", "***, ***, ***"},
        {{.url = "?channel=trades&token=s3cret%21"}, "trades: s3cret! s3cret%21", "***: *** ***"},
        {{.url = "?channel"}, "trades halted", "trades halted"},
    };
    for (const auto& row : rows) {
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            c.send(frame(0x88, "\x0f\xa1" + row.said));
            c.wait_for_end();
        }};
        auto options = row.options;
        options.url = peer.url() + options.url;
        Sidecar<WebSocket> feed{options, {.log = [](LogLevel, std::string_view) {}}};
        REQUIRE(feed.start(10s));
        const auto failure = feed.receive(10s).error();
        CHECK(failure.close_reason() == row.told);
        CHECK(failure.message().find('"' + row.told + '"') != std::string::npos);
    }
}

TEST_CASE(
    "websocket: after redirections no text holds a secret of any hop, and another origin gets "
    "none")
{
    std::string request;
    RawPeer last{[&](RawConnection& c) {
        request = c.read_until("\r\n\r\n");
        c.send("HTTP/1.1 403 no s3cret-token\r\nContent-Length: 99\r\n\r\n"
               "s3cret-token, cust0m-value, t0ken-protocol, h0p-token");
        c.half_close();
        c.wait_for_end();
    }};
    RawPeer first{[&](RawConnection& c) {
        c.read_until("\r\n\r\n");
        c.send("HTTP/1.1 302 x\r\nLocation: " + last.url()
               + "v2/feed/s3cret-token/cust0m-value?hop=h0p-token\r\n\r\n");
        c.half_close();
        c.wait_for_end();
    }};
    const auto texts = all_texts_of({.url = first.url() + "feed?token=s3cret-token",
                                     .headers = {{"X-Custom", "cust0m-value"}},
                                     .subprotocols = {"chat", "t0ken-protocol"},
                                     .max_redirects = 3});
    CAPTURE(texts);
    CHECK(texts.find("redirects to " + last.url() + "v2/feed/***/***?hop=***")
          != std::string::npos);
    CHECK(texts.find("***, ***, ***, ***") != std::string::npos);
    for (const auto* secret : {"s3cret", "cust0m", "t0ken", "h0p"})
        CHECK(texts.find(secret) == std::string::npos);
    CHECK(request.find("Sec-WebSocket-Protocol: chat\r\n") != std::string::npos);
    CHECK(request.find("X-Custom") == std::string::npos);
}

} // namespace secrets_test
