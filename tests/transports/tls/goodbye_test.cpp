// How connections end, and what goes through them before.
#include "trial.hpp"

#include "support/sanitized.hpp"

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <poll.h>

#include <atomic>
#include <thread>

namespace goodbye_test {

using namespace sidecar;
using namespace std::chrono_literals;

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

TEST_CASE("tls goodbye: an end without close_notify is truncated, after a message or within one")
{
    for (const std::string said : {"whole\n", "whole\nhalf a li"}) {
        TlsPeer peer{{}, [&](TlsConnection& c) {
                         c.send(said);
                         c.raw.half_close();
                         c.raw.wait_for_end();
                     }};
        LinesFeed feed{lines_to(peer.port()), at_home()};
        REQUIRE(feed.start(20s));
        CHECK(feed.receive(20s).value().text() == "whole");
        const auto failure = failure_of(feed);
        CAPTURE(failure.message());
        CHECK(failure == Error::disconnected);
        CHECK(has(failure.explanation(), "truncated"));
        CHECK(has(failure.explanation(), "half a li") == has(said, "half"));
        const auto text = failure.message(); // says it once
        CHECK(text.find("truncated") == text.rfind("truncated"));
        CHECK(has(text, "close_notify"));
    }
}

TEST_CASE("tls goodbye: close_notify is an orderly end")
{
    TlsPeer peer{{}, [](TlsConnection& c) {
                     c.send("last\n");
                     c.say_goodbye();
                     c.wait_for_goodbye();
                 }};
    LinesFeed feed{lines_to(peer.port()), at_home()};
    REQUIRE(feed.start(20s));
    CHECK(feed.receive(20s).value().text() == "last");
    const auto failure = failure_of(feed);
    CHECK(failure == Error::disconnected);
    CHECK(failure.cause() == boost::asio::error::eof);
    CHECK_FALSE(has(failure.message(), "truncated"));
}

TEST_CASE("tls goodbye: the peer's close_notify is answered by ours")
{
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        std::atomic<bool> has_heard = false;
        TlsPeer peer{{.version = version}, [&](TlsConnection& c) {
                         c.say_goodbye();
                         has_heard = c.wait_for_goodbye();
                     }};
        LinesFeed feed{lines_to(peer.port()), at_home()};
        REQUIRE(feed.start(20s));
        CHECK(failure_of(feed).cause() == boost::asio::error::eof);
        REQUIRE(peer.wait_for_ended(1));
        CHECK(has_heard);
    }
}

TEST_CASE("tls goodbye: a peer that ends since we decline its renegotiation is told as such")
{
    TlsPeer peer{{.version = TLS1_2_VERSION}, [](TlsConnection& c) {
                     SSL_renegotiate(c.end.get());
                     SSL_do_handshake(c.end.get());
                     c.raw.send(c.end.take());
                     try {
                         c.read(1);
                     } catch (const PeerGone&) {
                         c.raw.send(c.end.take());
                         c.raw.wait_for_end();
                     }
                 }};
    LinesFeed feed{lines_to(peer.port()), at_home()};
    REQUIRE(feed.start(20s));
    const auto failure = failure_of(feed);
    CHECK(failure == Error::disconnected);
    CHECK(failure.cause().message()
          == "the peer asked for renegotiation of TLS, and ended the connection when that was "
             "declined");
}

TEST_CASE("tls goodbye: a stop says it, and is ok only if the peer answers it")
{
    for (const bool answers : {true, false}) {
        std::atomic<bool> has_heard = false;
        TlsPeer peer{{}, [&](TlsConnection& c) {
                         has_heard = c.wait_for_goodbye();
                         if (answers)
                             c.say_goodbye();
                         c.raw.half_close();
                         c.raw.wait_for_end();
                     }};
        LinesFeed feed{lines_to(peer.port()), at_home()};
        REQUIRE(feed.start(20s));
        const auto report = feed.stop();
        CHECK(has_heard);
        CHECK(report.joined);
        CHECK((report.close.verdict == Verdict::ok) == answers);
    }
}

