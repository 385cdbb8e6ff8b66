// Slow peers, full queues, and what several links share.
#include "support/dense_streams.hpp"
#include "support/descriptors.hpp"
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"
#include "tcp_peer.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <doctest/doctest.h>

#include <future>
#include <latch>
#include <poll.h>
#include <sys/socket.h>
#include <thread>

using namespace sidecar;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

/// Sends until nothing more goes for a while, with neither outbox nor sockets having room. Gives
/// how many were taken.
std::uint64_t send_until_blocked(Feed& feed, const std::string& message)
{
    std::uint64_t count = 0;
    while (feed.send(message, 200ms))
        ++count;
    return count;
}

} // namespace

TEST_CASE("tcp: a full inbox pauses reading until the peer's send blocks; then all of it arrives")
{
    constexpr std::size_t count = 16'000;
    std::promise<void> blocked;
    RawPeer peer{[&](RawConnection& c) {
        std::string burst;
        for (std::size_t i = 0; i < count; ++i)
            burst += framed(std::to_string(i) + std::string(1000, ' '));
        std::string_view rest{burst};
        pollfd entry{.fd = c.fd(), .events = POLLOUT, .revents = 0};
        while (::poll(&entry, 1, 300) == 1)
            rest.remove_prefix(static_cast<std::size_t>(
                std::max<ssize_t>(::send(c.fd(), rest.data(), rest.size(), MSG_DONTWAIT), 0)));
        blocked.set_value();
        c.send(rest);
        c.wait_for_end();
    }};
    auto options = silent_options();
    options.inbox = {.bytes = 1 << 16, .messages = 40};
    Sidecar<Tcp<LengthPrefix>> feed{
        {.host = "127.0.0.1", .port = peer.port(), .max_message_bytes = 2000}, options};
    REQUIRE(feed.start(10s));
    REQUIRE(blocked.get_future().wait_for(20s) == std::future_status::ready);
    CHECK(feed.stats().reading_pauses == 1);
    bool in_order = true;
    for (std::size_t i = 0; i < count; ++i)
        in_order &= feed.receive(10s).value().text().starts_with(std::to_string(i) + ' ');
    CHECK(in_order);
    CHECK(feed.stats().inbox_peak_messages <= 40);
    CHECK(feed.stop().clean());
}

TEST_CASE("tcp: to a peer that does not read, send gets full, flush times out, and the stop counts "
          "exactly what was left")
{
    std::latch stopped{1};
    std::promise<std::uint64_t> arrived;
    RawPeer peer{[&](RawConnection& c) {
        stopped.wait();
        std::uint64_t count = 0;
        try {
            for (;; ++count)
                (void)read_message(c);
        } catch (const PeerGone&) {
            arrived.set_value(count);
        }
    }};
    auto options = silent_options();
    options.stop = {.total = 400ms, .drain = 100ms, .close = 100ms, .cancel = 100ms};
    Sidecar<Tcp<LengthPrefix>> feed{to(peer), options};
    REQUIRE(feed.start(10s));
    const std::string message(1000, 'm');
    const auto queued = send_until_blocked(feed, message);
    CHECK(feed.send(message).error() == Error::full);
    CHECK(feed.flush(50ms).error() == Error::timed_out);
    const auto began = Clock::now();
    const auto report = feed.stop();
    const auto took = Clock::now() - began;
    stopped.count_down();
    CHECK(took <= 450ms);
    CHECK(report.joined);
    CHECK(report.drain.verdict == Verdict::timed_out);
    CHECK(report.unsent_messages > 0);
    auto count = arrived.get_future();
    REQUIRE(count.wait_for(30s) == std::future_status::ready);
    CHECK(count.get() == queued - report.unsent_messages);
}

TEST_CASE("tcp: the dense streams of several links arrive as they were sent, with room in the "
          "inbox and without")
{
    const auto talk = [](unsigned stream) {
        return [stream](RawConnection& c) {
            std::string bytes;
            for (unsigned i = 0; i < dense_count; ++i)
                bytes += framed(dense_message(stream, i));
            send_in_pieces(c, bytes);
            c.wait_for_end();
        };
    };
    for (const std::size_t inbox_bytes : {64u << 10, 512u << 10, 8u << 20}) {
        CAPTURE(inbox_bytes);
        RawPeer first{talk(0)}, second{talk(1)}, third{talk(2)};
        const auto to_small = [](const RawPeer& peer) {
            auto options = to(peer);
            options.max_message_bytes = 2000;
            return options;
        };
        auto options = silent_options();
        options.inbox.bytes = inbox_bytes;
        Sidecar<Tcp<LengthPrefix>> feed{to_small(first), options};
        REQUIRE(feed.start(10s));
        auto second_link = feed.open(to_small(second), 10s);
        auto third_link = feed.open(to_small(third), 10s);
        REQUIRE(second_link);
        REQUIRE(third_link);
        check_dense_streams(feed, {LinkId{0}, second_link->id(), third_link->id()});
        CHECK(feed.stop().clean());
    }
}

TEST_CASE("tcp: lines longer than any buffer, or than what is left of one, arrive whole")
{
    for (const std::size_t inbox_bytes : {128u << 10, 8u << 20}) {
        CAPTURE(inbox_bytes);
        const std::size_t longest = inbox_bytes / 5, count = 40;
        const auto line = [&](std::size_t i) {
            return std::string(i % 10 == 9 ? longest : longest / (1 + i % 10),
                               static_cast<char>('a' + i % 26));
        };
        RawPeer peer{[&](RawConnection& c) {
            for (std::size_t i = 0; i < count; ++i)
                c.send(line(i) + "\n");
            c.wait_for_end();
        }};
        auto options = silent_options();
        options.inbox.bytes = inbox_bytes;
        Sidecar<Tcp<Lines>> feed{
            {.host = "127.0.0.1", .port = peer.port(), .max_message_bytes = inbox_bytes / 4},
            options};
        REQUIRE(feed.start(10s));
        for (std::size_t i = 0; i < count; ++i)
            REQUIRE(feed.receive(10s).value().text() == line(i));
        CHECK(feed.stop().joined);
    }
}

