// How often a burst of small messages asks for memory, and what follows where there is none. A program
// of its own, because it replaces operator new.
#include "support/fixture.hpp"
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"

#include <sidecar/server.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock_server.hpp>
#include <sidecar/transports/recording.hpp>
#include <sidecar/transports/tcp.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <latch>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

std::atomic<std::size_t> allocation_count{0};
/// The allocation that fails, counted from 0; below zero: none does.
thread_local constinit long fails_here = -1;
/// The same, of any thread.
std::atomic<long> fails_anywhere{-1};
/// As fails_here, of the memory that Asio recycles.
thread_local constinit long fails_in_asio_here = -1;

} // namespace

// A sanitizer has its own, which is not to be replaced.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept
{
    void* block = nullptr;
    const bool fails = fails_in_asio_here >= 0 && fails_in_asio_here-- == 0;
    return fails || ::posix_memalign(&block, alignment, bytes) != 0 ? nullptr : block;
}
#endif

void* operator new(std::size_t bytes)
{
    allocation_count.fetch_add(1, std::memory_order_relaxed);
    if (fails_here >= 0 && fails_here-- == 0)
        throw std::bad_alloc{};
    if (fails_anywhere.load(std::memory_order_relaxed) >= 0 && fails_anywhere.fetch_sub(1) == 0)
        throw std::bad_alloc{};
    if (void* const block = std::malloc(bytes))
        return block;
    throw std::bad_alloc{};
}
void* operator new[](std::size_t bytes) { return operator new(bytes); }
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete[](void* block) noexcept { std::free(block); }
void operator delete[](void* block, std::size_t) noexcept { std::free(block); }

namespace {

constexpr std::size_t count = 100'000;
const std::string message = std::string("\0\0\0\x40", 4) + std::string(64, 'x');

} // namespace

namespace {

/// Counts the allocations while a feed takes a burst in. `options`: of the transport, for a port.
template <class T, class OptionsOf>
void check_burst(OptionsOf options)
{
    std::string burst;
    for (std::size_t i = 0; i < count; ++i)
        burst += message;
    std::latch begin{1};
    RawPeer peer{[&](RawConnection& c) {
        begin.wait();
        c.send(burst);
        c.wait_for_end();
    }};
    Sidecar<T> feed{options(peer.port()), silent_options()};
    REQUIRE(feed.start(10s));
    begin.count_down();
    const auto before = allocation_count.load();
    std::size_t seen = 0;
    while (seen < count) {
        const auto first = feed.receive(10s);
        if (!first)
            break;
        seen += 1 + feed.poll([](const MessageView&) {}).value();
    }
    const auto allocations = allocation_count.load() - before;
    REQUIRE(seen == count);
    MESSAGE(allocations, " allocations for ", count, " messages in ", feed.stats().reads, " reads");
    CHECK(allocations < 1000);
}

Tcp<LengthPrefix>::Options to_port(std::uint16_t port)
{
    return {.host = "127.0.0.1", .port = port};
}

} // namespace

TEST_CASE("allocations: a burst of small messages is taken in without one per message")
{
    check_burst<Tcp<LengthPrefix>>(to_port);
}

TEST_CASE("allocations: nor does a recording of it need one per message")
{
    using Recorded = Recording<Tcp<LengthPrefix>>;
    const RecordingCounts counts;
    check_burst<Recorded>([&](std::uint16_t port) {
        return Recorded::Options{.transport = to_port(port), .file = "/dev/null", .counts = counts};
    });
    CHECK(counts.entries() >= count);
    CHECK(counts.lost() == 0);
}

TEST_CASE("allocations: a burst of small messages goes out without one per message")
{
    RawPeer peer{[](RawConnection& c) {
        std::string bytes(1 << 16, '\0');
        for (std::size_t left = count * message.size(); left != 0;)
            left -= c.read_some(bytes.data(), bytes.size());
        c.wait_for_end();
    }};
    Sidecar<Tcp<LengthPrefix>> feed{{.host = "127.0.0.1", .port = peer.port()}, silent_options()};
    REQUIRE(feed.start(10s));
    const std::string_view payload = std::string_view{message}.substr(4);
    const auto before = allocation_count.load();
    bool is_sent = true;
    for (std::size_t i = 0; i < count && is_sent; ++i)
        is_sent = feed.send(payload, 10s).has_value();
    REQUIRE(is_sent);
    REQUIRE(feed.flush(10s));
    const auto allocations = allocation_count.load() - before;
    const auto stats = feed.stats();
    MESSAGE(allocations, " allocations for ", count, " messages in ", stats.writes, " writes, ",
            stats.loop_wakeups, " wake-ups");
    // Each wake-up of the loop, and each write of a batch, may cost a few.
    CHECK(allocations < 1000 + 10 * (stats.writes + stats.loop_wakeups));
}

