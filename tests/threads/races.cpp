// Every call of every thread at once, again and again; its point is to run clean under
// ThreadSanitizer.
#include "support/expect.hpp"
#include "support/real_mock.hpp"
#include "support/silent_options.hpp"

#include <sidecar/server.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>
#include <sidecar/transports/mock_server.hpp>

#include <atomic>
#include <cstdio>
#include <optional>
#include <poll.h>
#include <string_view>
#include <thread>
#include <vector>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

template <class T>
void round(Feed& feed, MockPeer& peer)
{
    expect(feed.start(10s).has_value(), "start");
    const int fd = feed.native_handle().value();
    std::atomic<std::uint64_t> received{0}, queued{0};
    const auto sent_before = peer.sent().size();
    std::vector<std::thread> threads;
    const auto run = [&](auto body) { threads.emplace_back(body); };
    for (int i = 0; i < 2; ++i) {
        run([&] {
            while (auto message = feed.receive(Duration::max()))
                ++received;
        });
        run([&] {
            for (int n = 0;; ++n) {
                const auto result =
                    n % 16 == 0 ? feed.send("waits", Duration::max()) : feed.send("does not");
                if (result)
                    ++queued;
                else if (result.error() == Error::stopping || result.error() == Error::stopped)
                    return;
            }
        });
    }
    run([&] {
        for (;;) {
            pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
            ::poll(&entry, 1, 100);
            const auto count =
                feed.poll([](const MessageView& message) { (void)message.text(); }, 10);
            if (!count)
                return;
            received += *count;
        }
    });
    run([&] {
        while (feed.state() != State::stopped) {
            (void)feed.dump();
            (void)feed.stats();
            (void)feed.errors();
            (void)feed.flush(1ms);
        }
    });
    run([&] {
        for (;;) {
            MockPeer other;
            auto link = feed.open<T>({.peer = other}, 10s);
            if (!link)
                return;
            other.deliver("over another link");
            (void)link->send("x");
            if (!feed.call("a call", [](Context) -> Task<int> { co_return 1; }))
                return;
            if (link->id() == LinkId{20})
                return;
        }
    });
    for (int i = 0; i < 200; ++i)
        peer.deliver("message");
    run([&] { feed.request_stop(); });
    run([&] { expect(feed.stop().joined, "another stop"); });
    const auto report = feed.stop();
    for (auto& thread : threads)
        thread.join();
    (void)feed.stop(); // reports a request that came after that stop
    expect(report.joined && report.stuck.empty(), "stop");
    const auto stats = feed.stats();
    expect(stats.messages_taken == received, "received messages are counted");
    expect(stats.messages_received == stats.messages_taken + stats.inbox_messages,
           "every message is accounted for");
    expect(stats.messages_accepted == stats.messages_sent + report.unsent_messages,
           "every sent message is accounted for");
    expect(peer.sent().size() - sent_before <= queued, "nothing is written twice");
}

template <class T>
void rounds(int count)
{
    MockPeer peer;
    Sidecar<T> feed{{.peer = peer}, silenced({.outbox = {.bytes = 1 << 16, .messages = 64}})};
    for (int i = 0; i < count; ++i)
        round<T>(feed, peer);
}

/// The mock's acceptor on real time.
class RealAcceptor {
public:
    using Client = RealMock;
    using Options = Mock::Acceptor::Options;

    explicit RealAcceptor(const Options& options) : acceptor_{options} {}
    Task<> bind(Context ctx) { return acceptor_.bind(ctx); }
    Task<RealMock::Options> accept(Context ctx) { return acceptor_.accept(ctx); }
    void close() noexcept { acceptor_.close(); }
    void abort() noexcept { acceptor_.abort(); }

private:
    Mock::Acceptor acceptor_;
};

/// Threads broadcast, send, join, close and look while clients come, read slowly and go.
template <class A>
void server_round(const ClientOverflow& overflow, int round)
{
    MockClients clients;
    Server<A> server{
        {.clients = clients, .outbox = {.bytes = 1 << 14, .messages = 8}, .overflow = overflow},
        silenced({})};
    expect(server.start(10s).has_value(), "start the server");
    std::vector<std::thread> threads;
    std::atomic<bool> is_over{false};
    const auto until_stopped = [&](auto body) {
        threads.emplace_back([&is_over, body] {
            for (std::uint64_t n = 0; !is_over; ++n)
                body(n);
        });
    };
    for (int i = 0; i < 2; ++i)
        until_stopped([&](std::uint64_t n) {
            BroadcastOptions options;
            if (n % 4 == 1)
                options.group = "g";
            if (n % 4 == 2)
                options.to = [](LinkId id) { return static_cast<unsigned>(id) % 2 == 0; };
            if (n % 16 == 3)
                options.retain_as = n % 32 == 3 ? "a" : "b";
            (void)server.broadcast(n % 2 == 0 ? "a:" : "b:", options);
        });
    until_stopped([&](std::uint64_t n) {
        for (auto& link : server.clients()) {
            (void)(n % 2 == 0 ? link.send("to one") : link.flush({}));
            (void)link.join("g");
            if (n % 3 == 0)
                (void)link.leave("g").has_value();
            if (n % 16 == 0)
                (void)link.close(n % 32 == 0 ? 10s : 0s);
        }
    });
    until_stopped([&](std::uint64_t n) {
        std::vector<MockPeer> peers;
        for (int i = 0; i < 4; ++i)
            peers.push_back(clients.connect());
        peers[0].hold_writes();
        peers[1].deliver("hello");
        std::this_thread::sleep_for(1ms);
        peers[0].release_writes();
        for (auto& peer : peers)
            if (n % 2 == 0)
                peer.drop();
    });
    until_stopped([&](std::uint64_t) {
        const auto stats = server.stats();
        expect(stats.messages_accepted >= stats.messages_sent + stats.unsent,
               "counts of the server");
        (void)server.dump();
        auto listener = server.listener();
        if (listener)
            (void)listener->stats();
    });
    threads.emplace_back([&] {
        while (auto event = server.next_event(Duration::max())) {
        }
    });
    for (int i = 0; server.stats().clients_accepted < 8; ++i) {
        expect(i < 10'000, "clients come");
        std::this_thread::sleep_for(1ms);
    }
    std::this_thread::sleep_for(20ms);
    if (round % 3 == 0)
        if (auto listener = server.listener())
            expect(!listener->close(10s) || listener->client_count() == 0, "close the listener");
    const auto report = server.stop();
    is_over = true;
    for (auto& thread : threads)
        thread.join();
    expect(report.joined && report.stuck.empty(), "stop the server");
    const auto stats = server.stats();
    expect(stats.clients == 0, "no client is left");
    expect(stats.messages_accepted == stats.messages_sent + report.unsent_messages,
           "every broadcast is accounted for");
}

std::optional<std::string_view> key_of(const MessageView& message)
{
    return message.text().substr(0, 2);
}

void server_rounds(int count)
{
    const ClientOverflow policies[] = {
        {.on_gap = [](std::uint64_t) { return "gap"; }},
        {.policy = OverflowPolicy::drop_newest},
        {.policy = OverflowPolicy::conflate, .key = key_of},
        {.policy = OverflowPolicy::fail, .fail_after = {}},
    };
    for (int i = 0; i < count; ++i)
        server_round<RealAcceptor>(policies[i % 4], i);
}

} // namespace

int main()
{
    server_rounds(12);
    rounds<RealMock>(30);
    rounds<Mock>(5); // whose loop takes turns with these threads
    std::puts("47 rounds");
}
