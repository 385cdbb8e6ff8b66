// A game loop: each frame takes the arrived messages, within a time budget.
//   04_game_loop ws://host:port/path
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <fmt/format.h>

#include <chrono>
#include <thread>

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto frame_time = 16ms;
constexpr auto network_budget = 2ms;

/// Takes messages in small portions until none is left or the frame's budget is used up. The rest
/// waits for the next frame, and pauses the peer when the inbox is full.
sidecar::Result<std::size_t> take_messages(sidecar::Feed& feed)
{
    const auto deadline = Clock::now() + network_budget;
    std::size_t total = 0;
    for (;;) {
        const auto taken =
            feed.poll([](const sidecar::MessageView& message) { (void)message.text(); }, 64);
        if (!taken)
            return taken;
        total += *taken;
        if (*taken < 64 || Clock::now() >= deadline)
            return total;
    }
}

} // namespace

int main(int argc, char** argv)
{
    sidecar::Sidecar<sidecar::WebSocket> feed{
        {.url = argc == 2 ? argv[1] : "ws://localhost:8080/feed"}};
    feed.start(5s).value();
    std::size_t total = 0;
    auto next_frame = Clock::now();
    for (int frame = 0; frame < 60; ++frame) {
        const auto taken = take_messages(feed);
        if (taken)
            total += *taken;
        else if (!taken.error().will_retry()) // the end; the game goes on during an outage
            return fmt::print(stderr, "{}\n", taken.error()), 1;
        // ... step the world, draw ...
        std::this_thread::sleep_until(next_frame += frame_time);
    }
    fmt::print("60 frames, {} messages\n", total != 0 ? "some" : "no");
}
