// links TRANSPORT COUNT: on one running sidecar COUNT links are opened one after the other; each sends,
// receives, and is closed by its peer. Prints what the process holds after the first 500 and at the
// end, and fails if it has grown: a link that ended and is let go leaves nothing behind.
#include "support/footprint.hpp"
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <fmt/format.h>

#include <functional>
#include <optional>
#include <string_view>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

constexpr int warm_up = 500;

/// Opens one link and sees it to its end: up, a message, down.
template <class T>
Result<void> one_link(Feed& feed, const typename T::Options& options)
{
    auto link = feed.open<T>(options, 10s);
    if (!link)
        return link.error();
    if (auto sent = link->send("x"); !sent)
        return sent;
    for (bool has_message = false;;) {
        auto event = feed.next_event(10s);
        if (!event)
            return event.error();
        if (event->link != link->id())
            continue;
        has_message |= event->kind == Event::Kind::message;
        if (event->kind == Event::Kind::down)
            return has_message ? Result<void>{} : Result<void>{*event->failure};
    }
}

template <class T>
int run(const RawPeer& idle, RawPeer& peer,
        const std::function<typename T::Options(const RawPeer&)>& options, int count)
{
    Sidecar<T> feed{options(idle), silent_options({.close = 100ms})};
    if (auto started = feed.start(10s); !started) {
        fmt::print("{}\n", started.error());
        return 1;
    }
    std::optional<Footprint> before;
    for (int i = 0; i < count; ++i) {
        if (auto done = one_link<T>(feed, options(peer)); !done) {
            fmt::print("link {}: {}\n", i, done.error());
            return 1;
        }
        if (i + 1 == warm_up && peer.wait_for_ended(warm_up))
            (before = Footprint::now())->print("after the first");
    }
    if (!peer.wait_for_ended(static_cast<std::size_t>(count)))
        fmt::print("the peer still holds connections\n");
    const auto after = Footprint::now();
    after.print("at the end");
    const auto stats = feed.stats();
    const auto expected = static_cast<std::uint64_t>(count);
    if (stats.messages_sent != expected || stats.messages_received != expected) {
        fmt::print("the counters of ended links are lost: {}\n", stats);
        return 1;
    }
    return before && after.has_grown_since(*before) ? 1 : 0;
}

} // namespace

int main(int argc, char** argv)
{
    if (argc < 3)
        return 64;
    const bool is_websocket = std::string_view{argv[1]} == "websocket";
    const int count = std::atoi(argv[2]);
    RawPeer idle{[&](RawConnection& c) {
        if (is_websocket)
            c.accept_websocket();
        c.wait_for_end();
    }};
    RawPeer peer{[&](RawConnection& c) {
        if (is_websocket) {
            c.accept_websocket();
            c.read(6 + 1);
            c.send(frame(0x81, "y") + frame(0x88, "\x03\xe8"));
            c.read(6 + 2); // the answer to the goodbye
        } else {
            c.send(c.read(4 + 1));
        }
    }};
    if (is_websocket)
        return run<WebSocket>(
            idle, peer, [](const RawPeer& p) { return WebSocket::Options{.url = p.url()}; }, count);
    return run<Tcp<LengthPrefix>>(
        idle, peer,
        [](const RawPeer& p) {
            return Tcp<LengthPrefix>::Options{.host = "127.0.0.1", .port = p.port()};
        },
        count);
}
