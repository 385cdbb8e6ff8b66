// The stop matrix on real sockets: what the link is doing, times how the peer behaves.
#include "raw_peer.hpp"
#include "support/sanitized.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <atomic>
#include <fcntl.h>
#include <functional>
#include <latch>
#include <poll.h>
#include <sys/socket.h>
#include <thread>

using namespace sidecar;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

enum class Load { idle, flooded, send_blocked };
/// What the peer does once the stop begins. A half-open one has ended its own direction, and heeds
/// nothing any more.
enum class Manner { polite, mute, trickle, reset, half_open };

constexpr const char* names_of_load[] = {"idle", "flooded", "send blocked"};
constexpr const char* names_of_manner[] = {"polite", "mute", "trickle", "reset", "half-open"};

constexpr StopBudget budget{.total = 600ms, .drain = 200ms, .close = 200ms, .cancel = 100ms};

/// Finds the close frame in a client's stream.
class CloseFinder {
public:
    bool feed(std::string_view bytes)
    {
        buffer_ += bytes;
        for (;;) {
            if (buffer_.size() < 2)
                return false;
            const auto length = static_cast<unsigned char>(buffer_[1]) & 0x7fu;
            const std::size_t head = length == 126 ? 8 : length == 127 ? 14 : 6;
            if (buffer_.size() < head)
                return false;
            std::uint64_t size = length;
            if (length >= 126) {
                size = 0;
                for (std::size_t i = 2; i < head - 4; ++i)
                    size = size << 8 | static_cast<unsigned char>(buffer_[i]);
            }
            if (static_cast<unsigned char>(buffer_[0]) == 0x88)
                return true;
            if (buffer_.size() < head + size)
                return false;
            buffer_.erase(0, head + size);
        }
    }

private:
    std::string buffer_;
};

struct Peer {
    Load load;
    Manner manner;
    bool is_websocket;
    std::atomic<bool> is_stopping{false};

