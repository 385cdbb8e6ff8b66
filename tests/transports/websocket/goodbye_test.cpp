// How a WebSocket ends: by the peer's Close, by ours, by what we fail it for, and in no way at all.
#include "client_frames.hpp"
#include "support/descriptors.hpp"
#include "support/failure_of.hpp"
#include "support/raw_peer.hpp"
#include "support/sanitized.hpp"
#include "support/signal_once.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <thread>

namespace goodbye_test {

using namespace sidecar;
using namespace std::chrono_literals;

using Client = Sidecar<WebSocket>;
using Clock = std::chrono::steady_clock;

constexpr StopBudget short_budget{.total = 1500ms, .drain = 100ms, .close = 800ms, .cancel = 300ms};

Options with_outbox(std::size_t bytes)
{
    auto options = silent_options(short_budget);
    options.outbox = {.bytes = bytes, .messages = 1000};
    return options;
}

/// Waits for the client's Close, the frames before it dropped.
void wait_for_close(RawConnection& c)
{
    while (!read_client_frame(c).is_close()) {
    }
}

TEST_CASE("goodbye: nothing leaves behind our Close, also with 8 MiB in flight")
{
    SignalOnce is_sent, is_told;
    UntilEnd read;
    {
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            is_sent.wait();
            c.send(frame(0x88, "\x03\xe9"));
            read = read_until_end(c);
            is_told.wait();
        }};
        Client feed{{.url = peer.url()}, with_outbox(64u << 20)};
        REQUIRE(feed.start(10s));
        const std::string large(8u << 20, 'x');
        for (int i = 0; i < 3; ++i)
            REQUIRE(feed.send(large));
        is_sent.give();
        CHECK(failure_of(feed) == Error::closed_by_peer);
        is_told.give();
        (void)peer.wait_for_ended(1);
    }
    REQUIRE(!read.frames.empty());
    CHECK(read.frames.back().is_close());
    CHECK(read.frames.back().close_code() == 1001);
    CHECK(read.is_orderly);
    CHECK_FALSE(read.has_more_behind_close);
    std::size_t total = 0;
    for (const auto& one : read.frames)
        total += one.payload.size();
    CHECK(total < 24u << 20); // not all that was queued
}

TEST_CASE("goodbye: the application hears of the peer's at once, though the peer reads nothing of "
          "the 24 MiB that are queued")
{
    SignalOnce is_sent, is_told;
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        is_sent.wait();
        c.send(frame(0x81, "last") + frame(0x88, "\x03\xe9"));
        is_told.wait();
    }};
    Client feed{{.url = peer.url()}, with_outbox(64u << 20)};
    REQUIRE(feed.start(10s));
    const std::string large(1u << 20, 'x');
    for (int i = 0; i < 24; ++i)
        REQUIRE(feed.send(large));
    const auto began = Clock::now();
    is_sent.give();
    CHECK(feed.receive(10s).value().text() == "last");
    const auto failure = failure_of(feed);
    CHECK(failure == Error::closed_by_peer);
    CHECK(failure.close_code() == 1001);
    CHECK(Clock::now() - began < 1s);
    is_told.give();
}

TEST_CASE("goodbye: a Close without a code is a goodbye, and is answered by one without")
{
    UntilEnd read;
    {
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            c.send(frame(0x88, ""));
            read = read_until_end(c);
        }};
        Client feed{{.url = peer.url()}, silent_options()};
        REQUIRE(feed.start(10s));
        const auto failure = failure_of(feed);
        CHECK(failure == Error::closed_by_peer);
        CHECK(failure.close_code() == 0);
        (void)peer.wait_for_ended(1);
    }
    REQUIRE(read.frames.size() == 1);
    CHECK(read.frames[0].is_close());
    CHECK(read.frames[0].payload.empty());
    CHECK(read.is_orderly);
}

TEST_CASE("goodbye: the stop's close is ok only if the peer's Close has come")
{
    struct Case {
        const char* name;
        void (*end)(RawConnection&);
        Verdict verdict;
        const char* why;
    };
    const Case cases[] = {
        {"polite", [](RawConnection& c) { c.send(frame(0x88, "\x03\xe8")); }, Verdict::ok, ""},
        {"polite, after more messages",
         [](RawConnection& c) { c.send(frame(0x81, "x") + frame(0x88, "")); }, Verdict::ok, ""},
        {"drops", [](RawConnection&) {}, Verdict::failed, "without a close frame"},
        {"resets", [](RawConnection& c) { c.reset(); }, Verdict::failed, "reset"},
        {"rubbish", [](RawConnection& c) { c.send("\xff\xff"); }, Verdict::failed, "reserved bit"},
        {"a Close cut short",
         [](RawConnection& c) { c.send(frame(0x88, "\x03\xe8").substr(0, 3)); }, Verdict::failed,
         "without a close frame"},
    };
    for (const auto& one : cases) {
        CAPTURE(one.name);
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            wait_for_close(c);
            one.end(c);
        }};
        Client feed{{.url = peer.url()}, silent_options(short_budget)};
        REQUIRE(feed.start(10s));
        const auto report = feed.stop();
        CAPTURE(to_string(report));
        CHECK(report.close.verdict == one.verdict);
        CHECK(report.clean() == (one.verdict == Verdict::ok));
        CHECK(report.joined);
        if (one.verdict == Verdict::ok)
            continue;
        REQUIRE(report.first_error);
        CHECK(report.first_error->message().find(one.why) != std::string::npos);
        CHECK(report.first_error->message().find(peer.url()) != std::string::npos);
    }
}

