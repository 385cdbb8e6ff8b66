// The demo: the application's thread computes over a live market feed while the sidecar receives
// it.
// market_feed [--url ws://host:port/path] [--messages N] [--seconds S] [--rate R] [--outage]
//             [--port N] [--open]
// Without --url it starts a feed server on the loopback. With --outage that server restarts once,
// after a second and for two. A browser sees the prices at the address in the last line; --open
// starts one. Without --messages and --seconds it ends after five seconds, or after ten minutes if
// somebody looks: on a terminal, or with --open. Ctrl-C stops it cleanly.
#include "feed_server.hpp"
#include "market.hpp"
#include "page.hpp"

#include <sidecar/json.hpp>
#include <sidecar/prometheus.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/signals.hpp>
#include <sidecar/transports/websocket_server.hpp>

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>
#include <spawn.h>
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
    std::optional<std::uint16_t> port{}; // of the page; empty: 8080, or any if that is taken
    bool outage = false, open = false;
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
        if (name == "--outage" || name == "--open") {
            (name == "--open" ? arguments.open : arguments.outage) = true;
            continue;
        }
        if (name != "--url" && name != "--messages" && name != "--seconds" && name != "--rate"
            && name != "--port")
            throw std::invalid_argument{fmt::format("unknown argument \"{}\"", name)};
        if (++i == argc)
            throw std::invalid_argument{fmt::format("{} wants a value", name)};
        if (name == "--url")
            arguments.url = argv[i];
        else if (name == "--messages")
            arguments.messages = number<std::uint64_t>(name, argv[i]);
        else if (name == "--seconds")
            arguments.seconds = number<double>(name, argv[i]);
        else if (name == "--port")
            arguments.port = number<std::uint16_t>(name, argv[i]);
        else
            arguments.rate = number<std::uint64_t>(name, argv[i]);
    }
    if (arguments.messages == 0 && arguments.seconds == 0)
        arguments.seconds = arguments.open || ::isatty(STDOUT_FILENO) == 1 ? 600 : 5;
    return arguments;
}

/// The page, and what it draws: a listener on the application's own feed.
class Page {
public:
    Page(sidecar::Feed& feed, std::optional<std::uint16_t> port) : feed_{feed}
    {
        auto listener = listen(port.value_or(8080));
        if (!listener && !port)
            listener = listen(0);
        listener_ = std::move(listener).value();
    }
    [[nodiscard]] std::string address() const { return "http://" + listener_->address() + "/"; }
    void publish(const Market& market, const sidecar::Stats& stats)
    {
        const auto now = steady_clock::now();
        if (now < next_)
            return;
        const auto elapsed = std::chrono::duration<double>(now - last_).count();
        const auto rate = static_cast<double>(market.messages() - last_messages_) / elapsed;
        next_ = now + 100ms;
        last_ = now;
        last_messages_ = market.messages();
        (void)listener_->broadcast(
            fmt::format(
                R"({{"rate":{:.0f},"p50_us":{:.0f},"p99_us":{:.0f},"instruments":{},"stats":{}}})",
                rate, market.latency(0.5), market.latency(0.99), market.json(),
                sidecar::to_json(stats)),
            {.retain_as = "state"}); // a new viewer sees something at once
    }

private:
    sidecar::Result<sidecar::Listener> listen(std::uint16_t port)
    {
        const auto metrics = [&feed = feed_] { return sidecar::to_prometheus(feed.stats()); };
        return feed_.listen<sidecar::WebSocket>(
            {.port = port,
             .path = "/live",
             .pages = {{"/", {.bytes = page}},
                       {"/metrics",
                        {.content_type = "text/plain; version=0.0.4; charset=utf-8",
                         .make = metrics}}},
             // A viewer that does not keep up gets the newest state
             .overflow = {.policy = sidecar::OverflowPolicy::conflate,
                          .key = [](const sidecar::MessageView&) { return "state"; }}},
            1s);
    }

    sidecar::Feed& feed_;
    std::optional<sidecar::Listener> listener_;
    steady_clock::time_point next_{}, last_ = steady_clock::now();
    std::uint64_t last_messages_ = 0;
};

void open_browser(std::string address)
{
    std::string program = "xdg-open";
    char* arguments[] = {program.data(), address.data(), nullptr};
    ::pid_t child = 0; // ends by itself
    if (const int error = ::posix_spawnp(&child, "xdg-open", nullptr, nullptr, arguments, environ))
        fmt::print(stderr, "market_feed: xdg-open: {}\n", std::strerror(error));
}

/// Draws in place on a terminal; prints two lines a second elsewhere. The last has the page's
/// address.
class Display {
public:
    explicit Display(std::string address) : address_{std::move(address)}
    {
        fmt::print("{}\n", address_), std::fflush(stdout);
    }

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
                       "queued {}  {:3.0f} %\n{}\n",
                       seconds, market.messages(), rate, market.latency(0.5), market.latency(0.99),
                       stats.inbox_messages, 100 * progress, address_);
            std::fflush(stdout);
            return;
        }
        constexpr int width = 40;
        const auto filled = static_cast<int>(progress * width);
        fmt::print("\x1b[H\x1b[J{:6.1f} s  {} messages, {:.0f}/s, {} queued (peak "
                   "{})\n[{:#<{}}{:.<{}}] {:3.0f} %\n\n{}\n{}\n{}\n",
                   seconds, market.messages(), rate, stats.inbox_messages,
                   stats.inbox_peak_messages, "", filled, "", width - filled, 100 * progress,
                   market.table(), market.histogram(), address_);
        std::fflush(stdout);
    }

private:
    const std::string address_;
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

    Page page{feed, arguments.port};
    if (arguments.open)
        open_browser(page.address());
    Market market;
    Display display{page.address()};
    // Of the market alone: a viewer may send what it likes
    const auto take = [&](const sidecar::MessageView& message) {
        if (message.link() == sidecar::LinkId{0})
            market.take(message.text());
    };
    // A viewer that leaves is a failure too, but of no interest
    const auto report = [market_link = feed.link().value()](const sidecar::Failure& failure) {
        if (!market_link.is_up())
            fmt::print(stderr, "market_feed: {}\n", failure);
    };
    int exit_code = 0;
    const auto began = steady_clock::now();
    for (;;) {
        const auto left =
            arguments.messages == 0 ? SIZE_MAX : arguments.messages - market.messages();
        const auto handled = feed.poll(take, std::min<std::size_t>(left, 1024));
        if (!handled) {
            if (handled.error() == sidecar::Error::stopped)
                break; // Ctrl-C
            report(handled.error());
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
        const auto stats = feed.stats();
        page.publish(market, stats);
        display.show(market, stats, seconds, progress);
        if (progress >= 1)
            break;
        if (*handled == 0) {
            if (const auto message = feed.receive(20ms))
                take(message->view());
            else if (message.error() != sidecar::Error::timed_out
                     && message.error() != sidecar::Error::stopped)
                report(message.error());
        }
    }
    const auto stopped = feed.stop();
    const auto seconds = std::chrono::duration<double>(steady_clock::now() - began).count();
    fmt::print("\n{} messages in {:.2f} s ({:.0f}/s), latency from feed to application p50 {:.0f} "
               "us, p99 {:.0f} us, {} not understood\n\n{}\n{}\n{}\n\n{}\n",
               market.messages(), seconds, static_cast<double>(market.messages()) / seconds,
               market.latency(0.5), market.latency(0.99), market.strangers(), market.table(),
               market.histogram(), feed.stats(), stopped);
    return exit_code != 0 ? exit_code : stopped.clean() ? 0 : 2;
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
