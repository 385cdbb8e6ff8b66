// The application over a transport of its own, and over those that come with the library: nobody listens there, and it is told so.
#include "application.hpp"
#include "ticker.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>
#include <sidecar/version.hpp>

#include <cstdio>

using namespace std::chrono_literals;

namespace {

bool is_refused(sidecar::Feed& feed)
{
    const auto started = feed.start(5s);
    std::printf("%s\n",
                started ? "started, against all expectation" : started.error().message().c_str());
    return !started && started.error() == sidecar::Error::connect_failed;
}

} // namespace

int main()
{
    std::printf("Sidecar " SIDECAR_VERSION "\n");
    sidecar::Sidecar<Ticker> ticker{{.first = 7}};
    ticker.start(5s).value();
    for (const auto& number : collect(ticker, 3))
        std::printf("%s\n", number.c_str());
    const bool is_clean = ticker.stop().clean();

    sidecar::Sidecar<sidecar::WebSocket> websocket{{.url = "ws://127.0.0.1:1/feed"}};
    sidecar::Sidecar<sidecar::Tcp<sidecar::Lines>> tcp{{.host = "127.0.0.1", .port = 1}};
    return is_clean && is_refused(websocket) && is_refused(tcp) ? 0 : 1;
}
