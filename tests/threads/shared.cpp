// Several sidecars on one thread, each started, used and stopped by threads of its own, and waited for
// by others together; its point is to run clean under ThreadSanitizer.
#include "support/expect.hpp"
#include "support/quiet.hpp"

#include <sidecar/loop_thread.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>
#include <sidecar/wait_any.hpp>

#include <atomic>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

constexpr int feeds = 3, rounds = 15, messages = 50;

/// Starts, sends, asks and stops, again and again.
void use(Feed& feed, MockPeer& peer)
{
    for (int round = 0; round < rounds; ++round) {
        expect(feed.start(10s).has_value(), "start");
        for (int i = 0; i < messages; ++i) {
            peer.deliver("message");
            (void)feed.send("x");
        }
        expect(feed.call(
                       "a call", [](Context) -> Task<int> { co_return 1; }, 10s)
                   .has_value(),
               "call");
        (void)feed.dump();
        (void)feed.stats();
        MockPeer other;
        auto link = feed.open<Mock>({.peer = other}, 10s);
        expect(link.has_value(), "open");
        expect(feed.flush(10s).has_value(), "flush");
        const auto report = feed.stop();
        expect(report.joined && report.is_thread_shared && report.stuck.empty(), "stop");
        expect(!link->send("late"), "send after the stop");
    }
}

/// Takes what comes, of any of them, until all is over.
void take(const std::vector<Feed*>& all, const std::atomic<bool>& is_over)
{
    for (std::size_t first = 0; !is_over;) {
        const auto which = wait_any(all, 1ms, first);
        if (!which)
            continue;
        first = *which + 1;
        (void)all[*which]->poll([](const MessageView& message) { (void)message.text(); }, 10);
        (void)all[*which]->next_event(0s);
    }
}

} // namespace

int main()
{
    const LoopThread loop;
    std::vector<MockPeer> peers(feeds);
    std::vector<std::unique_ptr<Feed>> all;
    std::vector<Feed*> pointers;
    for (auto& peer : peers) {
        all.push_back(std::make_unique<Sidecar<Mock>>(Mock::Options{.peer = peer},
                                                      silenced({.thread = loop})));
        pointers.push_back(all.back().get());
    }
    std::atomic<bool> is_over{false};
    std::vector<std::thread> users, takers;
    for (int i = 0; i < 2; ++i)
        takers.emplace_back([&] { take(pointers, is_over); });
    for (std::size_t i = 0; i < feeds; ++i)
        users.emplace_back([&, i] { use(*all[i], peers[i]); });
    for (auto& user : users)
        user.join();
    is_over = true;
    for (auto& taker : takers)
        taker.join();
    expect(loop.sidecars() == 0, "all have left");
    std::printf("%d rounds of %d\n", rounds, feeds);
}
