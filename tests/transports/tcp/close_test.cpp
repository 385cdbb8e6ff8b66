// How a close of TCP ends, and what is known of its connection.
#include "support/raw_peer.hpp"
#include "support/sanitized.hpp"
#include "support/signal_once.hpp"
#include "support/silent_options.hpp"
#include "tcp_peer.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <doctest/doctest.h>
#include <unistd.h>

namespace tcp_close_test {

using namespace sidecar;
using namespace std::chrono_literals;

Tcp<LengthPrefix>::Options at_once(const RawPeer& peer)
{
    auto options = to(peer);
    options.close = TcpClose::at_once;
    return options;
}

TEST_CASE("tcp close: at once, a peer that keeps its half open costs no time, and gets everything")
{
    for (const bool by_link : {false, true}) {
        CAPTURE(by_link);
        std::string got;
        SignalOnce is_over;
        {
            RawPeer peer{[&](RawConnection& c) {
                c.send(framed("hello"));
                for (int i = 0; i < 100; ++i)
                    got += read_message(c);
                c.wait_for_end(); // our half ends, its own does not
                is_over.wait();
            }};
            Sidecar<Tcp<LengthPrefix>> feed{at_once(peer), silent_options()};
            REQUIRE(feed.start(10s));
            CHECK(feed.receive(10s).value().text() == "hello");
            for (int i = 0; i < 100; ++i)
                REQUIRE(feed.send(std::string(1000, 'x')));
            if (by_link)
                CHECK(feed.link().value().close(10s));
            const auto report = feed.stop();
            CAPTURE(to_string(report));
            CHECK(report.clean());
            CHECK_FALSE(report.first_error);
            CHECK(report.unsent_messages == 0);
            CHECK(report.close.verdict == (by_link ? Verdict::skipped : Verdict::ok));
            if (!is_sanitized)
                CHECK(report.total < 500ms);
            is_over.give();
            (void)peer.wait_for_ended(1);
        }
        CHECK(got == std::string(100'000, 'x'));
    }
}

TEST_CASE("tcp close: after the peer, a peer that keeps its half open fails the close")
{
    SignalOnce is_over;
    RawPeer peer{[&](RawConnection& c) {
        c.wait_for_end();
        is_over.wait();
    }};
    CHECK(Tcp<LengthPrefix>::Options{}.close == TcpClose::after_peer);
    Sidecar<Tcp<LengthPrefix>> feed{
        to(peer), silent_options({.total = 1s, .drain = 50ms, .close = 100ms, .cancel = 300ms})};
    REQUIRE(feed.start(10s));
    const auto report = feed.stop();
    CHECK(report.close.verdict == Verdict::timed_out);
    CHECK_FALSE(report.clean());
    is_over.give();
}

TEST_CASE("tcp close: at once, what the system does not take is not said to be sent")
{
    SignalOnce is_over;
    RawPeer peer{[&](RawConnection&) { is_over.wait(); }}; // reads nothing
    auto options = silent_options({.total = 1s, .drain = 50ms, .close = 100ms, .cancel = 300ms});
    options.outbox = {.bytes = 64u << 20};
    Sidecar<Tcp<LengthPrefix>> feed{at_once(peer), options};
    REQUIRE(feed.start(10s));
    REQUIRE(feed.send(std::string(15u << 20, 'x')));
    const auto report = feed.stop();
    CAPTURE(to_string(report));
    CHECK_FALSE(report.clean());
    CHECK(report.close.verdict == Verdict::timed_out);
    CHECK(report.unsent_messages == 1);
    is_over.give();
}

TEST_CASE("tcp close: at once, also where the peer has gone before")
{
    SignalOnce is_ended;
    RawPeer peer{[&](RawConnection& c) {
        is_ended.wait();
        c.reset();
    }};
    Sidecar<Tcp<LengthPrefix>> feed{at_once(peer), silent_options()};
    REQUIRE(feed.start(10s));
    is_ended.give();
    CHECK(feed.receive(10s).error() == Error::disconnected);
    CHECK(feed.stop().joined);
}

TEST_CASE("tcp connection_info: has the peer's address, by IPv4, IPv6 and a Unix-domain socket")
{
    for (const bool is_v6 : {false, true}) {
        RawPeer peer{[](RawConnection& c) { c.wait_for_end(); }, is_v6};
        Sidecar<Tcp<LengthPrefix>> feed{{.host = is_v6 ? "::1" : "127.0.0.1", .port = peer.port()},
                                        silent_options()};
        REQUIRE(feed.start(10s));
        const auto info = feed.link().value().connection_info();
        CHECK(info
              == ConnectionInfo{.connection = 1,
                                .peer = (is_v6 ? "[::1]:" : "127.0.0.1:")
                                        + std::to_string(peer.port())});
    }
    const auto name = "@sidecar-close-test-" + std::to_string(::getpid());
    RawPeer peer{[](RawConnection& c) { c.wait_for_end(); }, RawPeer::UnixPath{name}};
    Sidecar<Tcp<LengthPrefix>> feed{{.host = "unix:" + name}, silent_options()};
    REQUIRE(feed.start(10s));
    CHECK(feed.link().value().connection_info().peer == "unix:" + name);
}

} // namespace tcp_close_test
