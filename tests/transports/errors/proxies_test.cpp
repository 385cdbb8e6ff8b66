// Proxies that open no tunnel.
#include "table.hpp"
#include "trial.hpp"

#include <sidecar/transports/tcp.hpp>

#include <doctest/doctest.h>

namespace proxies_test {

using namespace sidecar;
using namespace std::chrono_literals;

using LinesFeed = Sidecar<Tcp<Lines>>;

Failure through(const std::string& proxy, std::chrono::milliseconds time = 20s)
{
    LinesFeed feed{{.host = "feed.example", .port = 7000, .proxy = {.url = proxy}},
                   silent_options()};
    if (auto started = feed.start(time); !started)
        return started.error();
    return {};
}

std::string url_of(const RawPeer& peer)
{
    return "http://user:s3cret@127.0.0.1:" + std::to_string(peer.port());
}

/// What a start ends with where the proxy answers so, in one piece and byte by byte.
Failure answered(const std::string& answer)
{
    Failure failures[2];
    for (const bool is_trickling : {false, true}) {
        RawPeer peer{[&](RawConnection& c) {
            c.read_until("\r\n\r\n");
            is_trickling ? c.trickle(answer) : c.send(answer);
            c.half_close();
            c.wait_for_end();
        }};
        failures[is_trickling] = through(url_of(peer));
    }
    CHECK(failures[0].http_status() == failures[1].http_status());
    if (failures[0].http_status() != 0) // else the text has what had come
        CHECK(failures[0].explanation() == failures[1].explanation());
    return failures[0];
}

TEST_CASE("error table: proxies")
{
    ErrorTable table{"Proxies"};
    table.add("wants authorization",
              answered("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"));
    table.add("forbids it", answered("HTTP/1.1 403 Forbidden\r\n\r\n"));
    table.add("repeats a secret", answered("HTTP/1.1 403 s3cret is wrong\r\n\r\n"));
    table.add("cannot reach the server", answered("HTTP/1.1 502 Bad Gateway\r\n\r\n"));
    table.add("redirects",
              answered("HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n"));
    table.add("answers 101", answered("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
    table.add("speaks TLS", answered(std::string{"\x15\x03\x01\0\x02\x02\x46", 7}));
    table.add("speaks SOCKS", answered(std::string{"\x05\0", 2}));
    table.add("has no status", answered("HTTP/1.1 OK\r\n\r\n"));
    table.add("ends the connection", answered(""));
    table.add("ends it within its answer", answered("HTTP/1.1 200 Connection est"));
    table.compare();
}

TEST_CASE("error table: proxies that cannot be asked")
{
    ErrorTable table{"Proxies that cannot be asked"};
    RawPeer long_winded{[](RawConnection& c) {
        c.read_until("\r\n\r\n");
        c.send("HTTP/1.1 200 OK\r\nX: " + std::string(70'000, 'x') + "\r\n\r\n");
        c.wait_for_end();
    }};
    table.add("sends a long head", through(url_of(long_winded)));
    RawPeer flood{[](RawConnection& c) {
        c.read_until("\r\n\r\n");
        for (int i = 0; i < 100; ++i)
            c.send("HTTP/1.1 103 Early\r\nX: " + std::string(1000, 'x') + "\r\n\r\n");
        c.wait_for_end();
    }};
    table.add("sends one interim answer after the other", through(url_of(flood)));
    RawPeer rude{[](RawConnection& c) {
        c.read_until("\r\n\r\n");
        c.reset();
    }};
    table.add("resets the connection", through(url_of(rude)));
    RawPeer mute{[](RawConnection& c) { c.wait_for_end(); }};
    table.add("never answers", through(url_of(mute), 100ms));
    std::string nobody;
    {
        const RawPeer gone{[](RawConnection&) {}};
        nobody = url_of(gone);
    }
    table.add("is not there", through(nobody));
    table.add("has an address that is none", through("http://256.256.256.256.invalid:3128"));
    table.add("is of another kind", through("socks5://user:s3cret@proxy.example:1080"));
    table.add("has a port that is none", through("http://user:s3cret@proxy.example:99999"));
    table.add("has a URL with a path", through("http://user:s3cret@proxy.example/path"));
    table.compare();
}

} // namespace proxies_test