namespace {

Options coming_back(OnDisconnect queued)
{
    const Reconnect reconnect{.window = 1s, .max_window = 1s, .on_disconnect = queued};
    return {.reconnect = reconnect};
}

void pass(Feed& feed, Duration time)
{
    (void)feed.call("wait", [time](Context ctx) { return ctx.sleep_for(time); });
}

bool is_ok(const MessageView& message) { return message.text() == "ok"; }

} // namespace

TEST_CASE(
    "no memory: whatever allocation of a call fails, the call alone fails, and the next works")
{
    struct Call {
        std::string name;
        std::function<void(Fixture&, Link&)> run;
    };
    const std::string large(10'000, 'x');
    const Call calls[] = {
        {"send", [](auto& f, auto&) { (void)f.feed.send("x"); }},
        {"send of a large message", [&](auto& f, auto&) { (void)f.feed.send(large); }},
        {"send in time", [&](auto& f, auto&) { (void)f.feed.send(large, {.expires_after = 1ms}); }},
        {"send on this connection",
         [](auto&, auto& link) { (void)link.send("x", {.connection = 1}); }},
        {"send in the priority queue",
         [&](auto&, auto& link) {
             (void)link.send(large, {.expires_after = 1ms, .priority = Priority::high});
         }},
        {"subscribe", [](auto&, auto& link) { (void)link.subscribe("new", "subscribe", is_ok); }},
        {"subscribe again",
         [](auto&, auto& link) { (void)link.subscribe("old", "changed", is_ok); }},
        {"unsubscribe", [](auto&, auto& link) { (void)link.unsubscribe("old", "unsubscribe"); }},
        {"spawn",
         [](auto& f, auto&) {
             (void)f.feed.spawn("a task", [](Context) -> Task<> { co_return; });
         }},
        {"call", [](auto& f, auto&) { pass(f.feed, 1ms); }},
        {"open",
         [](auto& f, auto&) { (void)f.feed.template open<Mock>({.peer = MockPeer{}}, 1s); }},
        {"start and stop",
         [](auto&, auto&) {
             auto options = coming_back(OnDisconnect::keep);
             options.rate_limit = RateLimit{.messages = 5};
             options.ping_interval = 15s;
             options.overflow.policy = OverflowPolicy::drop_oldest;
             Fixture own{options};
             (void)own.feed.start(1s);
             (void)own.feed.stop();
         }},
        {"receive", [](auto& f, auto&) { (void)f.feed.receive(1s); }},
        {"next_event", [](auto& f, auto&) { (void)f.feed.next_event(1s); }},
        {"poll", [](auto& f, auto&) { (void)f.feed.poll([](const MessageView&) {}); }},
        {"native_handle", [](auto& f, auto&) { (void)f.feed.native_handle(); }},
        {"flush", [](auto& f, auto&) { (void)f.feed.flush(1s); }},
        {"stats and dump",
         [](auto& f, auto&) {
             (void)f.feed.stats();
             (void)f.feed.dump();
         }},
        {"close", [](auto&, auto& link) { (void)link.close(1s); }},
    };
    for (const auto& call : calls)
        for (const auto queued : {OnDisconnect::discard, OnDisconnect::keep})
            for (long n = 0, is_over = 0; is_over == 0; ++n) {
                CAPTURE(call.name);
                CAPTURE(n);
                REQUIRE(n < 1000);
                Fixture f{coming_back(queued)};
                REQUIRE(f.feed.start(1s));
                auto first = f.feed.link().value();
                REQUIRE(first.subscribe("old", "subscribe old"));
                REQUIRE(first.flush(1s));
                MockPeer other;
                auto second = f.feed.open<Mock>({.peer = other}, 1s).value();
                f.peer.deliver(large);
                pass(f.feed, 1ms);
                auto& link = call.name == "close" ? second : first;
                fails_here = n;
                try {
                    call.run(f, link);
                } catch (const std::bad_alloc&) {
                }
                is_over = std::exchange(fails_here, -1) >= 0;
                pass(f.feed, 1s); // what has a time has expired
                (void)f.feed.flush(1s);
                CHECK(f.feed.send("next"));
                CHECK(f.feed.send("of this one", {.connection = 1}));
                CHECK(f.feed.flush(10s));
                f.peer.drop();
                pass(f.feed, 10s);
                CHECK(f.feed.link()->connection() == 2);
                CHECK(first.subscribe("new", "subscribe anew"));
                CHECK(first.unsubscribe("old", "unsubscribe old").has_value());
                CHECK(f.feed.send("last"));
                CHECK(f.feed.flush(10s));
                const auto sent = f.peer.sent();
                for (const auto* text : {"next", "of this one", "subscribe anew", "last"})
                    CHECK(std::count(sent.begin(), sent.end(), text) == 1);
                const auto stats = f.feed.stats();
                CHECK(stats.messages_accepted == stats.messages_sent + stats.unsent);
                CHECK(stats.messages_received == stats.messages_taken + stats.inbox_messages);
                CHECK(f.feed.stop().joined);
            }
}

namespace {

Task<> wait_for_two(LoopEvent& first, LoopEvent& second, int& count)
{
    co_await first.wait();
    ++count;
    co_await second.wait();
    ++count;
}

} // namespace

TEST_CASE("no memory: an event that is set resumes its coroutine, whatever allocation fails")
{
    for (long n = 0, is_over = 0; is_over == 0; ++n) {
        CAPTURE(n);
        REQUIRE(n < 100);
        boost::asio::io_context io;
        LoopEvent first, second;
        int count = 0;
        boost::asio::co_spawn(io, wait_for_two(first, second, count), [](std::exception_ptr) {});
        io.poll();
        fails_here = n;
        for (auto* event : {&first, &second}) {
            event->set();
            try {
                io.restart();
                io.poll();
            } catch (const std::bad_alloc&) { // the coroutine's own, at its end
            }
        }
        is_over = std::exchange(fails_here, -1) >= 0;
        io.restart();
        io.poll();
        CHECK(count == 2);
    }
}

TEST_CASE("no memory: a coroutine that finds none for a wait gets bad_alloc, and is not lost")
{
    for (long n = 0, is_over = 0; is_over == 0; ++n) {
        CAPTURE(n);
        REQUIRE(n < 100);
        boost::asio::io_context io;
        boost::asio::cancellation_signal signal;
        LoopEvent event;
        bool has_waited = false, has_ended = false;
        const auto wait = [&]() -> Task<> {
            fails_in_asio_here = n;
            try {
                co_await event.wait();
            } catch (const std::bad_alloc&) {
            }
            has_waited = true;
        };
        boost::asio::co_spawn(io, wait,
                              boost::asio::bind_cancellation_slot(
                                  signal.slot(), [&](std::exception_ptr) { has_ended = true; }));
        io.poll();
        is_over = std::exchange(fails_in_asio_here, -1) >= 0;
        event.set();
        io.restart();
        io.poll();
        CHECK(has_waited);
        CHECK(has_ended);
    }
}

TEST_CASE("no memory: whatever allocation of a run fails, on either side, it ends whole")
{
    for (long n = 0, is_over = 0; is_over == 0; ++n) {
        CAPTURE(n);
        REQUIRE(n < 10'000);
        auto options = coming_back(n % 2 == 0 ? OnDisconnect::keep : OnDisconnect::discard);
        options.on_connected = [](Context, Session& session) -> Task<> {
            co_await session.send("login");
            (void)co_await session.receive();
        };
        options.ping_interval = options.ping_timeout = 1s;
        options.rate_limit = RateLimit{.messages = 5};
        Fixture f{options};
        f.peer.deliver("welcome");
        f.peer.deliver("welcome again");
        f.peer.deliver_after(5s, "ok");
        const auto attempt = [](auto call) {
            try {
                call();
            } catch (const std::bad_alloc&) {
            } catch (const Exception&) { // of value()
            }
        };
        fails_anywhere = n;
        attempt([&] { (void)f.feed.start(10s); });
        attempt([&] {
            auto link = f.feed.link().value();
            (void)link.subscribe("key", "subscribe", is_ok);
        });
        for (int i = 0; i < 10; ++i)
            attempt([&] {
                (void)f.feed.send("x",
                                  {.expires_after = i % 2 == 0 ? 1s : Duration::max(),
                                   .priority = i % 3 == 0 ? Priority::high : Priority::normal});
            });
        attempt([&] { (void)f.feed.receive(1s); });
        attempt([&] { f.peer.drop(); });
        attempt([&] { pass(f.feed, 10s); });
        attempt([&] { (void)f.feed.flush(10s); });
        attempt([&] { (void)f.feed.next_event(1s); });
        is_over = fails_anywhere.exchange(-1) >= 0;
        const auto report = f.feed.stop();
        CHECK(report.joined);
        const auto stats = f.feed.stats();
        CHECK(stats.messages_accepted == stats.messages_sent + stats.unsent);
        CHECK(stats.messages_received == stats.messages_taken + stats.inbox_messages);
        f.peer.deliver("welcome");
        // And works again; the first may meet what the peer was still to do
        CHECK((f.feed.start(10s) || f.feed.start(10s)));
        CHECK(f.feed.stop().joined);
    }
}

TEST_CASE("memory: a server accounts for each message, whichever allocation fails, and goes on")
{
    const auto key_of = [](const MessageView& message) -> std::optional<std::string_view> {
        return message.text().substr(0, 1);
    };
    const auto gap = [](std::uint64_t missing) { return "gap " + std::to_string(missing); };
    const ClientOverflow policies[] = {
        {.policy = OverflowPolicy::conflate, .key = key_of, .on_gap = gap},
        {.policy = OverflowPolicy::drop_newest, .on_gap = gap},
        {.policy = OverflowPolicy::fail, .fail_after = {}},
    };
    for (long n = 0, is_over = 0; is_over == 0; ++n) {
        CAPTURE(n);
        REQUIRE(n < 20'000);
        MockClients clients;
        Server<Mock> server{{.clients = clients,
                             .outbox = {.bytes = 4096, .messages = 4},
                             .overflow = policies[n % 3]},
                            silenced({.rate_limit = RateLimit{.messages = 50}})};
        MockPeer slow, quick;
        slow.hold_writes();
        const auto attempt = [](auto call) {
            try {
                call();
            } catch (const std::bad_alloc&) {
            } catch (const Exception&) { // of value()
            }
        };
        fails_anywhere = n;
        attempt([&] { (void)server.start(10s); });
        attempt([&] { (void)server.retain("r", "retained"); });
        for (const auto& peer : {slow, quick})
            attempt([&] { clients.connect(peer); });
        attempt([&] { pass(server, 1ms); });
        attempt([&] {
            for (auto& link : server.clients())
                (void)link.join("a group with a name that has no room in the string itself");
        });
        for (int i = 0; i < 12; ++i)
            attempt([&] {
                const std::string text(1, static_cast<char>('a' + i % 6));
                (void)server.broadcast(text + std::string(static_cast<std::size_t>(i) * 40, 'x'));
                if (i % 4 == 0)
                    pass(server, 1ms);
            });
        attempt([&] { slow.release_writes(); });
        attempt([&] { pass(server, 10s); });
        attempt([&] { quick.drop(); });
        attempt([&] { pass(server, 1ms); });
        is_over = fails_anywhere.exchange(-1) >= 0;
        // A client that is up is not stuck: it gets what comes now
        const auto links = server.clients();
        if (!links.empty()) {
            CHECK(server.broadcast("z").has_value());
            pass(server, 2s);
            for (const auto& link : links)
                CHECK((!link.is_up() || link.stats().outbox_messages == 0));
        }
        const auto report = server.stop();
        CHECK(report.joined);
        const auto stats = server.stats();
        CHECK(stats.clients == 0);
        CHECK(stats.messages_accepted == stats.messages_sent + stats.unsent);
        REQUIRE(server.start(10s)); // and works again
        auto peer = clients.connect();
        pass(server, 1ms);
        CHECK(server.broadcast("again").value() >= 1);
        pass(server, 1s);
        CHECK(!peer.sent().empty());
        CHECK(server.stop().joined);
    }
}
