// A user's program that prints a WebSocket feed, with this library. Compare with_beast.cpp.
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <cstdio>

using namespace std::chrono_literals;

int main(int, char** argv)
{
    sidecar::Sidecar<sidecar::WebSocket> feed{{.url = argv[1]}};
    feed.start(5s).value();
    while (auto message = feed.receive(1s))
        std::printf("%.*s\n", static_cast<int>(message->size()), message->text().data());
    feed.stop();
}
