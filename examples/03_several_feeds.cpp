// Several feeds, one wait: one receive() returns quotes over WebSocket and orders over TCP.
//   03_several_feeds ws://host:port/path orders-host orders-port
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <fmt/format.h>

#include <cstdlib>

using namespace std::chrono_literals;

namespace {

/// The application. It does not depend on a transport, so a test may pass a Sidecar<Mock>.
void show(sidecar::Feed& feed, sidecar::LinkId orders)
{
    int quotes = 0, fills = 0;
    while (quotes < 3 || fills < 3) {
        const auto message = feed.receive(5s).value();
        const bool is_order = message.link() == orders;
        if ((is_order ? fills : quotes)++ < 3)
            fmt::print("{}: {}\n", is_order ? "order" : "quote", message.text());
    }
}

} // namespace

int main(int argc, char** argv)
{
    if (argc != 4)
        return fmt::print(stderr, "usage: 03_several_feeds URL orders-host orders-port\n"), 64;
    const auto port = static_cast<std::uint16_t>(std::atoi(argv[3]));
    sidecar::Sidecar<sidecar::WebSocket> feed{{.url = argv[1]}};
    feed.start(5s).value();
    const auto orders =
        feed.open<sidecar::Tcp<sidecar::Lines>>({.host = argv[2], .port = port}, 5s).value();
    show(feed, orders.id());
    fmt::print("stopped {}\n", feed.stop().clean() ? "cleanly" : "with trouble");
}
