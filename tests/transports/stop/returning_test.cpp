// The stop matrix on real sockets, for a link that comes back: it backs off, it tries again, it restores;
// times how the peer behaves.
#include "matrix.hpp"
#include "support/raw_peer.hpp"
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <poll.h>
#include <string>
#include <thread>

namespace returning_test {

using namespace sidecar;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

enum class Doing { backing_off, trying, restoring };

constexpr const char* names_of_doing[] = {"backing off", "trying", "restoring"};

/// Throws its first client out; what it does with the second is the cell's.
struct Peer {
    Doing doing;
    Manner manner;
    bool is_websocket;
    std::atomic<int> accepted{0};
    std::atomic<bool> is_up{false};
    std::atomic<bool> is_stopping{false};

    void operator()(RawConnection& c)
    {
        const bool is_first = ++accepted == 1;
        if (is_websocket && (is_first || doing == Doing::restoring))
            (void)c.accept_websocket();
        if (is_first) { // not before its client knows that it is connected
            while (!is_up)
                ::poll(nullptr, 0, 1);
            return c.reset();
        }
        while (!is_stopping)
            ::poll(nullptr, 0, 1);
        switch (manner) {
        case Manner::polite:
            if (is_websocket && doing == Doing::restoring) {
                (void)c.read(2 + 4 + 2); // the close frame
                c.send(frame(0x88, "\x03\xe8"));
            }
            return c.wait_for_end();
        case Manner::reset: return c.reset();
        case Manner::half_open: c.half_close(); break;
        case Manner::trickle:
            if (is_websocket)
                c.trickle("HTTP/1.1 101 Swi");
            break;
        case Manner::mute: break;
        }
        for (;;) { // until the client is gone
            pollfd entry{.fd = c.fd(), .events = 0, .revents = 0};
            if (::poll(&entry, 1, 1000) == 1 && (entry.revents & (POLLERR | POLLHUP)) != 0)
                return;
        }
    }
};

template <class T, class MakeOptions>
void check_cell(const char* name, bool is_websocket, Doing doing, Manner manner,
                MakeOptions make_options)
{
    CAPTURE(name);
    const std::string doing_name = names_of_doing[static_cast<int>(doing)];
    const std::string manner_name = names_of_manner[static_cast<int>(manner)];
    CAPTURE(doing_name);
    CAPTURE(manner_name);
    Peer behaviour{doing, manner, is_websocket};
    RawPeer peer{[&](RawConnection& c) { behaviour(c); }};
    const auto wait = doing == Doing::backing_off ? Duration{1h} : Duration{1ms};
    std::atomic<std::uint32_t> restoring{0};
    auto options = silent_options(budget);
    options.reconnect =
        Reconnect{.window = wait, .max_window = wait, .random = [] { return UINT64_MAX; }};
    options.on_connected = [&](Context ctx, Session& session) -> Task<> {
        restoring = session.connection();
        if (session.connection() == 1)
            co_return;
        ctx.waiting_for("what never comes");
        (void)co_await session.receive();
    };
    Sidecar<T> feed{make_options(peer.port()), std::move(options)};
    // Also where the start fails: the peer is waited for
    struct LetPeerGo {
        Peer& peer;
        ~LetPeerGo() { peer.is_up = peer.is_stopping = true; }
    } let_peer_go{behaviour};
    REQUIRE(feed.start(10s));
    behaviour.is_up = true;
    for (auto event = feed.next_event(10s); event && event->kind != Event::Kind::down;
         event = feed.next_event(10s)) {
    }
    const auto is_there = [&] {
        switch (doing) {
        case Doing::backing_off: return feed.dump().find("backing off") != std::string::npos;
        case Doing::trying: return behaviour.accepted == 2;
        case Doing::restoring: return restoring == 2;
        }
        return false;
    };
    for (const auto until = Clock::now() + 10s; !is_there();) {
        REQUIRE(Clock::now() < until);
        std::this_thread::sleep_for(1ms);
    }
    behaviour.is_stopping = true;
    const auto began = Clock::now();
    const auto report = feed.stop();
    const auto took = Clock::now() - began;
    print_cell(name, doing_name.c_str(), manner_name.c_str(), took);
    CAPTURE(to_string(report));

    CHECK(took <= budget.total + promptly);
    CHECK(report.joined);
    CHECK(report.stuck.empty());
    CHECK(report.quiesce.verdict == Verdict::ok);
    CHECK(report.drain.verdict == Verdict::skipped);
    // TCP has nothing to shake hands about, so there it may be connected by then
    const bool may_be_open = doing == Doing::restoring || (doing == Doing::trying && !is_websocket);
    if (!may_be_open)
        CHECK(took < promptly);
    if (doing == Doing::restoring && manner == Manner::polite)
        CHECK(report.close.verdict == Verdict::ok);
    const auto accepted = behaviour.accepted.load();
    for (auto event = feed.next_event(0s); event && event->kind != Event::Kind::stopped;
         event = feed.next_event(0s))
        CHECK(event->kind != Event::Kind::up);
    CHECK(behaviour.accepted == accepted);
    CHECK(accepted == (doing == Doing::backing_off ? 1 : 2));
}

TEST_CASE("stop matrix: a link that comes back, on TCP and WebSocket")
{
    for (const auto doing : {Doing::backing_off, Doing::trying, Doing::restoring}) {
        for (const auto manner :
             {Manner::polite, Manner::mute, Manner::trickle, Manner::reset, Manner::half_open}) {
            check_cell<Tcp<LengthPrefix>>("tcp", false, doing, manner, [](std::uint16_t port) {
                return Tcp<LengthPrefix>::Options{.host = "127.0.0.1", .port = port};
            });
            check_cell<WebSocket>("websocket", true, doing, manner, [](std::uint16_t port) {
                return WebSocket::Options{.url = "ws://127.0.0.1:" + std::to_string(port)};
            });
        }
    }
}

} // namespace returning_test
