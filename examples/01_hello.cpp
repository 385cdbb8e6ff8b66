// Hello: connects, sends a message, prints received messages until the peer closes.
//   01_hello ws://host:port/path
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <fmt/format.h>

using namespace std::chrono_literals;

int main(int argc, char** argv)
{
    const char* url = argc == 2 ? argv[1] : "ws://localhost:8080/feed";
    sidecar::Sidecar<sidecar::WebSocket> feed{{.url = url}};
    if (const auto started = feed.start(5s); !started) {
        fmt::print(stderr, "{}\n", started.error());
        return 1;
    }
    feed.send("hello").value();
    for (;;) {
        if (const auto message = feed.receive(1s))
            fmt::print("{}\n", message->text());
        else if (!message.error().will_retry()) // not silence: the end
            break;
    }
    return feed.stop().clean() ? 0 : 1;
}
