// The process around the connections: signals, and descriptors that run out.
#include "support/descriptors.hpp"
#include "support/raw_peer.hpp"
#include "support/shortage.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <doctest/doctest.h>

#include <csignal>
#include <latch>
#include <mutex>
#include <pthread.h>
#include <unistd.h>

namespace process_test {

using namespace sidecar;
using namespace std::chrono_literals;
using Feeds = Sidecar<Tcp<Lines>>;

/// A peer that has no descriptor either cannot say goodbye. The thread has its time all the same:
/// one that was left alone would give back descriptors while the next test counts them.
constexpr StopBudget brief{.total = 10s, .drain = 20ms, .close = 20ms, .cancel = 20ms};

void echo_lines(RawConnection& c)
{
    for (;;)
        c.send(c.read_until("\n"));
}

TEST_CASE("descriptors: without one open() says so, the other links never notice, and it works "
          "again afterwards"
          * doctest::skip(needs_descriptors))
{
    RawPeer peer{echo_lines}, other{echo_lines}, third{echo_lines};
    Feeds feed{{.host = "127.0.0.1", .port = peer.port()}, silent_options()};
    REQUIRE(feed.start(10s));
    REQUIRE(feed.send("hello")); // so the peer has accepted, and needs no descriptor any more
    REQUIRE(feed.receive(10s).value().text() == "hello");
    {
        Shortage none_left{0};
        for (const std::string host : {"127.0.0.1", "localhost", "nowhere.invalid"}) {
            CAPTURE(host);
            auto opened = feed.open({.host = host, .port = other.port()}, 10s);
            for (int i = 0; opened && i < 10; ++i) {
                (void)opened->close(10s); // `other` serves one at a time
                none_left.take_all();
                opened = feed.open({.host = host, .port = other.port()}, 10s);
            }
            REQUIRE_FALSE(opened);
            CHECK(opened.error() == Error::no_resources);
            CHECK(opened.error().message().find("Too many open files") != std::string::npos);
            REQUIRE(feed.send("still here"));
            CHECK(feed.receive(10s).value().text() == "still here");
        }
    }
    for (const auto& [host, port] :
         {std::pair{"127.0.0.1", other.port()}, std::pair{"localhost", third.port()}}) {
        auto link = feed.open({.host = host, .port = port}, 10s);
        REQUIRE(link);
        REQUIRE(link->send("again"));
        CHECK(feed.receive(10s).value().text() == "again");
    }
}

TEST_CASE("descriptors: start() says that there are too few, however many are left"
          * doctest::skip(needs_descriptors))
{
    for (const std::string host : {"127.0.0.1", "localhost"}) {
        RawPeer peer{echo_lines};
        bool has_started = false;
        for (std::size_t left = 0; left < 16 && !has_started; ++left) {
            CAPTURE(host);
            CAPTURE(left);
            Feeds feed{{.host = host, .port = peer.port()}, silent_options(brief)};
            const Shortage few_left{left};
            const auto started = feed.start(10s);
            has_started = started.has_value();
            if (!has_started)
                CHECK(started.error() == Error::no_resources);
        }
        CHECK(has_started);
        Feeds feed{{.host = host, .port = peer.port()}, silent_options(brief)};
        CHECK(feed.start(10s));
    }
}

TEST_CASE("descriptors: a child that the application starts inherits none, whatever the link does")
{
    const auto before = open_descriptors();
    std::mutex mutex;
    std::string inheritable, phases; // guarded by mutex
    const auto look = [&](const char* phase) {
        const std::lock_guard lock{mutex};
        inheritable += inheritable_descriptors(before);
        phases += phase;
    };
    RawPeer peer{[&](RawConnection& c) {
        look("connected, ");
        echo_lines(c);
    }};
    RawPeer proxy{[&](RawConnection& c) {
        c.read_until("\r\n\r\n");
        look("tunnelling, ");
        c.send("HTTP/1.1 200 OK\r\n\r\nthrough\n");
        c.wait_for_end();
    }};
    const std::string path = "@sidecar-descriptors-" + std::to_string(::getpid());
    RawPeer local{echo_lines, RawPeer::UnixPath{path}};
    const FullBacklog full;
    auto options = silent_options(brief);
    options.lookup = [&](const std::string&) {
        look("looking up, ");
        return std::vector{boost::asio::ip::make_address("127.0.0.1")};
    };
    {
        Feeds feed{{.host = "a.name", .port = peer.port()}, options};
        REQUIRE(feed.start(10s));
        REQUIRE(feed.send("hello"));
        REQUIRE(feed.receive(10s));
        CHECK_FALSE(feed.open({.host = "127.0.0.1", .port = full.port()}, 20ms));
        look("in vain, ");
        REQUIRE(feed.open({.host = "unix:" + path, .port = 0}, 10s));
        REQUIRE(feed.open({.host = "far.example",
                           .port = 1,
                           .proxy = {.url = "http://127.0.0.1:" + std::to_string(proxy.port())}},
                          10s));
        CHECK(feed.native_handle().value() >= 0);
        look("up");
    }
    CHECK(inheritable == "");
    CHECK(phases == "looking up, connected, in vain, tunnelling, up");
}

TEST_CASE("signals: one to the process is taken by who waits for it, never by a thread of ours")
{
    sigset_t term;
    ::sigemptyset(&term);
    ::sigaddset(&term, SIGTERM);
    sigset_t before;
    // The test's own peer is to keep out of it
    ::pthread_sigmask(SIG_BLOCK, &term, &before);
    RawPeer peer{echo_lines};
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);

    std::latch looking{1}, may_end{1};
    auto options = silent_options();
    options.lookup = [&](const std::string&) {
        looking.count_down();
        may_end.wait();
        return std::vector{boost::asio::ip::make_address("127.0.0.1")};
    };
    // Started by a thread that does not block it, as most do
    Feeds feed{{.host = "127.0.0.1", .port = peer.port()}, options};
    REQUIRE(feed.start(10s));
    std::thread opener{[&] {
        ::pthread_sigmask(SIG_BLOCK, &term, nullptr);
        (void)feed.open({.host = "a.name", .port = peer.port()}, 10s);
    }};
    looking.wait();

    ::pthread_sigmask(SIG_BLOCK, &term, nullptr);
    for (int i = 0; i < 100; ++i) {
        REQUIRE(::kill(::getpid(), SIGTERM) == 0);
        const timespec patience{.tv_sec = 10, .tv_nsec = 0};
        REQUIRE(::sigtimedwait(&term, nullptr, &patience) == SIGTERM);
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    may_end.count_down();
    opener.join();
    REQUIRE(feed.send("still here"));
    CHECK(feed.receive(10s).value().text() == "still here");
}

} // namespace process_test
