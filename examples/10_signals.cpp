// Shutdown on signals: Ctrl-C ends the wait, the stop closes the connection and reports its result.
//   10_signals ws://host:port/path
#include <sidecar/sidecar.hpp>
#include <sidecar/signals.hpp>
#include <sidecar/transports/websocket.hpp>

#include <fmt/format.h>

#include <cstdio>

using namespace std::chrono_literals;

int main(int argc, char** argv)
{
    sidecar::Sidecar<sidecar::WebSocket> feed{
        {.url = argc == 2 ? argv[1] : "ws://localhost:8080/feed"},
        {.stop = {.total = 2s, .drain = 500ms, .close = 1s}}};
    const auto guard = sidecar::stop_on_signals(feed); // a second Ctrl-C ends the process
    feed.start(5s).value();
    fmt::print("waiting; Ctrl-C stops\n");
    std::fflush(stdout);

    const auto message = feed.receive(sidecar::Duration::max());
    if (!message && message.error() == sidecar::Error::stopped)
        fmt::print("signal {}\n", guard.signal());
    const auto report = feed.stop();
    fmt::print(stderr, "{}\n", report);
    fmt::print("{}\n", report.clean() ? "stopped cleanly" : "stopped with trouble");
}
