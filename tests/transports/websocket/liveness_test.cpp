// Peers that are there, slow, mute or gone, on real sockets.
#include "client_frames.hpp"
#include "support/raw_peer.hpp"
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace liveness_test {

using namespace sidecar;
using namespace std::chrono_literals;

using Client = Sidecar<WebSocket>;
using Clock = std::chrono::steady_clock;

Options with(Options options)
{
    options.log = silent_options().log;
    return options;
}

void answer_pings(RawConnection& c)
{
    for (;;) {
        const auto next = read_client_frame(c);
        if (next.first_byte == 0x89)
            c.send(frame(0x8a, next.payload));
        else if (next.is_close())
            c.send(frame(0x88, "\x03\xe8"));
    }
}

/// Runs `body` in a process of its own, which must not have a thread yet; gives its pid.
pid_t in_child(const std::function<int()>& body)
{
    const auto pid = ::fork();
    if (pid != 0)
        return pid;
    ::alarm(60); // also where nobody waits for it any more
    int code = 99;
    try {
        code = body();
    } catch (...) {
    }
    ::_exit(code);
}

int exit_code(pid_t pid)
{
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

constexpr int skipped = 77;

/// How long the process is stopped: 3 s, or what the environment says (SIDECAR_STOPPED_SECONDS=60).
std::chrono::seconds stopped_time()
{
    const char* const seconds = std::getenv("SIDECAR_STOPPED_SECONDS");
    return std::chrono::seconds{seconds ? std::atoi(seconds) : 3};
}

TEST_CASE("liveness: a peer that reads and never says anything is down within both times")
{
    std::atomic<int> pings = 0;
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        for (;;) {
            const auto next = read_client_frame(c);
            pings += next.first_byte == 0x89 && next.payload.size() == 8;
        }
    }};
    Client feed{{.url = peer.url()}, with({.ping_interval = 200ms, .ping_timeout = 300ms})};
    REQUIRE(feed.start(10s));
    const auto began = Clock::now();
    const auto end = feed.receive(20s);
    CHECK(end.error() == Error::unresponsive);
    CHECK(Clock::now() - began >= 490ms); // of a start that was a moment ago
    CHECK(pings == 1);
    CHECK(feed.stop().clean());
}

TEST_CASE("liveness: pongs keep a link, and their round trips are measured")
{
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        answer_pings(c);
    }};
    Client feed{{.url = peer.url()}, with({.ping_interval = 20ms, .ping_timeout = 10s})};
    REQUIRE(feed.start(10s));
    for (int i = 0; i < 100 && feed.stats().round_trips.count < 3; ++i)
        CHECK(feed.receive(100ms).error() == Error::timed_out);
    const auto stats = feed.stats();
    CHECK(stats.round_trips.count >= 3);
    CHECK(stats.round_trips.min > 0s);
    CHECK(stats.round_trips.p99 < 10s);
    CHECK(stats.round_trips.histogram.total() == stats.round_trips.count);
    CHECK(*stats.data_age > 60ms);
    CHECK(feed.stop().clean());
}

TEST_CASE("liveness: a pong that nobody asked for is life, and no round trip")
{
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        for (;;) {
            c.send(frame(0x8a, "12345678"));
            c.send(frame(0x8a, ""));
            std::this_thread::sleep_for(50ms); // the peer's own period
        }
    }};
    Client feed{{.url = peer.url()}, with({.ping_interval = 2s, .ping_timeout = 2s})};
    REQUIRE(feed.start(10s));
    CHECK(feed.receive(300ms).error() == Error::timed_out);
    CHECK(feed.stats().round_trips.count == 0);
    CHECK(feed.state() == State::connected);
}

