// The stop matrix on real sockets: what the link is doing, times how the peer behaves.
#include "matrix.hpp"
#include "support/raw_peer.hpp"
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

namespace matrix_test {

using namespace sidecar;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

enum class Load { idle, flooded, send_blocked };

constexpr const char* names_of_load[] = {"idle", "flooded", "send blocked"};

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
    Sidecar<T> feed{make_options(peer.port()), silent_options(budget)};
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

} // namespace matrix_test
