// Sends lines to an echo server and prints what comes back.
//   echo ws://host:port/path   over WebSocket
//   echo tcp://host:port       over TCP, one message per line
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <string_view>

using namespace std::chrono_literals;

namespace {

template <class Feed>
int converse(Feed& feed)
{
    if (auto started = feed.start(5s); !started) {
        fmt::print(stderr, "echo: {}\n", started.error());
        return 1;
    }
    for (const std::string_view line : {"hello", "how are you?", "goodbye"}) {
        feed.send(line).value();
        const auto answer = feed.receive(5s);
        if (!answer) {
            fmt::print(stderr, "echo: {}\n", answer.error());
            return 1;
        }
        fmt::print("{}\n", answer->text());
    }
    fmt::print("{}\n", feed.stop());
    return 0;
}

} // namespace

int main(int argc, char** argv)
{
    const std::string_view url = argc == 2 ? argv[1] : "";
    if (url.starts_with("ws://")) {
        sidecar::Sidecar<sidecar::WebSocket> feed{{.url = std::string{url}}};
        return converse(feed);
    }
    const auto colon = url.rfind(':');
    std::uint16_t port = 0;
    if (!url.starts_with("tcp://") || colon < 6
        || std::from_chars(url.data() + colon + 1, url.data() + url.size(), port).ec != std::errc{}) {
        fmt::print(stderr, "usage: echo ws://host:port/path | tcp://host:port\n");
        return 64;
    }
    sidecar::Sidecar<sidecar::Tcp<sidecar::Lines>> feed{{.host = std::string{url.substr(6, colon - 6)}, .port = port}};
    return converse(feed);
}
