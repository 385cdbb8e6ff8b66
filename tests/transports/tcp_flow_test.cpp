// TCP under conditions that are not friendly: slow and silent peers, full queues, framings with
// errors, restarts.
#include "dense_streams.hpp"
#include "raw_peer.hpp"
#include "support/sanitized.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <fcntl.h>
#include <future>
#include <latch>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace sidecar;
using namespace std::chrono_literals;
using Feed = sidecar::Sidecar<Tcp<LengthPrefix>>;
using Clock = std::chrono::steady_clock;

namespace {

Options quiet()
{
    return {.log = [](LogLevel, std::string_view) {}};
}

Tcp<LengthPrefix>::Options to(const RawPeer& peer)
{
    return {.host = "127.0.0.1", .port = peer.port()};
}

/// As LengthPrefix{} has it.
std::string framed(std::string_view payload)
{
    const auto size = payload.size();
    std::string text;
    for (const int shift : {24, 16, 8, 0})
        text += static_cast<char>(size >> shift & 0xff);
    return text.append(payload);
}

/// The next message of the stream.
std::string read_message(RawConnection& c)
{
    std::size_t size = 0;
    for (const char byte : c.read(4))
        size = size << 8 | static_cast<unsigned char>(byte);
    return c.read(size);
}

template <class T>
Failure failure_of(Sidecar<T>& feed)
{
    for (;;)
        if (auto message = feed.receive(10s); !message)
            return message.error();
}

/// Sends until nothing more goes for a while, with neither outbox nor sockets having room. Gives
/// how many were taken.
std::uint64_t send_until_blocked(Feed& feed, const std::string& message)
{
    std::uint64_t count = 0;
    while (feed.send(message, 200ms))
        ++count;
    return count;
}

/// Messages of the form "<text>"; whatever stands between them is skipped. What it cannot bear is a
/// '!'.
struct Angles {
    static constexpr MessageKind kind = MessageKind::text;
    [[nodiscard]] Decoded decode(std::span<const std::byte> bytes, std::size_t) const
    {
        const auto text = MessageView{.data = bytes}.text();
        if (text.starts_with('!'))
            throw std::runtime_error{"an exclamation mark"};
        const auto begin = std::min(text.find_first_of("<!"), text.size());
        if (begin != 0)
            return {.payload = {}, .consumed_bytes = begin};
        const auto end = text.find('>');
        if (end == text.npos)
            return {};
        return {
            .is_complete = true, .payload = bytes.subspan(1, end - 1), .consumed_bytes = end + 1};
    }
    void encode(std::vector<std::byte>& out, std::span<const std::byte> payload) const
    {
        out.insert(out.end(), payload.begin(), payload.end());
    }
};

/// Never finds a message.
struct Blind {
    [[nodiscard]] Decoded decode(std::span<const std::byte>, std::size_t) const { return {}; }
    void encode(std::vector<std::byte>&, std::span<const std::byte>) const {}
};

/// Says that it found one, and takes nothing.
struct Stuck : Blind {
    [[nodiscard]] Decoded decode(std::span<const std::byte>, std::size_t) const
    {
        return {.is_complete = true, .payload = {}};
    }
};

/// Cannot write what it is given.
struct Mute : Blind {
    void encode(std::vector<std::byte>&, std::span<const std::byte>) const
    {
        throw std::runtime_error{"no words"};
    }
};

template <class F>
Failure ends_with(std::string bytes)
{
    RawPeer peer{[&](RawConnection& c) {
        c.send(bytes);
        c.wait_for_end();
    }};
    Sidecar<Tcp<F>> feed{{.host = "127.0.0.1", .port = peer.port(), .max_message_bytes = 1000},
                         quiet()};
    feed.start(10s).value();
    return failure_of(feed);
}

} // namespace

TEST_CASE("tcp: a refused connection says to where, and why")
{
    std::uint16_t closed_port = 0;
    {
        RawPeer gone{[](RawConnection&) {}};
        closed_port = gone.port();
    }
    Feed feed{{.host = "127.0.0.1", .port = closed_port}, quiet()};
    const auto failure = feed.start(10s).error();
    CHECK(failure == Error::connect_failed);
    CHECK(failure.cause() == boost::asio::error::connection_refused);
    CHECK(failure.endpoint() == "127.0.0.1:" + std::to_string(closed_port));
    CHECK(Tcp<LengthPrefix>::endpoint({.host = "::1", .port = 7}) == "[::1]:7");
}