TEST_CASE("tcp: several links whose messages are large share the least inbox there may be, and "
          "none waits for ever")
{
    constexpr int count = 30, links = 3;
    constexpr std::size_t size = 1u << 20;
    const auto script = [](RawConnection& c) {
        for (int i = 0; i < count; ++i) {
            c.send(framed(
                std::string(size - static_cast<std::size_t>(i), static_cast<char>('a' + i))));
            c.send(framed("small"));
        }
        c.wait_for_end();
    };
    RawPeer first{script}, second{script}, third{script};
    auto options = silent_options();
    options.inbox = {.bytes = 4 * size, .messages = 1000};
    Sidecar<Tcp<LengthPrefix>> feed{to(first), options};
    REQUIRE(feed.start(10s));
    REQUIRE(feed.open(to(second), 10s));
    REQUIRE(feed.open(to(third), 10s));
    int large[links] = {}, small[links] = {};
    bool in_order = true;
    for (int i = 0; i < 2 * count * links; ++i) {
        const auto message = feed.receive(20s);
        REQUIRE(message.has_value());
        const auto link = static_cast<std::size_t>(message->link());
        if (message->text() == "small") {
            in_order &= ++small[link] == large[link];
            continue;
        }
        in_order &= message->text()
                    == std::string(size - static_cast<std::size_t>(large[link]),
                                   static_cast<char>('a' + large[link]));
        ++large[link];
    }
    CHECK(in_order);
    CHECK(feed.stats().inbox_peak_bytes <= 4 * size);
    CHECK(feed.stop().joined);
}

TEST_CASE("tcp: a link waits for room neither behind a message that never ends, nor behind small "
          "ones of a link with another limit")
{
    constexpr std::size_t limit = 1u << 20, small_count = 20'000;
    const std::string large(limit, 'L');
    std::latch half_has_come{1};
    RawPeer staller{[&](RawConnection& c) {
        c.send(framed(large).substr(0, limit / 2));
        c.wait_for_end();
    }};
    RawPeer chatter{[&](RawConnection& c) {
        half_has_come.wait();
        std::string bytes;
        for (std::size_t i = 0; i < small_count; ++i)
            bytes += framed(std::string(200, 's'));
        c.send(bytes);
        c.wait_for_end();
    }};
    RawPeer sender{[&](RawConnection& c) {
        c.read(1);
        c.send(framed(large));
        c.wait_for_end();
    }};
    const auto limited = [](const RawPeer& peer, std::size_t bytes) {
        auto options = to(peer);
        options.max_message_bytes = bytes;
        return options;
    };
    auto options = silent_options();
    options.inbox.bytes = 4 * limit;
    Sidecar<Tcp<LengthPrefix>> feed{limited(staller, limit), options};
    REQUIRE(feed.start(10s));
    auto small = feed.open(limited(chatter, 1000), 10s);
    auto other = feed.open(limited(sender, limit), 10s);
    REQUIRE(small);
    REQUIRE(other);
    // For the half, which nobody can see
    REQUIRE(feed.call("a call", [&](Context ctx) -> Task<> { co_await ctx.sleep_for(100ms); }));
    half_has_come.count_down();
    for (std::size_t i = 0; i < small_count; ++i)
        REQUIRE(feed.receive(10s).value().size() == 200);
    REQUIRE(other->send("x"));
    CHECK(feed.receive(10s).value().text() == large);
}

TEST_CASE("tcp: after a failed send a large message arrives whole while its bytes keep coming")
{
    constexpr std::size_t pieces = 80, piece = 10'000;
    std::latch may_go_on{1};
    RawPeer peer{[&](RawConnection& c) {
        c.send(std::string("\x00\x0c\x35\x00", 4)); // 800,000 bytes
        may_go_on.wait();
        for (std::size_t i = 0; i < pieces; ++i) {
            c.send(std::string(piece, static_cast<char>('a' + i % 26)));
            std::this_thread::sleep_for(5ms);
        }
        c.wait_for_end();
    }};
    Sidecar<Tcp<LengthPrefix>> feed{{.host = "127.0.0.1", .port = peer.port()}, silent_options()};
    REQUIRE(feed.start(10s));
    const auto sockets = sockets_to(peer.port());
    REQUIRE(sockets.size() == 1);
    REQUIRE(::shutdown(sockets.front(), SHUT_WR) == 0);
    (void)feed.send("fails");
    (void)feed.flush(1s);
    may_go_on.count_down();
    const auto message = feed.receive(10s);
    REQUIRE(message.has_value());
    CHECK(message->size() == pieces * piece);
}

TEST_CASE("tcp: a stop in the middle of a large message discards it, and gives its memory back")
{
    std::latch sent{1};
    RawPeer peer{[&](RawConnection& c) {
        c.send(framed(std::string(500'000, 'x')).substr(0, 200'000));
        sent.count_down();
        c.wait_for_end();
    }};
    Sidecar<Tcp<LengthPrefix>> feed{to(peer), silent_options()};
    REQUIRE(feed.start(10s));
    sent.wait();
    const auto report = feed.stop();
    CHECK(report.joined);
    CHECK(report.unread_messages == 0);
}
