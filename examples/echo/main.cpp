// Sends lines to an echo server and prints what comes back: the same program over either transport.
// echo ws://host:port/path over WebSocket echo tcp://host:port over TCP, one message per line; to
// try it: socat TCP-LISTEN:9000,reuseaddr,fork EXEC:cat
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <optional>
#include <string>
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
        if (auto sent = feed.send(line); !sent) {
            fmt::print(stderr, "echo: {}\n", sent.error());
            return 1;
        }
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

/// Host and port of "tcp://host:port"; an IPv6 address stands in brackets.
std::optional<sidecar::Tcp<sidecar::Lines>::Options> parse_tcp(std::string_view url)
{
    constexpr std::string_view scheme = "tcp://";
    const auto colon = url.rfind(':');
    if (!url.starts_with(scheme) || colon < scheme.size())
        return std::nullopt;
    auto host = url.substr(scheme.size(), colon - scheme.size());
    if (host.starts_with('[') && host.ends_with(']'))
        host = host.substr(1, host.size() - 2);
    std::uint16_t port = 0;
    const auto [end, error] =
        std::from_chars(url.data() + colon + 1, url.data() + url.size(), port);
    if (error != std::errc{} || end != url.data() + url.size())
        return std::nullopt;
    return sidecar::Tcp<sidecar::Lines>::Options{.host = std::string{host}, .port = port};
}

} // namespace

int main(int argc, char** argv)
{
    const std::string_view url = argc == 2 ? argv[1] : "";
    if (url.starts_with("ws://")) {
        sidecar::Sidecar<sidecar::WebSocket> feed{{.url = std::string{url}}};
        return converse(feed);
    }
    if (const auto target = parse_tcp(url)) {
        sidecar::Sidecar<sidecar::Tcp<sidecar::Lines>> feed{*target};
        return converse(feed);
    }
    fmt::print(stderr, "usage: echo ws://host:port/path | tcp://host:port\n");
    return 64;
}
