// The demo: the application's thread computes over a live market feed while the sidecar receives
// it.
// market_feed [--url ws://host:port/path] [--messages N] [--seconds S] [--rate R] [--outage]
// Without --url it starts a feed server on the loopback. With --outage that server restarts once,
// after a second and for two. Ctrl-C stops it cleanly.
#include "feed_server.hpp"
#include "market.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/signals.hpp>
#include <sidecar/transports/websocket.hpp>

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <unistd.h>

using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

struct Arguments {
    std::string url;
    std::uint64_t messages = 0; // 0: no limit
    double seconds = 0;         // 0: no limit
    std::uint64_t rate = 20'000;
    bool outage = false;
};

template <class Number>
Number number(std::string_view name, std::string_view text)
{
    Number value{};
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (ec != std::errc{} || end != text.data() + text.size() || value < 0)
        throw std::invalid_argument{fmt::format("{} wants a number, not \"{}\"", name, text)};
    return value;
}

Arguments parse(int argc, char** argv)
{
    Arguments arguments;
    for (int i = 1; i < argc; ++i) {
        const std::string_view name = argv[i];
        if (name == "--outage") {
            arguments.outage = true;
            continue;
        }
        if (name != "--url" && name != "--messages" && name != "--seconds" && name != "--rate")
            throw std::invalid_argument{fmt::format("unknown argument \"{}\"", name)};
        if (++i == argc)
            throw std::invalid_argument{fmt::format("{} wants a value", name)};
        if (name == "--url")
            arguments.url = argv[i];
        else if (name == "--messages")
            arguments.messages = number<std::uint64_t>(name, argv[i]);
        else if (name == "--seconds")
            arguments.seconds = number<double>(name, argv[i]);
        else
            arguments.rate = number<std::uint64_t>(name, argv[i]);
    }
    if (arguments.messages == 0 && arguments.seconds == 0)
        arguments.seconds = 5;
    return arguments;
}

/// Draws in place on a terminal; prints a line a second elsewhere.
class Display {
public:
    void show(const Market& market, const sidecar::Stats& stats, double seconds, double progress)
    {
        const auto now = steady_clock::now();
        if (now < next_)
            return;
        next_ = now + (is_terminal_ ? 100ms : 1000ms);
        const auto rate = static_cast<double>(market.messages() - last_messages_)
                          / std::max(1e-9, std::chrono::duration<double>(now - last_).count());
        last_messages_ = market.messages();
        last_ = now;
        if (!is_terminal_) {
            fmt::print("{:6.1f} s  {:9} messages  {:9.0f}/s  latency p50 {:.0f} us, p99 {:.0f} us  "
                       "queued {}  {:3.0f} %\n",
                       seconds, market.messages(), rate, market.latency(0.5), market.latency(0.99),
                       stats.inbox_messages, 100 * progress);
            std::fflush(stdout);
            return;
        }
        constexpr int width = 40;
        const auto filled = static_cast<int>(progress * width);
        fmt::print("\x1b[H\x1b[J{:6.1f} s  {} messages, {:.0f}/s, {} queued (peak "
                   "{})\n[{:#<{}}{:.<{}}] {:3.0f} %\n\n{}\n{}",
                   seconds, market.messages(), rate, stats.inbox_messages,
                   stats.inbox_peak_messages, "", filled, "", width - filled, 100 * progress,
                   market.table(), market.histogram());
        std::fflush(stdout);
    }

private:
    const bool is_terminal_ = ::isatty(STDOUT_FILENO) == 1;
    steady_clock::time_point next_{}, last_ = steady_clock::now();
    std::uint64_t last_messages_ = 0;
};

int run(const Arguments& arguments)
{
    std::optional<FeedServer> server;
    auto url = arguments.url;
    if (url.empty())
        url = server.emplace(arguments.rate).url();

    // It reconnects after an outage.
    sidecar::Sidecar<sidecar::WebSocket> feed{{.url = url}, {.reconnect = sidecar::Reconnect{}}};
    const auto guard = sidecar::stop_on_signals(feed);
    if (const auto started = feed.start(5s); !started) {
        fmt::print(stderr, "market_feed: {}\n", started.error());
        return 1;
    }
    fmt::print("connected to {}\n", url);
    if (server && arguments.outage)
        server->restart(1s, 2s);

    Market market;
    Display display;
    int exit_code = 0;
    const auto began = steady_clock::now();
    for (;;) {
        const auto left =
            arguments.messages == 0 ? SIZE_MAX : arguments.messages - market.messages();
        const auto handled =
            feed.poll([&](const sidecar::MessageView& message) { market.take(message.text()); },
                      std::min<std::size_t>(left, 1024));
        if (!handled) {
            if (handled.error() == sidecar::Error::stopped)
                break; // Ctrl-C
            fmt::print(stderr, "market_feed: {}\n", handled.error());
            if (handled.error().will_retry())
                continue; // reported once; meanwhile the calculation continues
            exit_code = 1;
            break;
        }
        market.revalue(); // the heavy calculation never waits for the network
        const auto seconds = std::chrono::duration<double>(steady_clock::now() - began).count();
        const auto progress = std::min(
            1.0, std::max(arguments.messages ? static_cast<double>(market.messages())
                                                   / static_cast<double>(arguments.messages)
                                             : 0,
                          arguments.seconds > 0 ? seconds / arguments.seconds : 0));
        display.show(market, feed.stats(), seconds, progress);
        if (progress >= 1)
            break;
        if (*handled == 0) {
            if (const auto message = feed.receive(20ms))
                market.take(message->text());
            else if (message.error() != sidecar::Error::timed_out
                     && message.error() != sidecar::Error::stopped)
                fmt::print(stderr, "market_feed: {}\n", message.error());
        }
    }
    const auto report = feed.stop();
    const auto seconds = std::chrono::duration<double>(steady_clock::now() - began).count();
    fmt::print("\n{} messages in {:.2f} s ({:.0f}/s), latency from feed to application p50 {:.0f} "
               "us, p99 {:.0f} us, {} not understood\n\n{}\n{}\n{}\n\n{}\n",
               market.messages(), seconds, static_cast<double>(market.messages()) / seconds,
               market.latency(0.5), market.latency(0.99), market.strangers(), market.table(),
               market.histogram(), feed.stats(), report);
    return exit_code != 0 ? exit_code : report.clean() ? 0 : 2;
}

} // namespace

int main(int argc, char** argv)
{
    try {
        return run(parse(argc, argv));
    } catch (const std::exception& e) {
        fmt::print(stderr, "market_feed: {}\n", e.what());
        return 64;
    }
}
