#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <cstdio>

using namespace std::chrono_literals;

int main(int argc, char** argv)
{
    sidecar::Sidecar<sidecar::WebSocket> feed{
        {.url = argc > 1 ? argv[1] : "ws://localhost:8080/feed"}};
    feed.start(5s).value();
    feed.send(R"({"op":"subscribe"})").value();
    while (auto message = feed.receive(1s))
        std::printf("%.*s\n", static_cast<int>(message->size()), message->text().data());
    feed.stop();
}