TEST_CASE("tcp: a name that does not resolve is told as such")
{
    auto options = quiet();
    options.lookup = [](const std::string&) -> std::vector<boost::asio::ip::address> {
        throw std::runtime_error{"no such name"};
    };
    Feed feed{{.host = "nowhere.example", .port = 1}, options};
    const auto failure = feed.start(10s).error();
    CHECK(failure == Error::lookup_failed);
    CHECK(failure.message().find("nowhere.example") != std::string::npos);
}

TEST_CASE("tcp: hosts that cannot be meant are refused before anything is tried")
{
    for (const std::string host : {"tcp://localhost", "[::1]", "two words"}) {
        Feed feed{{.host = host, .port = 1}, quiet()};
        CHECK(feed.start(10s).error() == Error::bad_address);
    }
    Feed feed{{.host = "localhost", .port = 1, .max_message_bytes = 0}, quiet()};
    CHECK(feed.start(10s).error() == Error::bad_options);
}

TEST_CASE("tcp: a connect that never completes ends at start's timeout, or at once with a stop")
{
    FullBacklog silent;
    Feed feed{{.host = "127.0.0.1", .port = silent.port()}, quiet()};
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

TEST_CASE("tcp: a reset in the middle of a message is told with what had come of it")
{
    RawPeer peer{[](RawConnection& c) {
        c.send(framed("whole") + framed("half").substr(0, 6));
        c.read(1); // the whole one has arrived
        c.reset();
    }};
    Feed feed{to(peer), quiet()};
    REQUIRE(feed.start(10s));
    CHECK(feed.receive(10s).value().text() == "whole");
    REQUIRE(feed.send(""));
    const auto failure = failure_of(feed);
    CHECK(failure == Error::disconnected);
    CHECK(failure.cause() == boost::asio::error::connection_reset);
    CHECK(failure.explanation().find("6 bytes of it had come") != std::string::npos);
    CHECK(failure.endpoint() == "127.0.0.1:" + std::to_string(peer.port()));
}

TEST_CASE("tcp: messages that trickle in byte by byte are whole and in order")
{
    RawPeer peer{[](RawConnection& c) {
        for (int i = 0; i < 300; ++i)
            c.trickle(framed(std::to_string(i)));
        c.wait_for_end();
    }};
    Feed feed{to(peer), quiet()};
    REQUIRE(feed.start(10s));
    for (int i = 0; i < 300; ++i)
        REQUIRE(feed.receive(10s).value().text() == std::to_string(i));
}

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
    auto options = quiet();
    options.inbox = {.bytes = 1 << 16, .messages = 40};
    Feed feed{{.host = "127.0.0.1", .port = peer.port(), .max_message_bytes = 2000}, options};
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
    auto options = quiet();
    options.stop = {.total = 400ms, .drain = 100ms, .close = 100ms, .cancel = 100ms};
    Feed feed{to(peer), options};
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

TEST_CASE(
    "tcp: a batch of every size arrives as it was sent, and flush says when the system has it")
{
    std::vector<std::string> messages;
    for (std::size_t i = 0; i < 2000; ++i)
        messages.push_back(
            std::string(i % 100 == 7 ? 100'000 + i : i % 50, static_cast<char>('a' + i % 26)));
    std::promise<bool> same;
    RawPeer peer{[&](RawConnection& c) {
        bool is_same = true;
        for (const auto& message : messages)
            is_same &= read_message(c) == message;
        same.set_value(is_same);
        c.wait_for_end();
    }};
    Feed feed{to(peer), quiet()};
    REQUIRE(feed.start(10s));
    for (const auto& message : messages)
        REQUIRE(feed.send(message, 10s));
    REQUIRE(feed.flush(10s));
    CHECK(feed.stats().messages_sent == messages.size());
    auto answer = same.get_future();
    REQUIRE(answer.wait_for(20s) == std::future_status::ready);
    CHECK(answer.get());
    CHECK(feed.stop().clean());
}

TEST_CASE("tcp: messages of exactly the limit go both ways, one more byte does not")
{
    constexpr std::size_t size = 1u << 20;
    RawPeer peer{[&](RawConnection& c) {
        for (;;)
            c.send(framed(read_message(c)));
    }};
    Feed feed{to(peer), quiet()};
    REQUIRE(feed.start(10s));
    CHECK(feed.send(std::string(size + 1, 'x')).error() == Error::too_big);
    for (const char letter : {'a', 'b', 'c', 'd', 'e'}) {
        const std::string message(size, letter);
        REQUIRE(feed.send(message, 10s));
        CHECK((feed.receive(10s).value().text() == message));
    }
    CHECK(feed.stop().clean());
}

TEST_CASE("tcp: the same object starts again, with a new connection and new counts")
{
    RawPeer peer{[](RawConnection& c) {
        c.send(framed("hello"));
        c.wait_for_end();
    }};
    Feed feed{to(peer), quiet()};
    for (int run = 0; run < 5; ++run) {
        REQUIRE(feed.start(10s));
        CHECK(feed.receive(10s).value().text() == "hello");
        CHECK(feed.stats().messages_received == 1);
        CHECK(feed.stop().clean());
    }
}

TEST_CASE("tcp: two links share one inbox, and each message says whose it is")
{
    const auto talk = [](std::string name) {
        return [name](RawConnection& c) {
            for (;;)
                c.send(framed(name + read_message(c)));
        };
    };
    RawPeer first{talk("1")}, second{talk("2")};
    Feed feed{to(first), quiet()};
    REQUIRE(feed.start(10s));
    auto link = feed.open(to(second), 10s);
    REQUIRE(link.has_value());
    REQUIRE(feed.send("a"));
    REQUIRE(link->send("b"));
    for (int i = 0; i < 2; ++i) {
        const auto message = feed.receive(10s).value();
        CHECK(message.text() == (message.link() == link->id() ? "2b" : "1a"));
    }
    CHECK(feed.stop().clean());
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
        auto options = quiet();
        options.inbox.bytes = inbox_bytes;
        Feed feed{to_small(first), options};
        REQUIRE(feed.start(10s));
        auto second_link = feed.open(to_small(second), 10s);
        auto third_link = feed.open(to_small(third), 10s);
        REQUIRE(second_link);
        REQUIRE(third_link);
        check_dense_streams(feed, {LinkId{0}, second_link->id(), third_link->id()});
        CHECK(feed.stop().clean());
    }
}

TEST_CASE("tcp: a framing of the user's own may skip bytes, and what it throws ends the link with "
          "that reason")
{
    RawPeer peer{[](RawConnection& c) {
        c.trickle("  <one>...<><three>");
        c.send(" !");
        c.wait_for_end();
    }};
    Sidecar<Tcp<Angles>> feed{{.host = "127.0.0.1", .port = peer.port()}, quiet()};
    REQUIRE(feed.start(10s));
    for (const std::string_view expected : {"one", "", "three"})
        CHECK(feed.receive(10s).value().text() == expected);
    const auto failure = failure_of(feed);
    CHECK(failure == Error::protocol_violation);
    CHECK(failure.explanation() == "an exclamation mark");
    CHECK(failure.endpoint() == "127.0.0.1:" + std::to_string(peer.port()));
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
        auto options = quiet();
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

TEST_CASE("tcp: a flood of what a framing skips holds up neither other tasks nor the stop")
{
    RawPeer peer{[](RawConnection& c) {
        const std::string filler(1u << 20, '.');
        for (;;)
            c.send(filler);
    }};
    auto options = quiet();
    options.stop = {.total = 2s, .drain = 100ms, .close = 100ms, .cancel = 500ms};
    Sidecar<Tcp<Angles>> feed{{.host = "127.0.0.1", .port = peer.port()}, options};
    REQUIRE(feed.start(10s));
    for (int i = 0; i < 20; ++i)
        REQUIRE(feed.call([](Context ctx) -> Task<> { co_await ctx.sleep_for(1ms); }, 10s));
    const auto report = feed.stop();
    CHECK(report.joined);
}

TEST_CASE("tcp: a framing that throws when it encodes ends the link with that, and the message "
          "counts as unsent")
{
    RawPeer peer{[](RawConnection& c) { c.wait_for_end(); }};
    Sidecar<Tcp<Mute>> feed{{.host = "127.0.0.1", .port = peer.port()}, quiet()};
    REQUIRE(feed.start(10s));
    REQUIRE(feed.send("x"));
    CHECK(failure_of(feed).explanation().find("no words") != std::string::npos);
    CHECK(feed.stop().unsent_messages == 1);
}

TEST_CASE("tcp: a framing that never finds a message ends the link, not the memory; one that takes "
          "nothing does not spin")
{
    const auto blind = ends_with<Blind>(std::string(1'000'000, 'x'));
    CHECK(blind == Error::too_big);
    CHECK(blind.explanation().find("no end of a message in ") == 0);
    CHECK_FALSE(blind.endpoint().empty());
    CHECK(ends_with<Stuck>("x") == Error::bad_options);
    CHECK(ends_with<LengthPrefix>(std::string("\0\0\3\xe9", 4))
              .message()
              .find("a message of 1001 bytes, the limit is 1000")
          != std::string::npos);
}

TEST_CASE("tcp: a stream without framing arrives byte for byte")
{
    RawPeer peer{[](RawConnection& c) {
        c.send(c.read(100'000));
        c.wait_for_end();
    }};
    Sidecar<Tcp<Raw>> feed{{.host = "127.0.0.1", .port = peer.port(), .max_message_bytes = 1000},
                           quiet()};
    REQUIRE(feed.start(10s));
    std::string sent, received;
    for (int i = 0; i < 100; ++i) {
        const std::string piece(1000, static_cast<char>('a' + i % 26));
        REQUIRE(feed.send(piece));
        sent += piece;
    }
    while (received.size() < sent.size()) {
        const auto message = feed.receive(10s).value();
        REQUIRE(message.size() <= 1000);
        received += message.text();
    }
    CHECK((received == sent));
}

TEST_CASE("tcp: a protocol error while the stop waits for the peer's end fails the close, and is "
          "its first error")
{
    std::latch closing{1};
    RawPeer peer{[&](RawConnection& c) {
        c.wait_for_end(); // the sidecar's half is closed
        c.send("\xff\xff\xff\xff");
        closing.wait();
    }};
    Feed feed{to(peer), quiet()};
    REQUIRE(feed.start(10s));
    const auto report = feed.stop();
    closing.count_down();
    CAPTURE(to_string(report));
    CHECK(report.total < 500ms);
    CHECK(report.close.verdict == Verdict::failed);
    REQUIRE(report.first_error);
    CHECK(*report.first_error == Error::too_big);
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
    auto options = quiet();
    options.inbox = {.bytes = 4 * size, .messages = 1000};
    Feed feed{to(first), options};
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
    auto options = quiet();
    options.inbox.bytes = 4 * limit;
    Feed feed{limited(staller, limit), options};
    REQUIRE(feed.start(10s));
    auto small = feed.open(limited(chatter, 1000), 10s);
    auto other = feed.open(limited(sender, limit), 10s);
    REQUIRE(small);
    REQUIRE(other);
    // For the half, which nobody can see
    REQUIRE(feed.call([&](Context ctx) -> Task<> { co_await ctx.sleep_for(100ms); }));
    half_has_come.count_down();
    for (std::size_t i = 0; i < small_count; ++i)
        REQUIRE(feed.receive(10s).value().size() == 200);
    REQUIRE(other->send("x"));
    CHECK(feed.receive(10s).value().text() == large);
}

TEST_CASE("tcp: a stop in the middle of a large message discards it, and gives its memory back")
{
    std::latch sent{1};
    RawPeer peer{[&](RawConnection& c) {
        c.send(framed(std::string(500'000, 'x')).substr(0, 200'000));
        sent.count_down();
        c.wait_for_end();
    }};
    Feed feed{to(peer), quiet()};
    REQUIRE(feed.start(10s));
    sent.wait();
    const auto report = feed.stop();
    CHECK(report.joined);
    CHECK(report.unread_messages == 0);
}

TEST_CASE(
    "spin: round trips work, and a stop is no later, where both sides look again before they sleep")
{
    RawPeer peer{[](RawConnection& c) {
        for (;;)
            c.send(framed(read_message(c)));
    }};
    auto options = quiet();
    options.spin = 1ms;
    Feed feed{to(peer), options};
    REQUIRE(feed.start(10s));
    for (int i = 0; i < 200; ++i) {
        REQUIRE(feed.send(std::to_string(i)));
        CHECK(feed.receive(10s)->text() == std::to_string(i));
    }
    CHECK(feed.receive(5ms).error() == Error::timed_out);
    const auto report = feed.stop();
    CHECK(report.clean());
    CHECK(report.total < promptly);
}