TEST_CASE("tls goodbye: a peer that never answers costs no more than the stop's budget")
{
    TlsPeer peer{{}, [](TlsConnection& c) { c.raw.wait_for_end(); }};
    auto options = at_home();
    options.stop.total = 300ms;
    LinesFeed feed{lines_to(peer.port()), options};
    REQUIRE(feed.start(20s));
    const auto report = feed.stop();
    CHECK(report.joined);
    CHECK(report.total < 300ms + promptly);
    CHECK(report.close.verdict != Verdict::ok);
}

TEST_CASE("tls goodbye: a peer that never reads costs no more either")
{
    TlsPeer peer{{}, [](TlsConnection& c) {
                     pollfd gone{.fd = c.raw.fd(), .events = POLLRDHUP, .revents = 0};
                     (void)::poll(&gone, 1, 20'000);
                 }};
    auto options = at_home();
    options.stop.total = 300ms;
    LinesFeed feed{lines_to(peer.port()), options};
    REQUIRE(feed.start(20s));
    std::size_t sent = 0;
    const std::string line(50'000, 'x');
    for (auto silent_since = std::chrono::steady_clock::now();
         std::chrono::steady_clock::now() - silent_since < 200ms;)
        if (feed.send(line)) {
            ++sent;
            silent_since = std::chrono::steady_clock::now();
        }
    const auto report = feed.stop();
    CHECK(report.joined);
    CHECK(report.total < 300ms + promptly);
    CHECK(report.unsent_messages > 0);
    CHECK(report.unsent_messages < sent);
}

TEST_CASE("tls goodbye: a peer that resets while we send is an error and no signal")
{
    TlsPeer peer{{}, [](TlsConnection& c) {
                     c.read(10);
                     c.raw.reset();
                 }};
    LinesFeed feed{lines_to(peer.port()), at_home()};
    REQUIRE(feed.start(20s));
    while (feed.send(std::string(1000, 'x'), 1s)) {
    }
    CHECK(failure_of(feed) == Error::disconnected);
}

TEST_CASE("tls: large messages both ways at once arrive whole")
{
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        constexpr std::size_t count = is_sanitized ? 20 : 60;
        const auto line_of = [](std::size_t i) {
            return std::string(i * 7919 % 300'000 + 1, static_cast<char>('a' + i % 26));
        };
        std::atomic<bool> is_good = true;
        TlsPeer peer{{.version = version}, [&](TlsConnection& c) {
                         // One at a time each way, so that neither end waits for the other
                         for (std::size_t i = 0; i < count; ++i) {
                             c.send(line_of(i) + "\n");
                             if (version == TLS1_3_VERSION && i % 5 == 0)
                                 c.raw.send(c.end.seal_key_update(true));
                             if (c.read_until("\n") != line_of(i) + "\n")
                                 is_good = false;
                         }
                         c.wait_for_goodbye();
                         c.say_goodbye();
                     }};
        LinesFeed feed{lines_to(peer.port()), at_home()};
        REQUIRE(feed.start(20s));
        std::thread sender{[&] {
            for (std::size_t i = 0; i < count; ++i)
                (void)feed.send(line_of(i), 20s);
        }};
        for (std::size_t i = 0; i < count; ++i) {
            const auto line = feed.receive(20s);
            if (!line || line->text() != line_of(i)) {
                is_good = false;
                break;
            }
        }
        sender.join();
        CHECK(is_good);
        CHECK(feed.stop().close.verdict == Verdict::ok);
    }
}

TEST_CASE("tls: a burst of small messages arrives in order")
{
    constexpr std::size_t count = 20'000;
    TlsPeer peer{{}, [&](TlsConnection& c) {
                     for (std::size_t i = 0; i < count; ++i)
                         c.send(std::to_string(i) + "\n");
                     c.wait_for_goodbye();
                     c.say_goodbye();
                 }};
    LinesFeed feed{lines_to(peer.port()), at_home()};
    REQUIRE(feed.start(20s));
    for (std::size_t i = 0; i < count; ++i)
        REQUIRE(feed.receive(20s).value().text() == std::to_string(i));
}

} // namespace goodbye_test
