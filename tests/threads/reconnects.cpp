// Sends, subscriptions, questions and stops, of many threads, while the link comes and goes; its
// point is to run clean under ThreadSanitizer.
#include "support/expect.hpp"
#include "support/real_mock.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <fmt/format.h>

#include <atomic>
#include <thread>
#include <vector>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

/// Until the feed stops.
template <class Body>
void repeat(Feed& feed, Body body)
{
    for (int n = 0; feed.state() != State::stopping && feed.state() != State::stopped; ++n)
        body(n);
}

template <class T>
void round(OnDisconnect queued)
{
    MockPeer peer;
    Sidecar<T> feed{
        {.peer = peer},
        silenced({.outbox = {.bytes = 16u << 10, .messages = 64},
                  .reconnect = Reconnect{.window = 2ms, .max_window = 2ms, .on_disconnect = queued},
                  .on_connected = [](Context ctx, Session& session) -> Task<> {
                      co_await session.send("login");
                      co_await ctx.sleep_for(1ms);
                  }})};
    expect(feed.start(10s).has_value(), "start");
    const auto link = feed.link().value();
    std::atomic<std::uint64_t> downs{0};
    std::vector<std::thread> threads;
    const auto run = [&](auto body) { threads.emplace_back(body); };
    run([&] {
        for (auto message = feed.receive(1s); message || !(message.error() == Error::stopped);
             message = feed.receive(1s))
            downs += !message && message.error() == Error::disconnected ? 1 : 0;
    });
    run([&] {
        repeat(feed, [&](int n) {
            auto mine = link;
            if (n % 4 == 0)
                (void)mine.send("waits", 5ms);
            else if (n % 4 == 1)
                (void)mine.send("bound", {.connection = mine.connection()});
            else if (n % 4 == 2)
                (void)mine.flush(2ms);
            else
                (void)mine.send("plain");
        });
    });
    run([&] {
        repeat(feed, [&](int n) {
            auto mine = link;
            const auto key = fmt::format("key {}", n % 7);
            (void)mine.subscribe(key, "sub " + key, [](const MessageView&) { return true; });
            if (n % 3 == 0)
                (void)mine.unsubscribe(key, "unsub " + key);
            (void)mine.subscription_state(key);
            (void)mine.subscription_counts();
        });
    });
    run([&] {
        repeat(feed, [&](int) {
            peer.deliver("something");
            (void)feed.call("a while", [](Context ctx) { return ctx.sleep_for(3ms); });
            peer.drop();
            peer.forget();
        });
    });
    run([&] {
        repeat(feed, [&](int) {
            (void)feed.stats();
            (void)feed.dump();
            (void)link.is_up();
            (void)link.protocol();
        });
    });
    run([&] {
        repeat(feed, [&](int) {
            MockPeer other;
            if (auto opened = feed.open({.peer = other}, 1s, {.reconnect = Reconnect{}}))
                (void)opened->close(100ms);
        });
    });
    while (downs < 20)
        std::this_thread::yield();
    const auto report = feed.stop();
    for (auto& thread : threads)
        thread.join();
    expect(report.joined, "joined");
    const auto stats = feed.stats();
    expect(stats.messages_accepted == stats.messages_sent + stats.unsent, "sends add up");
    expect(stats.unsent == report.unsent_messages, "the report says the same");
}

} // namespace

int main()
{
    for (int i = 0; i < 3; ++i) {
        round<RealMock>(OnDisconnect::discard);
        round<RealMock>(OnDisconnect::keep);
    }
    round<Mock>(OnDisconnect::keep); // whose loop takes turns with these threads
}