TEST_CASE("goodbye: a peer that we fail can read the code, although it is still sending")
{
    struct Case {
        std::string bytes;
        Error error;
        unsigned code;
    };
    const Case cases[] = {
        {frame(0xc1, "a reserved bit"), Error::protocol_violation, 1002},
        {frame(0x81, "\xff"), Error::protocol_violation, 1007},
        {frame(0x82, std::string(2000, 'x')), Error::too_big, 1009},
    };
    for (const auto& one : cases) {
        UntilEnd read;
        {
            RawPeer peer{[&](RawConnection& c) {
                c.accept_websocket();
                const std::string more(1u << 20, 'm');
                c.send(frame(0x81, "good") + one.bytes);
                for (int i = 0; i < 8; ++i)
                    c.send(more);
                read = read_until_end(c);
            }};
            Client feed{{.url = peer.url(), .max_message_bytes = 1000}, silent_options()};
            REQUIRE(feed.start(10s));
            CHECK(feed.receive(10s).value().text() == "good");
            CHECK(failure_of(feed) == one.error);
            (void)peer.wait_for_ended(1);
        }
        REQUIRE(read.frames.size() == 1);
        CHECK(read.frames[0].close_code() == one.code);
        CHECK(read.is_orderly);
    }
}

TEST_CASE("goodbye: a peer that we fail, and that does not end its half, is not waited for long")
{
    SignalOnce is_over;
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        c.send(frame(0xc1, "a reserved bit"));
        is_over.wait();
    }};
    Client feed{{.url = peer.url()}, silent_options()};
    REQUIRE(feed.start(10s));
    const auto began = Clock::now();
    CHECK(failure_of(feed) == Error::protocol_violation);
    CHECK(Clock::now() - began < 2s);
    is_over.give();
}

TEST_CASE("goodbye: a stop ends the wait for a peer that we fail")
{
    SignalOnce is_over;
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        c.send(frame(0xc1, "a reserved bit"));
        is_over.wait();
    }};
    const StopBudget at_once{.total = 100ms, .drain = 10ms, .close = 10ms, .cancel = 50ms};
    Client feed{{.url = peer.url()}, silent_options(at_once)};
    REQUIRE(feed.start(10s));
    const auto began = Clock::now();
    CHECK(feed.stop().joined);
    CHECK(Clock::now() - began < 100ms + promptly);
    is_over.give();
}

TEST_CASE("goodbye: after a failed send all that had arrived is delivered, then the peer's goodbye")
{
    constexpr int count = 400;
    RawPeer peer{[&](RawConnection& c) {
        c.accept_websocket();
        std::string bytes;
        for (int i = 0; i < count; ++i)
            bytes += frame(0x82, std::string(100, static_cast<char>('a' + i % 26)));
        c.send(bytes + frame(0x88, "\x03\xe9"));
    }};
    auto options = silent_options();
    options.inbox = {.bytes = 8u << 20, .messages = 100};
    Client feed{{.url = peer.url()}, options};
    REQUIRE(feed.start(10s));
    REQUIRE(peer.wait_for_ended(1));
    for (int i = 0; i < 2; ++i) { // the first is answered by a reset, the second fails
        (void)feed.send("into the void");
        (void)feed.flush(1s);
    }
    int received = 0;
    bool is_in_order = true;
    for (;; ++received) {
        const auto message = feed.receive(10s);
        if (!message) {
            CHECK(message.error() == Error::closed_by_peer);
            CHECK(message.error().close_code() == 1001);
            break;
        }
        is_in_order &= message->text()[0] == static_cast<char>('a' + received % 26);
    }
    CHECK(received == count);
    CHECK(is_in_order);
}

TEST_CASE(
    "goodbye: the peer's connection ends with ours, although a child holds its descriptor too")
{
    RawPeer peer{[](RawConnection& c) {
        c.accept_websocket();
        while (!read_client_frame(c).is_close()) {
        }
        c.send(frame(0x88, "\x03\xe8"));
        c.wait_for_end();
    }};
    Client feed{{.url = peer.url()}, silent_options()};
    REQUIRE(feed.start(10s));
    std::vector<int> held; // as a child has it that was forked now
    for (const int fd : sockets_to(peer.port()))
        held.push_back(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    REQUIRE(held.size() == 1);
    CHECK(feed.stop().clean());
    CHECK(peer.wait_for_ended(1));
    ::close(held.front());
}

TEST_CASE("goodbye: a connection that ends while the inbox is full loses nothing that had arrived")
{
    constexpr int count = 300;
    for (const bool is_polite : {true, false}) {
        RawPeer peer{[&](RawConnection& c) {
            c.accept_websocket();
            std::string bytes;
            for (int i = 0; i < count; ++i)
                bytes += frame(0x82, std::string(100, static_cast<char>('a' + i % 26)));
            c.send(is_polite ? bytes + frame(0x88, "\x03\xe9") : bytes);
        }};
        auto options = silent_options();
        options.inbox = {.bytes = 8u << 20, .messages = 100};
        Client feed{{.url = peer.url()}, options};
        REQUIRE(feed.start(10s));
        REQUIRE(peer.wait_for_ended(1));
        std::this_thread::sleep_for(300ms); // it computes, and the link looks what comes
        int received = 0;
        for (;; ++received) {
            const auto message = feed.receive(10s);
            if (message)
                continue;
            CHECK(message.error() == (is_polite ? Error::closed_by_peer : Error::disconnected));
            break;
        }
        CHECK(received == count);
    }
}

} // namespace goodbye_test