TEST_CASE("liveness: a large message over a slow line is life, piece by piece")
{
    const std::string large(600'000, 'x');
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        const auto bytes = frame(0x82, large);
        for (std::size_t at = 0; at < bytes.size(); at += 20'000) {
            c.send(std::string_view{bytes}.substr(at, 20'000));
            std::this_thread::sleep_for(100ms); // the line's speed
        }
        c.wait_for_end();
    }};
    // It takes three seconds, longer than both times
    Client feed{{.url = peer.url()}, with({.ping_interval = 1s, .ping_timeout = 1s})};
    REQUIRE(feed.start(10s));
    const auto message = feed.receive(20s);
    REQUIRE(message.has_value());
    CHECK((message->text() == large));
    CHECK(feed.stats().unresponsive == 0);
}

TEST_CASE("liveness: while the application does not receive, a mute peer is not judged")
{
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        for (int i = 0; i < 40; ++i)
            c.send(frame(0x82, std::string(8000, 'x')));
        c.wait_for_end();
    }};
    auto options = with({.ping_interval = 100ms, .ping_timeout = 100ms});
    options.inbox = {.bytes = 64u << 10, .messages = 8};
    Client feed{{.url = peer.url(), .max_message_bytes = 10'000}, options};
    REQUIRE(feed.start(10s));
    std::this_thread::sleep_for(1s); // the application computes
    CHECK(feed.state() == State::connected);
    for (int i = 0; i < 40; ++i)
        REQUIRE(feed.receive(10s));
    CHECK(feed.receive(20s).error() == Error::unresponsive);
}

TEST_CASE("liveness: a process that was stopped judges after it has read what waits for it")
{
    if (is_thread_sanitized)
        return; // which has a thread of its own, so forking is not for it
    Options options{.ping_interval = 500ms, .ping_timeout = 700ms};
    SUBCASE("the interval is shorter") {}
    SUBCASE("the timeout is shorter") { options.ping_timeout = 300ms; }
    int url_pipe[2];
    REQUIRE(::pipe(url_pipe) == 0);
    const auto child = in_child([&] {
        char url[256]{};
        if (::read(url_pipe[0], url, sizeof url - 1) <= 0)
            return 1;
        ::alarm(static_cast<unsigned>(stopped_time().count()) + 60);
        Client feed{{.url = url}, with(options)};
        if (!feed.start(20s))
            return 2;
        const auto message = feed.receive(stopped_time() + 40s); // which passes meanwhile
        if (!message)
            return message.error() == Error::unresponsive ? 3 : 4;
        return feed.stats().unresponsive == 0 && feed.stop().clean() ? 0 : 5;
    });
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        const auto ping = read_client_frame(c);
        ::kill(child, SIGSTOP);
        ::waitpid(child, nullptr, WUNTRACED);
        c.send(frame(0x8a, ping.payload));
        std::this_thread::sleep_for(stopped_time()); // much longer than the timeout
        ::kill(child, SIGCONT);
        for (int i = 0; i < 2; ++i) {
            auto next = read_client_frame(c);
            c.send(frame(0x8a, next.payload));
        }
        c.send(frame(0x81, "end"));
        answer_pings(c);
    }};
    const auto url = peer.url();
    REQUIRE(::write(url_pipe[1], url.data(), url.size()) == static_cast<ssize_t>(url.size()));
    CHECK(exit_code(child) == 0);
    ::close(url_pipe[0]);
    ::close(url_pipe[1]);
}

TEST_CASE("liveness: a network that drops everything is found out within both times")
{
    if (is_thread_sanitized)
        return;
    const auto switch_loopback = [](bool is_up) {
        const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        ifreq request{};
        std::string{"lo"}.copy(request.ifr_name, IFNAMSIZ - 1);
        bool is_done = ::ioctl(fd, SIOCGIFFLAGS, &request) == 0;
        request.ifr_flags =
            static_cast<short>(is_up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
        is_done = is_done && ::ioctl(fd, SIOCSIFFLAGS, &request) == 0;
        ::close(fd);
        return is_done;
    };
    const auto child = in_child([&] {
        // A network of its own, which nobody else notices
        if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 || !switch_loopback(true))
            return skipped;
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            answer_pings(c);
        }};
        Client feed{{.url = peer.url()}, with({.ping_interval = 300ms, .ping_timeout = 500ms})};
        if (!feed.start(10s))
            return 1;
        if (!(feed.receive(1s).error() == Error::timed_out)) // it lives, and answers
            return 2;
        const auto before = feed.stats().round_trips.count;
        if (before == 0)
            return 3;
        if (!switch_loopback(false))
            return skipped;
        const auto began = Clock::now();
        const auto end = feed.receive(20s);
        if (!(end.error() == Error::unresponsive))
            return 4;
        if (Clock::now() - began > 3s) // 800 ms, and a busy machine
            return 5;
        ::_exit(0); // the peer's own end cannot be heard any more
    });
    const auto code = exit_code(child);
    if (code == skipped)
        MESSAGE("no network namespace to be had: skipped");
    else
        CHECK(code == 0);
}

} // namespace liveness_test
