// Faults on real sockets: TCP and WebSocket, each fault alone and all together.
#include "faulty_stream.hpp"
#include "support/minimal_transport.hpp"
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"
#include "websocket/client_frames.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <sys/socket.h>
#include <vector>

namespace faults_test {

using namespace sidecar;
using namespace std::chrono_literals;
namespace asio = boost::asio;

using Kind = stream::ConnectionFaults::Kind;

// --- what differs between the two transports

template <class T>
struct Wire;

template <>
struct Wire<Tcp<Lines>> {
    static Tcp<Lines>::Options options(const RawPeer& peer, std::optional<Faults> faults = {})
    {
        return {.host = "127.0.0.1", .port = peer.port(), .faults = faults};
    }
    static void accept(RawConnection&) {}
    static std::string encode(std::string_view text) { return std::string{text} + "\n"; }
    static std::string read(RawConnection& c)
    {
        auto line = c.read_until("\n");
        line.pop_back();
        return line;
    }
};

template <>
struct Wire<WebSocket> {
    static WebSocket::Options options(const RawPeer& peer, std::optional<Faults> faults = {})
    {
        return {.url = peer.url(), .faults = faults};
    }
    static void accept(RawConnection& c) { (void)c.accept_websocket(); }
    static std::string encode(std::string_view text)
    {
        std::string bytes = "\x81";
        if (text.size() < 126) {
            bytes += static_cast<char>(text.size());
        } else {
            bytes += '\x7f';
            for (int shift = 56; shift >= 0; shift -= 8)
                bytes += static_cast<char>(text.size() >> shift & 0xff);
        }
        return bytes.append(text);
    }
    static std::string read(RawConnection& c)
    {
        const auto frame = read_client_frame(c);
        if (frame.is_close())
            throw PeerGone{"close"};
        return frame.payload;
    }
};

bool has(const Failure& failure, std::string_view text)
{
    return failure.message().find(text) != std::string::npos;
}

/// Says hello once it was asked, and nothing more. So the answer to a handshake is a read of its own.
template <class T>
void say_hello(RawConnection& c)
{
    Wire<T>::accept(c);
    (void)Wire<T>::read(c);
    c.send(Wire<T>::encode("hello"));
    c.wait_for_end();
}

/// Skips what the handshake draws; returns whether any of it stalls or is late.
template <class T>
bool has_faulty_handshake(stream::ConnectionFaults& draws)
{
    if (std::is_same_v<T, Tcp<Lines>>)
        return false;
    const auto write = draws.next(Kind::write), read = draws.next(Kind::read);
    return write.stalls || read.stalls || read.delay != Duration{};
}

/// What the peer's next read gives: the errno, or 0 for bytes or the end.
int errno_of_read(RawConnection& c)
{
    char byte = 0;
    return ::recv(c.fd(), &byte, 1, 0) < 0 ? errno : 0;
}

StopBudget short_stop() { return {.total = 2s, .drain = 50ms, .close = 50ms, .cancel = 250ms}; }

/// Stops, and checks that faults make that neither late nor dirty beyond the close.
StopReport stop_in_time(Feed& feed)
{
    const auto report = feed.stop();
    CAPTURE(to_string(report));
    CHECK(report.joined);
    CHECK(report.total < 1500ms);
    CHECK(report.cancel.verdict != Verdict::timed_out);
    return report;
}

/// Starts with more and more time until the failure has this text: a busy machine is slow.
Failure start_until(Feed& feed, std::string_view text)
{
    for (Duration timeout = 50ms;; timeout *= 4)
        if (auto failure = feed.start(timeout).error(); has(failure, text) || timeout > 5s)
            return failure;
}

/// The first seed for which this holds of the first connection's faults.
template <class Predicate>
Faults with_seed(Faults faults, Predicate holds)
{
    for (faults.seed = 1; faults.seed < 10'000; ++faults.seed)
        if (stream::ConnectionFaults draws{faults, {}}; holds(draws))
            return faults;
    FAIL("no seed");
    return faults;
}

// --- each fault alone

TEST_CASE_TEMPLATE("faults: without an end, every message arrives once, in order, both ways", T,
                   Tcp<Lines>, WebSocket)
{
    constexpr int count = 50;
    const std::string large(100'000, 'x');
    std::string answer;
    for (int i = 0; i < count; ++i)
        answer += Wire<T>::encode(std::to_string(i));
    answer += Wire<T>::encode(large);
    std::vector<std::string> got;
    RawPeer peer{[&](RawConnection& c) {
        Wire<T>::accept(c);
        c.send(answer);
        for (int i = 0; i < count; ++i)
            got.push_back(Wire<T>::read(c));
        c.send(Wire<T>::encode("got it"));
        c.wait_for_end();
    }};
    std::size_t connections = 0;
    for (const Faults& faults :
         {Faults{.seed = 1, .latency = 1, .max_latency = 1ms}, Faults{.seed = 2, .short_read = 1},
          Faults{.seed = 3, .short_write = 1}, Faults{.seed = 4, .pause = 1, .max_pause = 1ms},
          Faults{.seed = 5,
          .latency = 0.3,
          .max_latency = 1ms,
          .short_read = 0.5,
          .short_write = 0.5,
          .pause = 0.1,
          .max_pause = 2ms}}) {
        CAPTURE(to_string(faults));
        got.clear();
        {
            Sidecar<T> feed{Wire<T>::options(peer, faults), silent_options(short_stop())};
            REQUIRE(feed.start(10s));
            for (int i = 0; i < count; ++i)
                REQUIRE(feed.send(std::to_string(i)));
            for (int i = 0; i < count; ++i)
                REQUIRE(feed.receive(10s).value().text() == std::to_string(i));
            CHECK(feed.receive(10s).value().text() == large);
            CHECK(feed.receive(10s).value().text() == "got it");
        }
        REQUIRE(peer.wait_for_ended(++connections));
        REQUIRE(got.size() == count);
        for (int i = 0; i < count; ++i)
            CHECK(got[static_cast<std::size_t>(i)] == std::to_string(i));
    }
}

TEST_CASE_TEMPLATE("faults: a reset has the system's code, names its origin, and reaches the peer",
                   T, Tcp<Lines>, WebSocket)
{
    std::atomic<int> peer_errno{-1};
    RawPeer peer{[&](RawConnection& c) {
        if constexpr (std::is_same_v<T, Tcp<Lines>>)
            c.send("hello\n");
        peer_errno = errno_of_read(c);
    }};
    std::vector<std::string> log; // guarded by mutex
    std::mutex mutex;
    auto options = silent_options(short_stop());
    options.log = [&](LogLevel level, std::string_view line) {
        const std::lock_guard lock{mutex};
        log.push_back(fmt::format("{}: {}", to_string(level), line));
    };
    Sidecar<T> feed{Wire<T>::options(peer, Faults{.seed = 7, .reset = 1}), options};
    const auto started = feed.start(10s);
    REQUIRE(started.has_value() == std::is_same_v<T, Tcp<Lines>>);
    const auto failure = started ? feed.receive(10s).error() : started.error();
    CAPTURE(failure.message());
    CHECK(failure == (started ? Error::disconnected : Error::connect_failed));
    CHECK(failure.cause() == asio::error::connection_reset);
    CHECK(has(failure, fmt::format("injected by Faults: a reset at {} 1 (seed 7, link 0, "
                                   "connection 1, attempt 1)",
                                   started ? "read" : "write")));
    REQUIRE(peer.wait_for_ended(1));
    CHECK(peer_errno == ECONNRESET);
    stop_in_time(feed);
    const std::lock_guard lock{mutex};
    const auto warning = fmt::format("warning: Faults are injected into the connection to {}: "
                                     "seed=7,reset=1",
                                     T::endpoint(Wire<T>::options(peer)));
    CHECK(std::count(log.begin(), log.end(), warning) == 1);
}

TEST_CASE_TEMPLATE("faults: a refused connect is one of the system's, and the peer sees none", T,
                   Tcp<Lines>, WebSocket)
{
    std::atomic<int> accepted{0};
    RawPeer peer{[&](RawConnection& c) {
        ++accepted;
        Wire<T>::accept(c);
        c.wait_for_end();
    }};
    Sidecar<T> feed{Wire<T>::options(peer, Faults{.refuse = 1}), silent_options(short_stop())};
    const auto failure = feed.start(10s).error();
    CHECK(failure == Error::connect_failed);
    CHECK(failure.cause() == asio::error::connection_refused);
    CHECK(has(failure, "injected by Faults: a refusal at connect 1 (seed 0, "));
    REQUIRE(failure.trace());
    REQUIRE(failure.trace()->attempts.size() == 1);
    CHECK(failure.trace()->attempts[0].outcome == "Connection refused");

    // The next attempts draw anew, so that a link that tries again comes up
    const auto faults =
        with_seed({.refuse = 0.5}, [](auto& draws) { return draws.next(Kind::connect).fails; });
    auto options = silent_options(short_stop());
    options.reconnect =
        Reconnect{.window = 1ms, .max_window = 1ms, .busy_delay = {}, .at_start = true};
    std::set<std::uint64_t> failed;
    for (int i = 0; i < 2; ++i) {
        Sidecar<T> again{Wire<T>::options(peer, faults), options};
        REQUIRE(again.start(10s));
        failed.insert(again.stats().failed_attempts);
        CHECK(again.stop().joined);
    }
    CHECK(failed.size() == 1);
    CHECK(*failed.begin() >= 1);
    CHECK(accepted == 2);
}

TEST_CASE("faults: a connect to a Unix-domain socket is refused too")
{
    Sidecar<Tcp<Lines>> feed{{.host = "unix:@sidecar-faults", .faults = Faults{.refuse = 1}},
                             silent_options(short_stop())};
    const auto failure = feed.start(10s).error();
    CHECK(failure.cause() == asio::error::connection_refused);
    CHECK(has(failure, "injected by Faults: a refusal at connect 1"));
}

TEST_CASE("faults: they are on the way to a proxy too")
{
    RawPeer proxy{[](RawConnection& c) { c.wait_for_end(); }};
    for (const auto& [faults, fault] : {std::pair{Faults{.refuse = 1}, "a refusal at connect 1"},
                                        std::pair{Faults{.reset = 1}, "a reset at write 1"}}) {
        Sidecar<Tcp<Lines>> feed{
            {.host = "feed.example",
             .port = 4711,
             .proxy = {.url = fmt::format("http://127.0.0.1:{}", proxy.port())},
             .faults = faults},
            silent_options(short_stop())};
        const auto failure = feed.start(10s).error();
        CAPTURE(failure.message());
        CHECK(failure == Error::connect_failed);
        CHECK(has(failure, "the proxy"));
        CHECK(has(failure, fmt::format("injected by Faults: {}", fault)));
    }
}

TEST_CASE_TEMPLATE("faults: a late connect obeys the time of the start, and the stop", T,
                   Tcp<Lines>, WebSocket)
{
    RawPeer peer{[](RawConnection& c) {
        Wire<T>::accept(c);
        c.wait_for_end();
    }};
    const Faults faults{.seed = 1, .latency = 1, .max_latency = 24h};
    Sidecar<T> feed{Wire<T>::options(peer, faults), silent_options(short_stop())};
    constexpr std::string_view fault = "injected by Faults: connect 1 is late by ";
    const auto failure = start_until(feed, fault);
    CHECK(failure == Error::timed_out);
    CHECK(has(failure, fault));
    stop_in_time(feed);
    REQUIRE(feed.start_in_background());
    CHECK_FALSE(feed.wait_started(20ms));
    stop_in_time(feed);
}

TEST_CASE_TEMPLATE("faults: a stalled connection seems to be up, until a time is over", T,
                   Tcp<Lines>, WebSocket)
{
    RawPeer peer{say_hello<T>};
    if constexpr (std::is_same_v<T, WebSocket>) { // the handshake gets no answer
        Sidecar<T> feed{Wire<T>::options(peer, Faults{.stall = 1}), silent_options(short_stop())};
        constexpr std::string_view fault = "injected by Faults: a stall after write 1";
        const auto failure = start_until(feed, fault);
        CHECK(failure == Error::timed_out);
        CHECK(has(failure, fault));
        stop_in_time(feed);
    }
    // The hello is read, and then nothing moves
    const auto faults = with_seed({.stall = 0.3}, [](auto& draws) {
        return !has_faulty_handshake<T>(draws) && !draws.next(Kind::write).stalls
               && draws.next(Kind::read).stalls;
    });
    for (const bool by_link : {false, true}) {
        CAPTURE(by_link);
        Sidecar<T> feed{Wire<T>::options(peer, faults), silent_options(short_stop())};
        REQUIRE(feed.start(10s));
        REQUIRE(feed.send("hello?"));
        CHECK(feed.receive(10s).value().text() == "hello");
        REQUIRE(feed.send("into the void"));
        CHECK(feed.flush(20ms) == Error::timed_out);
        CHECK(feed.receive(20ms) == Error::timed_out);
        CHECK(feed.dump().find("the end of a stall injected by Faults") != std::string::npos);
        if (by_link) {
            const auto closed = feed.link().value().close(50ms);
            CHECK(closed == Error::timed_out);
        }
        const auto report = stop_in_time(feed);
        CHECK(report.unsent_messages == 1);
        if (!by_link)
            CHECK_FALSE(report.clean());
    }
}

TEST_CASE("faults: liveness finds a stalled peer, and names the stall")
{
    RawPeer peer{say_hello<WebSocket>};
    const auto faults = with_seed({.stall = 0.3}, [](auto& draws) {
        return !has_faulty_handshake<WebSocket>(draws) && !draws.next(Kind::write).stalls
               && draws.next(Kind::read).stalls;
    });
    auto options = silent_options(short_stop());
    options.ping_interval = options.ping_timeout = 200ms;
    Sidecar<WebSocket> feed{Wire<WebSocket>::options(peer, faults), options};
    REQUIRE(feed.start(10s));
    REQUIRE(feed.send("hello?"));
    CHECK(feed.receive(10s).value().text() == "hello");
    const auto failure = feed.receive(10s).error();
    CAPTURE(failure.message());
    CHECK(failure == Error::unresponsive);
    CHECK(has(failure, "injected by Faults: a stall after read 2"));
    stop_in_time(feed);
}

TEST_CASE_TEMPLATE("faults: a stop, an abort and a failure do not wait for the end of a pause", T,
                   Tcp<Lines>, WebSocket)
{
    RawPeer peer{say_hello<T>};
    // Only the hello pauses; a day has room for a fraction that is not small
    const auto faults = with_seed({.pause = 0.3, .max_pause = 24h}, [](auto& draws) {
        return !has_faulty_handshake<T>(draws) && draws.next(Kind::read).delay > 1h;
    });
    auto options = silent_options(short_stop());
    for (const bool drops : {false, true}) {
        CAPTURE(drops);
        if (drops) {
            options.idle_timeout = 300ms;
            options.on_idle = OnIdle::drop;
        }
        Sidecar<T> feed{Wire<T>::options(peer, faults), options};
        REQUIRE(feed.start(10s));
        REQUIRE(feed.send("hello?"));
        const auto failure = feed.receive(drops ? 10s : 20ms).error();
        CHECK(failure == (drops ? Error::unresponsive : Error::timed_out));
        if (drops)
            CHECK(has(failure, "injected by Faults: read "));
        stop_in_time(feed);
    }
}

// --- all together

TEST_CASE_TEMPLATE("faults: over many seeds, a reconnecting link receives each connection's "
                   "messages in order, and the peer no message twice",
                   T, Tcp<Lines>, WebSocket)
{
    constexpr int count = 20;
    std::uint64_t failures = 0;
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
        CAPTURE(seed);
        const Faults faults{.seed = seed,
                            .latency = 0.2,
                            .max_latency = 200us,
                            .short_read = 0.5,
                            .short_write = 0.5,
                            .pause = 0.1,
                            .max_pause = 1ms,
                            .reset = 0.1,
                            .refuse = 0.2,
                            .stall = 0.01};
        auto options = silent_options(short_stop());
        options.reconnect = Reconnect{.window = 1ms,
                                      .max_window = 2ms,
                                      .busy_delay = {},
                                      .connect_timeout = 500ms,
                                      .at_start = true,
                                      .on_disconnect = OnDisconnect::keep};
        options.idle_timeout = 50ms;
        options.on_idle = OnIdle::drop;
        std::vector<std::string> got;
        {
            RawPeer peer{[&, connection = 0](RawConnection& c) mutable {
                ++connection;
                Wire<T>::accept(c);
                for (int i = 0; i < count; ++i)
                    c.send(Wire<T>::encode(fmt::format("{}:{}", connection, i)));
                for (;;)
                    got.push_back(Wire<T>::read(c));
            }};
            Sidecar<T> feed{Wire<T>::options(peer, faults), options};
            REQUIRE(feed.start(20s));
            for (int i = 0; i < count; ++i)
                REQUIRE(feed.send(std::to_string(i)));
            std::map<std::string, int> next; // by the peer's connection
            for (int complete = 0; complete < 2;) {
                const auto event = feed.next_event(20s);
                REQUIRE(event);
                if (event->kind == Event::Kind::down || event->kind == Event::Kind::retry) {
                    ++failures;
                    const auto error = event->failure->error();
                    if (error != Error::unresponsive && error != Error::timed_out) // may be slow
                        CHECK(has(*event->failure, "injected by Faults: "));
                }
                if (event->kind != Event::Kind::message)
                    continue;
                const std::string text{event->message.text()};
                const auto colon = text.find(':');
                const auto number = std::stoi(text.substr(colon + 1));
                CHECK(number == next[text.substr(0, colon)]++);
                complete += number == count - 1;
            }
            CHECK(feed.stop().joined);
        }
        int last = -1;
        for (const auto& text : got) {
            CHECK(std::stoi(text) > last);
            last = std::stoi(text);
        }
    }
    CHECK(failures >= 10);
}

TEST_CASE_TEMPLATE("faults: the same seed gives the same outcome", T, Tcp<Lines>, WebSocket)
{
    RawPeer peer{[](RawConnection& c) {
        Wire<T>::accept(c);
        for (;;)
            c.send(Wire<T>::encode(Wire<T>::read(c)));
    }};
    std::set<std::string> outcomes;
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
        CAPTURE(seed);
        const auto run = [&] {
            const Faults faults{.seed = seed,
                                .latency = 0.1,
                                .max_latency = 200us,
                                .short_read = 0.5,
                                .short_write = 0.5,
                                .reset = 0.02};
            Sidecar<T> feed{Wire<T>::options(peer, faults), silent_options(short_stop())};
            if (const auto started = feed.start(10s); !started)
                return started.error().message();
            for (int i = 0; i < 10'000; ++i) {
                // One question at a time: then the system cannot divide the bytes differently
                const auto sent = feed.send(fmt::format("question {}", i));
                if (const auto echo = feed.receive(10s); !echo || !sent)
                    return fmt::format("{}: {}", i, echo.error().message());
                else
                    CHECK(echo->text() == fmt::format("question {}", i));
            }
            return std::string{"no end"};
        };
        const auto first = run();
        CHECK(has({Error::disconnected, {.explanation = first}}, "injected by Faults: a reset at"));
        CHECK(run() == first);
        outcomes.insert(first);
    }
    CHECK(outcomes.size() == 8);
}

// --- from the environment

struct Variable {
    explicit Variable(const char* value) { set(value); }
    ~Variable() { ::unsetenv("SIDECAR_FAULTS"); }
    static void set(const char* value) { ::setenv("SIDECAR_FAULTS", value, 1); }
};

TEST_CASE_TEMPLATE("faults: the environment counts where the options allow it", T, Tcp<Lines>,
                   WebSocket)
{
    RawPeer peer{[](RawConnection& c) {
        Wire<T>::accept(c);
        c.wait_for_end();
    }};
    const auto start = [&](bool is_allowed, std::optional<Faults> faults = {}) {
        auto options = Wire<T>::options(peer, faults);
        options.faults_from_environment = is_allowed;
        Sidecar<T> feed{options, silent_options(short_stop())};
        return feed.start(10s);
    };
    const Variable variable{"refuse=1"};
    CHECK(start(false));
    CHECK(start(true).error().cause() == asio::error::connection_refused);
    CHECK(start(true, Faults{})); // explicit options come first

    Variable::set("");
    CHECK(start(true));
    ::unsetenv("SIDECAR_FAULTS");
    CHECK(start(true));

    Variable::set("seed=7,reset=often");
    CHECK(start(false));
    CHECK(start(true, Faults{}));
    const auto bad = start(true).error();
    CHECK(bad == Error::bad_options);
    CHECK(has(bad, "the variable SIDECAR_FAULTS: reset must be a number from 0 to 1"));
    CHECK_FALSE(has(bad, "often"));
}

TEST_CASE_TEMPLATE("faults: rates that make no sense are bad options", T, Tcp<Lines>, WebSocket)
{
    RawPeer peer{[](RawConnection& c) { c.wait_for_end(); }};
    Sidecar<T> feed{Wire<T>::options(peer, Faults{.reset = 2}), silent_options()};
    const auto failure = feed.start(10s).error();
    CHECK(failure == Error::bad_options);
    CHECK(has(failure, "faults: reset must be a number from 0 to 1"));
}

TEST_CASE("faults: a reconnect uses the values of the start, whatever the environment is now")
{
    RawPeer peer{[](RawConnection& c) {
        c.send("hello\n");
        c.wait_for_end();
    }};
    const Variable variable{"reset=1"};
    auto tcp = Wire<Tcp<Lines>>::options(peer);
    tcp.faults_from_environment = true;
    auto options = silent_options(short_stop());
    options.reconnect = Reconnect{.window = 1ms, .max_window = 1ms, .busy_delay = {}};
    Sidecar<Tcp<Lines>> feed{tcp, options};
    REQUIRE(feed.start(10s));
    Variable::set("nonsense");
    for (std::uint32_t connection = 1; connection <= 3;) {
        const auto event = feed.next_event(10s);
        REQUIRE(event);
        if (event->kind != Event::Kind::down)
            continue;
        CHECK(has(*event->failure,
                  fmt::format("injected by Faults: a reset at read 1 (seed 0, link 0, "
                              "connection {}, attempt {})",
                              connection, connection)));
        ++connection;
    }
    CHECK(feed.stop().joined);
}

TEST_CASE("faults: each link of a feed, and each start, has its own reproducible faults")
{
    RawPeer peer{[](RawConnection& c) { c.wait_for_end(); }};
    const auto tcp = Wire<Tcp<Lines>>::options(peer, Faults{.seed = 1, .refuse = 0.5});
    const auto run = [&] {
        std::string text;
        auto first = tcp;
        first.faults.reset();
        Sidecar<Tcp<Lines>> feed{first, silent_options(short_stop())};
        REQUIRE(feed.start(10s));
        for (int i = 0; i < 12; ++i)
            text += feed.open<Tcp<Lines>>(tcp, 10s) ? '+' : '-';
        CHECK(feed.stop().joined);
        return text;
    };
    const auto text = run();
    CHECK(run() == text);
    CHECK(text.find('+') != text.npos);
    CHECK(text.find('-') != text.npos);
}

// --- what a transport needs for it

/// Breaks at a word, and has something to say about it.
class Noting : public MinimalTransport {
public:
    Noting(const Options& options, const Attempt& attempt = {})
        : MinimalTransport{options}, attempt_{attempt}
    {
    }
    Task<> connect(Context)
    {
        if (attempt_.connection == 2 && attempt_.number < 4)
            throw Exception{Failure{Error::connect_failed}};
        if (attempt_.connection == 3)
            throw Exception{Failure{Error::login_refused}};
        co_return;
    }
    Task<> write(Context, Batch) { throw Exception{Failure{Error::disconnected}}; }
    [[nodiscard]] std::string failure_note() const
    {
        return fmt::format("note of {}, {}, {}", static_cast<std::uint32_t>(attempt_.link),
                           attempt_.connection, attempt_.number);
    }

private:
    const Attempt attempt_;
};

TEST_CASE("transport: it sees its attempt, and its note is in each failure of the network")
{
    auto options = silent_options(short_stop());
    options.reconnect = Reconnect{.window = 1ms, .max_window = 1ms, .busy_delay = {}};
    Sidecar<Noting> feed{{}, options};
    REQUIRE(feed.start(10s));
    std::vector<std::string> notes;
    REQUIRE(feed.send("break"));
    while (notes.size() < 4) {
        const auto event = feed.next_event(10s);
        REQUIRE(event);
        if (event->kind == Event::Kind::up && event->connection == 2)
            REQUIRE(feed.send("break"));
        if (event->failure)
            notes.push_back(event->failure->explanation());
    }
    CHECK(notes
          == std::vector<std::string>{"note of 0, 1, 1", "note of 0, 2, 2", "note of 0, 2, 3",
                                      "note of 0, 2, 4"});
    const auto last = feed.next_event(10s); // of connection 3: no failure of the network
    REQUIRE(last);
    REQUIRE(last->failure);
    CHECK(*last->failure == Error::login_refused);
    CHECK(last->failure->explanation().empty());
    CHECK(feed.stop().joined);
}

} // namespace faults_test
