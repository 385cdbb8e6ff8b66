// From start() to a connection, or to the reason why there is none.
#include "support/raw_peer.hpp"
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <thread>

using namespace sidecar;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

TEST_CASE("tcp: a refused connection says to where, and why")
{
    std::uint16_t closed_port = 0;
    {
        RawPeer gone{[](RawConnection&) {}};
        closed_port = gone.port();
    }
    Sidecar<Tcp<LengthPrefix>> feed{{.host = "127.0.0.1", .port = closed_port}, silent_options()};
    const auto failure = feed.start(10s).error();
    CHECK(failure == Error::connect_failed);
    CHECK(failure.cause() == boost::asio::error::connection_refused);
    CHECK(failure.endpoint() == "127.0.0.1:" + std::to_string(closed_port));
    CHECK(Tcp<LengthPrefix>::endpoint({.host = "::1", .port = 7}) == "[::1]:7");
}

TEST_CASE("tcp: a name that does not resolve is told as such")
{
    auto options = silent_options();
    options.lookup = [](const std::string&) -> std::vector<boost::asio::ip::address> {
        throw std::runtime_error{"no such name"};
    };
    Sidecar<Tcp<LengthPrefix>> feed{{.host = "nowhere.example", .port = 1}, options};
    const auto failure = feed.start(10s).error();
    CHECK(failure == Error::lookup_failed);
    CHECK(failure.message().find("nowhere.example") != std::string::npos);
}

TEST_CASE("tcp: hosts that cannot be meant are refused before anything is tried")
{
    for (const std::string host : {"tcp://localhost", "[::1]", "two words"}) {
        Sidecar<Tcp<LengthPrefix>> feed{{.host = host, .port = 1}, silent_options()};
        CHECK(feed.start(10s).error() == Error::bad_address);
    }
    Sidecar<Tcp<LengthPrefix>> feed{{.host = "localhost", .port = 1, .max_message_bytes = 0},
                                    silent_options()};
    CHECK(feed.start(10s).error() == Error::bad_options);
}

TEST_CASE("tcp: a port or a blank in the host is named as that")
{
    const auto why = [](const std::string& host, std::uint16_t port) {
        const auto checked = Tcp<Lines>::check({.host = host, .port = port});
        REQUIRE_FALSE(checked);
        CHECK(checked == Error::bad_address);
        return checked.error().explanation();
    };
    for (const std::uint16_t port : {0, 1}) {
        for (const auto* host : {"localhost:7000", "127.0.0.1:7000", "[::1]:7000", "a.b:07000"})
            CHECK(why(host, port) == "the host has a port in it; give it as .port = 7000");
        for (const auto* host : {" localhost", "localhost ", "local host", "localhost\n", "\t"})
            CHECK(why(host, port) == "the host has a blank or a line break in it; remove it");
    }
    CHECK(why("tcp://localhost:7000", 1).find("no URL") != std::string::npos);
    CHECK(why("localhost:0", 1).find("characters that no host name has") != std::string::npos);
    CHECK(why("localhost:x", 1).find("characters that no host name has") != std::string::npos);
    CHECK(why(":7000", 1).find("characters that no host name has") != std::string::npos);
    for (const auto* host : {"::1", "fe80::1", "::", "fe80::7000", "::ffff:127.0.0.1"})
        CHECK(Tcp<Lines>::check({.host = host, .port = 7000}));
}

TEST_CASE("tcp: a host with control characters or beyond ASCII is refused, and not printed raw")
{
    using namespace std::string_literals;
    for (const auto& host :
         {"a\r\nb"s, "a\nb"s, "a\0b"s, "a\x1b[1mb"s, "a\x7f"s, "m\xc3\xbcnchen.example"s}) {
        auto options = silent_options();
        options.lookup = [](const std::string&) -> std::vector<boost::asio::ip::address> {
            FAIL("nothing is to be looked up");
            return {};
        };
        Sidecar<Tcp<LengthPrefix>> feed{{.host = host, .port = 1}, options};
        const auto failure = feed.start(10s).error();
        CHECK(failure == Error::bad_address);
        const auto text = failure.message();
        CHECK(std::all_of(text.begin(), text.end(),
                          [](unsigned char c) { return c >= 0x20 && c < 0x7f; }));
    }
}

TEST_CASE("tcp: addresses and framings that make no sense are told from start")
{
    Sidecar<Tcp<LengthPrefix>> no_host{{.port = 1}, silent_options()};
    CHECK(no_host.start(1s).error() == Error::bad_address);
    Sidecar<Tcp<LengthPrefix>> no_port{{.host = "x"}, silent_options()};
    CHECK(no_port.start(1s).error() == Error::bad_address);
    Sidecar<Tcp<LengthPrefix>> bad_width{{.host = "x", .port = 1, .framing = {.width = 3}},
                                         silent_options()};
    CHECK(bad_width.start(1s).error() == Error::bad_options);
}

TEST_CASE("tcp: a connect that never completes ends at start's timeout, or at once with a stop")
{
    FullBacklog silent;
    Sidecar<Tcp<LengthPrefix>> feed{{.host = "127.0.0.1", .port = silent.port()}, silent_options()};
    const auto began = Clock::now();
    const auto failure = feed.start(100ms).error();
    CHECK(Clock::now() - began < 1s);
    CHECK(failure == Error::timed_out);
    CHECK(failure.message().find("connecting") != std::string::npos);

    std::thread stopper{[&] {
        while (feed.dump().find("connecting") == std::string::npos
               || feed.state() != State::starting)
            std::this_thread::yield();
        feed.request_stop();
    }};
    CHECK(feed.start(30s).error() == Error::stopping);
    stopper.join();
    const auto report = feed.stop();
    CHECK(report.joined);
    CHECK(report.total < promptly);
}