    void operator()(RawConnection& c)
    {
        if (is_websocket)
            c.accept_websocket();
        const auto message = is_websocket ? frame(0x82, std::string(64, 'x'))
                                          : std::string("\0\0\0\x40", 4) + std::string(64, 'x');
        std::string flood;
        for (int i = 0; i < 100; ++i)
            flood += message;
        ::fcntl(c.fd(), F_SETFL, O_NONBLOCK);
        std::string pending;
        CloseFinder finder;
        bool is_closed = false;
        for (;;) {
            if (manner == Manner::reset && is_stopping)
                return c.reset();
            if (manner == Manner::half_open && is_stopping) {
                c.half_close();
                while (true) { // until the test is over; reading would be to heed
                    pollfd entry{.fd = c.fd(), .events = 0, .revents = 0};
                    if (::poll(&entry, 1, 1000) == 1 && (entry.revents & (POLLERR | POLLHUP)) != 0)
                        return;
                }
            }
            const bool reads =
                manner == Manner::polite && (load != Load::send_blocked || is_stopping);
            const bool floods = load == Load::flooded && !is_closed;
            if (floods && pending.empty())
                pending = flood;
            if (manner == Manner::trickle && is_stopping)
                return trickle(c, pending, message);
            pollfd entry{.fd = c.fd(),
                         .events = static_cast<short>((reads ? POLLIN : 0)
                                                      | (pending.empty() ? 0 : POLLOUT)),
                         .revents = 0};
            ::poll(&entry, 1, 1);
            if (!reads && (entry.revents & (POLLERR | POLLHUP)) != 0)
                return;
            if (entry.revents & POLLOUT) {
                const auto n = ::send(c.fd(), pending.data(), pending.size(), MSG_NOSIGNAL);
                if (n < 0 && errno != EAGAIN)
                    return;
                pending.erase(0, static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
            }
            if (is_closed && pending.empty())
                return;
            if (!reads || !(entry.revents & (POLLIN | POLLERR | POLLHUP)))
                continue;
            char bytes[65536];
            const auto n = ::recv(c.fd(), bytes, sizeof bytes, 0);
            if (n < 0 && errno != EAGAIN)
                return;
            if (n == 0) {
                if (is_websocket)
                    return;
                is_closed = true;
            }
            if (n > 0 && is_websocket && finder.feed({bytes, static_cast<std::size_t>(n)})) {
                is_closed = true;
                pending += frame(0x88, "\x03\xe8");
            }
        }
    }

    /// Takes a byte and gives a byte now and then, and never answers.
    static void trickle(RawConnection& c, std::string pending, const std::string& message)
    {
        for (;; pending.erase(0, 1)) {
            if (pending.empty())
                pending = message;
            char byte = 0;
            (void)::recv(c.fd(), &byte, 1, 0);
            // Over a full socket it waits: a byte left out would break the framing, and that is
            // another story.
            while (::send(c.fd(), pending.data(), 1, MSG_NOSIGNAL) < 0) {
                if (errno != EAGAIN)
                    return;
                ::poll(nullptr, 0, 1);
            }
            ::poll(nullptr, 0, 1);
        }
    }
};

using Milliseconds = std::chrono::duration<double, std::milli>;

void print_cell(const char* transport, const char* phase, const char* manner, Clock::duration took)
{
    fmt::print("  {:<10} {:<13} {:<9} {:7.2f} ms\n", transport, phase, manner,
               Milliseconds(took).count());
}

template <class T, class MakeOptions>
void check_cell(const char* name, bool is_websocket, Load load, Manner manner,
                MakeOptions make_options)
{
    CAPTURE(name);
    const std::string load_name = names_of_load[static_cast<int>(load)];
    const std::string manner_name = names_of_manner[static_cast<int>(manner)];
    CAPTURE(load_name);
    CAPTURE(manner_name);
    Peer behaviour{load, manner, is_websocket};
    RawPeer peer{[&](RawConnection& c) { behaviour(c); }};
    Sidecar<T> feed{make_options(peer.port()),
                    {.stop = budget, .log = [](LogLevel, std::string_view) {}}};
    REQUIRE(feed.start(10s));
    if (load == Load::flooded)
        REQUIRE(feed.receive(10s));
    if (load == Load::send_blocked) {
        // Full outbox, full sockets: a send that waits a while in vain shows it.
        const std::string block(60'000, 'b');
        while (feed.send(std::as_bytes(std::span{block}), 100ms)) {
        }
    }
    behaviour.is_stopping = true;
    const auto began = Clock::now();
    const auto report = feed.stop();
    const auto took = Clock::now() - began;
    print_cell(name, load_name.c_str(), manner_name.c_str(), took);
    CAPTURE(to_string(report));

    CHECK(took <= budget.total + promptly);
    CHECK(report.joined);
    CHECK(report.stuck.empty());
    CHECK(report.quiesce.verdict == Verdict::ok);
    switch (manner) {
    case Manner::polite:
        CHECK(report.clean());
        CHECK(report.close.verdict == Verdict::ok);
        CHECK(report.unsent_messages == 0);
        CHECK(report.drain.verdict
              == (load == Load::send_blocked ? Verdict::ok : Verdict::skipped));
        if (load != Load::send_blocked)
            CHECK(took < promptly);
        break;
    case Manner::mute:
    case Manner::trickle:
        CHECK(report.close.verdict == Verdict::timed_out);
        CHECK_FALSE(report.cancelled.empty());
        if (load == Load::send_blocked) {
            CHECK(report.drain.verdict == Verdict::timed_out);
            CHECK(report.unsent_messages > 0);
        }
        break;
    case Manner::reset:
    case Manner::half_open:
        CHECK(took < promptly);
        if (load == Load::send_blocked)
            CHECK(report.unsent_messages > 0);
        break;
    }
}

} // namespace

TEST_CASE("stop matrix: always within the total, on TCP and WebSocket")
{
    for (const auto load : {Load::idle, Load::flooded, Load::send_blocked}) {
        for (const auto manner :
             {Manner::polite, Manner::mute, Manner::trickle, Manner::reset, Manner::half_open}) {
            check_cell<Tcp<LengthPrefix>>("tcp", false, load, manner, [](std::uint16_t port) {
                return Tcp<LengthPrefix>::Options{.host = "127.0.0.1", .port = port};
            });
            check_cell<WebSocket>("websocket", true, load, manner, [](std::uint16_t port) {
                return WebSocket::Options{.url = "ws://127.0.0.1:" + std::to_string(port)};
            });
        }
    }
}

namespace {

const Options patient{.stop = budget, .log = [](LogLevel, std::string_view) {}};

/// Stops a sidecar while its start() is at `phase`. Nothing needs waiting for then, whoever the
/// peer is.
template <class T>
void check_stop_of_start(
    Sidecar<T>& feed, const char* phase, const char* manner,
    const std::function<void()>& at_stop = [] {})
{
    CAPTURE(phase);
    CAPTURE(manner);
    Clock::time_point requested;
    std::thread stopper{[&] {
        while (feed.dump().find(phase) == std::string::npos)
            std::this_thread::yield();
        at_stop();
        requested = Clock::now();
        feed.request_stop();
    }};
    const auto started = feed.start(30s);
    const auto returned = Clock::now();
    stopper.join();
    const auto report = feed.stop();
    print_cell("websocket", phase, manner, returned - requested);
    CAPTURE(to_string(report));
    CHECK(returned - requested < promptly);
    CHECK(report.total < promptly);
    CHECK(report.joined);
    CHECK(report.stuck.empty());
    if (started) {
        CHECK(report.clean()); // the handshake's answer came in the same moment
        return;
    }
    CHECK((started.error() == Error::stopping || started.error() == Error::connect_failed));
    CHECK(report.drain.verdict == Verdict::skipped);
    CHECK(report.close.verdict == Verdict::skipped);
    if (started.error() == Error::stopping)
        CHECK((report.cancelled.empty() || report.cancelled.at(0).waiting_for == phase));
}

} // namespace

TEST_CASE("stop matrix: while a name is resolved, by a resolver that answers late or never")
{
    for (const bool answers_late : {false, true}) {
        auto release = std::make_shared<std::latch>(1);
        auto options = patient;
        options.lookup = [release](const std::string&) {
            release->wait();
            return std::vector<boost::asio::ip::address>{};
        };
        {
            Sidecar<WebSocket> feed{{.url = "ws://slow.example/"}, options};
            check_stop_of_start(feed, "resolving the name", answers_late ? "late" : "mute", [&] {
                if (answers_late)
                    release->count_down();
            });
        }
        if (!answers_late)
            release->count_down(); // the helper ends after the sidecar has gone
    }
}

TEST_CASE("stop matrix: while TCP connects to a host that takes nothing in")
{
    FullBacklog silent;
    Sidecar<WebSocket> feed{{.url = "ws://127.0.0.1:" + std::to_string(silent.port())}, patient};
    check_stop_of_start(feed, "connecting", "mute");
}

TEST_CASE("stop matrix: in the handshake, with every peer")
{
    for (const auto manner :
         {Manner::polite, Manner::mute, Manner::trickle, Manner::reset, Manner::half_open}) {
        std::atomic<bool> is_stopping{false};
        RawPeer peer{[&](RawConnection& c) {
            c.read_until("\r\n\r\n");
            while (manner == Manner::trickle) {
                c.send("H");
                ::poll(nullptr, 0, 1);
            }
            while (manner != Manner::mute && !is_stopping)
                std::this_thread::yield();
            if (manner == Manner::reset)
                return c.reset();
            if (manner == Manner::half_open)
                c.half_close();
            if (manner == Manner::polite)
                c.send("HTTP/1.1 101 Switching Protocols\r\n");
            c.wait_for_end();
        }};
        Sidecar<WebSocket> feed{{.url = peer.url()}, patient};
        check_stop_of_start(feed, "in the handshake", names_of_manner[static_cast<int>(manner)],
                            [&] { is_stopping = true; });
    }
}

TEST_CASE("stop matrix: while a stop is under way already, further ones wait for the same report "
          "within the same total")
{
    RawPeer peer{[](RawConnection& c) {
        c.accept_websocket();
        c.wait_for_end(); // never answers the close
    }};
    Sidecar<WebSocket> feed{{.url = peer.url()}, patient};
    REQUIRE(feed.start(10s));
    const auto requested = Clock::now();
    feed.request_stop();
    while (feed.dump().find("): closing") == std::string::npos)
        std::this_thread::yield();
    std::vector<StopReport> reports(3);
    std::vector<std::thread> threads;
    for (auto& report : reports)
        threads.emplace_back([&] { report = feed.stop(); });
    const auto report = feed.stop();
    const auto took = Clock::now() - requested;
    for (auto& thread : threads)
        thread.join();
    print_cell("websocket", "closing", "mute", took);
    CHECK(took <= budget.total + promptly);
    CHECK(report.close.verdict == Verdict::timed_out);
    CHECK(report.joined);
    for (const auto& other : reports)
        CHECK(other.total == report.total);
}

TEST_CASE("stop matrix: while the peer itself is closing")
{
    for (const auto manner : {Manner::polite, Manner::mute, Manner::reset}) {
        std::latch closing{1};
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            c.send(frame(0x88, "\x03\xe9"));
            closing.count_down();
            if (manner == Manner::reset)
                c.reset();
            else if (manner == Manner::mute)
                c.wait_for_end();
            else
                c.read(6 + 2);
        }};
        Sidecar<WebSocket> feed{{.url = peer.url()}, patient};
        REQUIRE(feed.start(10s));
        closing.wait();
        const auto report = feed.stop();
        const std::string manner_name = names_of_manner[static_cast<int>(manner)];
        CAPTURE(manner_name);
        CAPTURE(to_string(report));
        print_cell("websocket", "peer closing", manner_name.c_str(), report.total);
        CHECK(report.total < promptly);
        CHECK(report.joined);
        CHECK(report.cancelled.empty());
    }
}

