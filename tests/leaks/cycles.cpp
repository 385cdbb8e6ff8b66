// cycles TRANSPORT COUNT [failed]: starts and stops COUNT times (or fails to start), prints threads,
// descriptors and resident memory after the first 100 cycles and at the end, how long a cycle took, and
// fails if they have grown.
#include "support/footprint.hpp"
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string_view>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

template <class T>
bool cycle(Sidecar<T>& feed, bool must_fail)
{
    if (must_fail)
        return !feed.start(5ms) && feed.stop().joined;
    Result<void> result = feed.start(10s);
    if (result)
        result = feed.send("x");
    if (auto message = result ? feed.receive(10s) : Result<Message>{result.error()}; !message)
        result = message.error();
    const auto report = feed.stop();
    if (!result)
        fmt::print("{}\n", result.error());
    if (!report.clean())
        fmt::print("{}\n", report);
    return result && report.clean();
}

/// `before_cycle(i)`: to be done before the i-th cycle. `after_cycles(n)`: waits until the peer,
/// which runs in this process too, has let go of what n cycles left it with; false if it does not.
template <class T>
int run(
    typename T::Options options, int count, bool must_fail, const Options& settings,
    const std::function<bool(std::size_t)>& after_cycles,
    const std::function<void()>& before_cycle = [] {})
{
    Sidecar<T> feed{std::move(options), settings};
    std::optional<Footprint> before;
    const auto measure = [&](int cycles) {
        if (!after_cycles(static_cast<std::size_t>(cycles)))
            fmt::print("the peer still holds connections\n");
        return Footprint::now();
    };
    const auto began = std::chrono::steady_clock::now();
    for (int i = 0; i < count; ++i) {
        if (i == 100)
            before = measure(i);
        before_cycle();
        if (!cycle(feed, must_fail)) {
            fmt::print("cycle {} failed\n", i);
            return 1;
        }
    }
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - began;
    fmt::print("{:.1f} us a cycle\n", took.count() / count);
    const auto after = measure(count);
    if (!before)
        before = after;
    before->print("after 100");
    after.print("at the end");
    return after.has_grown_since(*before) ? 1 : 0;
}

} // namespace

int main(int argc, char** argv)
{
    if (argc < 3)
        return 64;
    const std::string_view transport = argv[1];
    const int count = std::atoi(argv[2]);
    const bool must_fail = argc > 3 && argv[3] == std::string_view{"failed"};
    const auto settings = silent_options();
    if (transport == "mock") {
        MockPeer peer;
        if (must_fail)
            peer.refuse_connect(boost::asio::error::connection_refused);
        return run<Mock>(
            {.peer = peer}, count, must_fail, settings, [](std::size_t) { return true; },
            [&] {
                peer.forget();
                if (!must_fail) // who is refused takes nothing in
                    peer.deliver("x");
            });
    }
    const bool is_websocket = transport == "websocket";
    RawPeer peer{[&](RawConnection& c) {
        if (must_fail) { // mute: for WebSocket a handshake that is not answered
            c.wait_for_end();
            return;
        }
        if (is_websocket) {
            c.accept_websocket();
            c.send(frame(0x81, "x"));
            c.read(6 + 1); // the message
            c.read(6 + 2); // the close frame
            c.send(frame(0x88, "\x03\xe8"));
        } else {
            c.send(c.read(4 + 1));
        }
        c.wait_for_end();
    }};
    const auto peer_is_idle = [&](std::size_t cycles) { return peer.wait_for_ended(cycles); };
    if (is_websocket)
        return run<WebSocket>({.url = peer.url()}, count, must_fail, settings, peer_is_idle);
    if (!must_fail)
        return run<Tcp<LengthPrefix>>({.host = "127.0.0.1", .port = peer.port()}, count, must_fail,
                                      settings, peer_is_idle);
    std::uint16_t port = 0;
    {
        RawPeer gone{[](RawConnection&) {}}; // refused: nobody listens there any more
        port = gone.port();
    }
    return run<Tcp<LengthPrefix>>({.host = "127.0.0.1", .port = port}, count, must_fail, settings,
                                  [](std::size_t) { return true; });
}
