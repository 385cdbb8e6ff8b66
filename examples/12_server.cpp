// A server: a simulation that shows its state to browsers and programs, and takes their commands.
//   12_server [port]
#include <sidecar/server.hpp>
#include <sidecar/signals.hpp>
#include <sidecar/transports/websocket_server.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

using namespace std::chrono_literals;

int main(int argc, char** argv)
{
    sidecar::Server<sidecar::WebSocket> server{
        {.port = static_cast<std::uint16_t>(argc == 2 ? std::atoi(argv[1]) : 8080)}};
    const auto guard = sidecar::stop_on_signals(server);
    server.start(1s).value(); // bound and listening, or the reason
    fmt::print("ws://127.0.0.1:{}\n", server.port()), std::fflush(stdout);

    int position = 0, speed = 1;
    const auto obey = [&](const sidecar::MessageView& command) {
        speed = command.text() == "back" ? -1 : command.text() == "stop" ? 0 : 1;
    };
    while (server.sleep_for(20ms)) { // false after Ctrl-C
        if (!server.poll(obey))      // a client that has left is no failure; the listener's end is
            break;
        position += speed;
        (void)server.broadcast(fmt::format(R"({{"position":{}}})", position)); // never waits
    }
    fmt::print("{}\n", server.stop());
}
