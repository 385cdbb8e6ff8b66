#include "fan_out.hpp"

#include "../market_feed/feed_server.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/signals.hpp>
#include <sidecar/transports/nats.hpp>
#include <sidecar/transports/websocket.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
namespace nats = sidecar::nats;

namespace {

using NatsFeed = sidecar::Sidecar<sidecar::Nats>;

constexpr auto patience = 20s;
constexpr std::size_t batch_size = 50; // a link queues at most 64 acknowledgements

/// A link that lives through the loss of a node: it goes to another, and keeps what it has to send.
sidecar::Options coming_back()
{
    return {.reconnect = sidecar::Reconnect{.window = 100ms,
                                            .max_window = 1s,
                                            .at_start = true,
                                            .on_disconnect = sidecar::OnDisconnect::keep}};
}

/// Calls the server's API, again until the answer has this part: a young cluster has no leader yet.
/// Returns JSON.
std::string ask(NatsFeed& feed, const std::string& call, const std::string& json = {},
                const char* part = "")
{
    std::string refusal;
    for (const auto until = feed.now() + patience; feed.now() < until;) {
        const auto answer = feed.request("$JS.API." + call, json, 2s);
        if (answer && answer->text().find("\"error\"") == std::string_view::npos
            && answer->text().find(part) != std::string_view::npos)
            return std::string{answer->text()};
        refusal = answer ? std::string{answer->text()} : answer.error().message();
        if (!feed.sleep_for(100ms))
            break;
    }
    throw std::runtime_error{fmt::format("{}: {}", call, refusal)};
}

sidecar::Nats::Options worker_options(const std::string& url, const std::string& name)
{
    return {.url = url,
            .consumer = nats::Consumer{.stream = "FAN_QUOTES",
                                       .durable = "workers", // all share it
                                       .acknowledge_by_hand = true,
                                       .acknowledge_within = 1s,
                                       .max_pending = 200},
            .publish_to_stream = true,
            .name = name};
}

struct Entry {
    std::string topic, id, text, worker;
};

/// Returns once the stream has all of them. A broken connection may lose some, so all are sent again;
/// the stream drops doubles: it knows the ids of the last two minutes.
void store(NatsFeed& feed, const std::vector<Entry>& entries)
{
    for (bool is_stored = false; !is_stored;) {
        const bool is_empty = feed.flush(patience).has_value();
        const auto unsent = feed.stats().unsent;
        for (const auto& [topic, id, text, worker] : entries) {
            const sidecar::Header headers[] = {{"Nats-Msg-Id", id}, {"Worker", worker}};
            feed.send(text, {.timeout = patience, .topic = topic, .headers = headers}).value();
        }
        // flush() says nothing about what was lost before its call; the counter does
        is_stored = is_empty && feed.flush(patience) && feed.stats().unsent == unsent;
    }
}

/// Returns the next messages, those that are there; none: a second was over, or the link was down.
/// Throws when no more can come: after Ctrl-C, or when the link has ended for good.
template <class Feed>
std::vector<sidecar::Message> take(Feed& feed, std::size_t at_most)
{
    std::vector<sidecar::Message> taken;
    auto message = feed.receive(1s);
    if (!message && !message.error().will_retry())
        (void)message.value(); // throws the reason
    while (message) {
        taken.push_back(*std::move(message));
        if (taken.size() == at_most)
            break;
        message = feed.receive(0s);
    }
    return taken;
}

/// Returns the number behind the name; empty: there is none. A real program has a JSON library.
std::optional<double> number_in(std::string_view json, std::string_view name)
{
    const auto at = json.find(fmt::format("\"{}\":", name));
    if (at == json.npos)
        return std::nullopt;
    return std::strtod(std::string{json.substr(at + name.size() + 3)}.c_str(), nullptr);
}

/// Price x size in cents, so that sums are exact.
std::int64_t value_of(std::string_view quote)
{
    const auto price = number_in(quote, "price"); // of a trade
    return std::llround(100 * price.value_or(number_in(quote, "ask").value_or(0)))
           * std::llround(number_in(quote, "size").value_or(0));
}

/// "12 by anna, 11 by ben"
std::string shares(const std::map<std::string, std::uint64_t>& by_worker)
{
    std::string text;
    for (const auto& [worker, count] : by_worker)
        text += fmt::format("{}{} by {}", text.empty() ? "" : ", ", count, worker);
    return text;
}

} // namespace

