// Every call of every thread at once, again and again; its point is to run clean under
// ThreadSanitizer.
#include "support/expect.hpp"
#include "support/real_mock.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <atomic>
#include <cstdio>
#include <poll.h>
#include <thread>

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

} // namespace

int main()
{
    rounds<RealMock>(30);
    rounds<Mock>(5); // whose loop takes turns with these threads
    std::puts("35 rounds");
}
