// Stops before a link is up, and while it is going down already.
#include "matrix.hpp"
#include "support/raw_peer.hpp"
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <latch>
#include <poll.h>
#include <thread>

namespace early_late_test {

using namespace sidecar;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

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
    INFO(started.error().message()); // the look-up's or the peer's end may come in the same moment
    CHECK((started.error() == Error::stopping || started.error() == Error::connect_failed
           || started.error() == Error::lookup_failed));
    CHECK(report.drain.verdict == Verdict::skipped);
    CHECK(report.close.verdict == Verdict::skipped);
    if (started.error() == Error::stopping)
        CHECK((report.cancelled.empty() || report.cancelled.at(0).waiting_for == phase));
}

TEST_CASE("stop matrix: while a name is resolved, by a resolver that answers late or never")
{
    for (const bool answers_late : {false, true}) {
        auto release = std::make_shared<std::latch>(1);
        auto options = silent_options(budget);
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
    Sidecar<WebSocket> feed{{.url = "ws://127.0.0.1:" + std::to_string(silent.port())},
                            silent_options(budget)};
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
        Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options(budget)};
        check_stop_of_start(feed, "in the handshake", names_of_manner[static_cast<int>(manner)],
                            [&] { is_stopping = true; });
    }
}

TEST_CASE("stop: literals need no resolver, and no more than a bounded number of names are looked "
          "up at once")
{
    std::latch release{1};
    std::atomic<int> outstanding{0};
    auto options = silent_options(budget);
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

TEST_CASE("stop matrix: while a stop is under way already, further ones wait for the same report "
          "within the same total")
{
    RawPeer peer{[](RawConnection& c) {
        c.accept_websocket();
        c.wait_for_end(); // never answers the close
    }};
    Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options(budget)};
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
        Sidecar<WebSocket> feed{{.url = peer.url()}, silent_options(budget)};
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

} // namespace early_late_test