TEST_CASE("stop: what was sent goes out in order, and nothing after the close frame")
{
    constexpr int count = 2000;
    std::string received;
    Result<void> sent;
    {
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            for (;;)
                received += c.read(1);
        }};
        Sidecar<WebSocket> feed{{.url = peer.url()}, patient};
        REQUIRE(feed.start(10s));
        for (int i = 0; i < count && sent; ++i)
            sent = feed.send(std::as_bytes(std::span{&i, 1}));
        const auto report = feed.stop();
        CHECK(report.unsent_messages == 0);
        CHECK(report.drain.verdict != Verdict::timed_out);
    }
    REQUIRE(sent);
    constexpr std::size_t frame_bytes = 2 + 4 + sizeof(int);
    REQUIRE(received.size() == count * frame_bytes + 2 + 4 + 2);
    bool in_order = true;
    for (int i = 0; i < count; ++i) {
        const auto* at = received.data() + static_cast<std::size_t>(i) * frame_bytes;
        int number = 0;
        for (std::size_t byte = 0; byte < sizeof number; ++byte)
            reinterpret_cast<char*>(&number)[byte] = static_cast<char>(at[6 + byte] ^ at[2 + byte]);
        in_order &= at[0] == static_cast<char>(0x82) && number == i;
    }
    CHECK(in_order);
    CHECK(received[count * frame_bytes] == static_cast<char>(0x88));
}

TEST_CASE("stop: literals need no resolver, and no more than a bounded number of names are looked "
          "up at once")
{
    std::latch release{1};
    std::atomic<int> outstanding{0};
    auto options = patient;
    options.lookup = [&](const std::string&) {
        ++outstanding;
        release.wait();
        --outstanding;
        return std::vector<boost::asio::ip::address>{};
    };
    bool is_busy = false;
    int attempts = 0;
    for (; attempts < 200 && !is_busy; ++attempts) {
        Sidecar<WebSocket> feed{{.url = "ws://never.example/"}, options};
        is_busy = feed.start(1ms).error() == Error::lookup_busy;
    }
    CHECK(is_busy);
    CHECK(attempts == 33);
    RawPeer peer{[](RawConnection& c) {
        c.accept_websocket();
        c.wait_for_end();
    }};
    Sidecar<WebSocket> feed{{.url = peer.url()}, options};
    CHECK(feed.start(10s));
    release.count_down();
    for (const auto give_up = Clock::now() + 10s; outstanding != 0 && Clock::now() < give_up;)
        std::this_thread::yield();
    CHECK(outstanding == 0);
}
