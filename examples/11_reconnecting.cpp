// A feed handler that survives outages: it reconnects, logs in, subscribes again, and knows when
// messages are missing.
//   11_reconnecting url user
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <fmt/format.h>

#include <string>

using namespace std::chrono_literals;
using Kind = sidecar::Event::Kind;

namespace {

/// Reconnects, and logs in before anything else is sent.
sidecar::Options kept_alive(std::string user)
{
    const auto log_in = [user](sidecar::Context, sidecar::Session& session) -> sidecar::Task<> {
        co_await session.send("login " + user);
        const auto answer = co_await session.receive();
        if (answer.text() != "welcome")
            session.refuse("the server does not know this user"); // for good: no retry
    };
    return {.reconnect = sidecar::Reconnect{.window = 100ms, .at_start = true},
            .on_connected = log_in};
}

} // namespace

int main(int argc, char** argv)
{
    if (argc != 3)
        return fmt::print(stderr, "usage: 11_reconnecting url user\n"), 64;
    sidecar::Sidecar<sidecar::WebSocket> feed{{.url = argv[1]}, kept_alive(argv[2])};
    for (const std::string key : {"ACME", "BOLT"})
        feed.subscribe(key, "subscribe " + key,
                       [key](const sidecar::MessageView& message) {
                           return message.text() == "subscribed " + key;
                       })
            .value();
    feed.start(30s).value(); // tries again until then
    std::string book;        // the state of the market
    for (;;) {
        const auto event = feed.next_event(60s);
        if (!event && event.error().will_retry())
            continue; // a minute of silence
        if (!event)
            break; // the login was refused, say
        if (event->kind == Kind::message && event->message.text() == "the market is closed")
            break;
        if (event->kind == Kind::message)
            book += fmt::format("[{}]", event->message.text());
        if (event->kind == Kind::gap || event->kind == Kind::up)
            book.clear(); // messages may be missing, so it starts again
        if (event->kind == Kind::down)
            fmt::print("{}\nconnection {} is down, and {}\n", book, event->connection,
                       event->next_attempt ? "there will be another" : "that was the last");
    }
    fmt::print("{}\n{}\n", book, feed.stop().clean() ? "stopped" : "not stopped well");
}