int make_streams(const std::string& url, std::uint64_t replicas)
{
    NatsFeed feed{{.url = url}, coming_back()};
    feed.start(patience).value();
    for (const auto& [name, subjects] :
         {std::pair{"FAN_QUOTES", "fan.quotes"}, std::pair{"FAN_RESULTS", "fan.results.*"}}) {
        ask(feed, fmt::format("STREAM.CREATE.{}", name),
            fmt::format(R"({{"name":"{}","subjects":["{}"],"storage":"file","num_replicas":{}}})",
                        name, subjects, replicas));
        ask(feed, fmt::format("STREAM.PURGE.{}", name));
    }
    NatsFeed worker{worker_options(url, "streams"), coming_back()};
    worker.start(patience).value(); // makes the consumer
    ask(feed, "CONSUMER.INFO.FAN_QUOTES.workers", {}, "\"leader\"");
    fmt::print("streams: made, each message is stored on {} nodes\n", replicas);
    return 0;
}

int publish(const std::string& url, std::string feed, std::uint64_t count)
{
    std::optional<FeedServer> server;
    if (feed.empty())
        feed = server.emplace(500).url(); // quotes per second
    sidecar::Sidecar<sidecar::WebSocket> market{{.url = feed}};
    NatsFeed stream{{.url = url, .publish_to_stream = true, .name = "publisher"}, coming_back()};
    const auto guard = sidecar::stop_on_signals(market);
    const auto stream_guard = sidecar::stop_on_signals(stream);
    market.start(patience).value();
    stream.start(patience).value();

    const auto run = std::chrono::system_clock::now().time_since_epoch().count();
    std::uint64_t published = 0;
    std::int64_t total = 0;
    while (published < count) {
        std::vector<Entry> quotes;
        const auto at_most = std::min<std::uint64_t>(batch_size, count - published);
        for (const auto& message : take(market, at_most)) {
            total += value_of(message.text());
            quotes.push_back({"fan.quotes", fmt::format("{}-{}", run, ++published),
                              std::string{message.text()}, "publisher"});
        }
        store(stream, quotes);
    }
    store(stream, {{"fan.results.total", fmt::format("{}-total", run),
                    fmt::format("{} {}", published, total), "publisher"}});
    fmt::print("publisher: {} quotes, whose sum is {}\n", published, total);
    return 0;
}

int work(const std::string& url, const std::string& name)
{
    NatsFeed feed{worker_options(url, name), coming_back()};
    const auto guard = sidecar::stop_on_signals(feed);
    feed.start(patience).value();
    for (;;) {
        const auto quotes = take(feed, batch_size);
        std::vector<Entry> results;
        for (const auto& quote : quotes)
            results.push_back({"fan.results.value",
                               fmt::format("{}", nats::delivery(quote).value().stream_sequence),
                               fmt::format("{}", value_of(quote.text())), name});
        store(feed, results);
        // Only now: the quotes of a worker that died before come again, to another one. If an
        // acknowledgement is lost its quote comes again too, and the stream drops the second result.
        for (const auto& quote : quotes)
            (void)nats::acknowledge(feed, quote);
    }
}

int sum(const std::string& url, std::uint64_t every)
{
    NatsFeed feed{{.url = url, .consumer = nats::Consumer{.stream = "FAN_RESULTS"}}, coming_back()};
    const auto guard = sidecar::stop_on_signals(feed);
    feed.start(patience).value();
    std::map<std::string, std::uint64_t> by_worker;
    std::set<std::string> ids;
    std::int64_t total = 0, twice = 0;
    std::optional<std::pair<std::uint64_t, std::int64_t>> expected; // how many, their sum
    for (auto heard = feed.now(); !expected || ids.size() < expected->first;) {
        const auto results = take(feed, batch_size);
        if (!results.empty())
            heard = feed.now();
        else if (feed.now() - heard > 2 * patience)
            throw std::runtime_error{
                fmt::format("nothing comes any longer; there were {} results", ids.size())};
        for (const auto& result : results) {
            const std::string text{result.text()};
            char* end = nullptr;
            const auto number = std::strtoll(text.c_str(), &end, 10);
            if (result.topic() == "fan.results.total") {
                expected.emplace(number, std::strtoll(end, nullptr, 10));
                continue;
            }
            total += number;
            ++by_worker[std::string{result.header("Worker")}];
            if (!ids.emplace(result.header("Nats-Msg-Id")).second)
                ++twice;
            else if (ids.size() % every == 0)
                fmt::print("sum: {} results: {}\n", ids.size(), shares(by_worker));
        }
    }
    fmt::print("sum: {} of {} results, {} came twice\nsum: {}, the publisher's: {}\n", ids.size(),
               expected->first, twice, total, expected->second);
    return twice == 0 && total == expected->second ? 0 : 1;
}

std::string node_without_consumer(const std::string& url)
{
    NatsFeed feed{{.url = url}, coming_back()};
    feed.start(patience).value();
    const auto facts =
        ask(feed, "CONSUMER.INFO.FAN_QUOTES.workers") + ask(feed, "CONSUMER.LIST.FAN_RESULTS");
    for (const char* node : {"n0", "n1"})
        if (facts.find(fmt::format(R"("leader":"{}")", node)) == facts.npos)
            return node;
    return "n2";
}
