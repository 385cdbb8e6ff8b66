// Cases that hold against every WebSocket server that echoes and obeys python_server.py's words.
#include "client.hpp"

#include <doctest/doctest.h>

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

using namespace interop;
using sidecar::MessageKind;
using sidecar::Sidecar;
using sidecar::WebSocket;

namespace {

/// A feed that is connected.
class Connected {
public:
    explicit Connected(WebSocket::Options options = websocket_options())
        : feed_{std::move(options), {.inbox = {.bytes = 16u << 20}, .outbox = {.bytes = 16u << 20}}}
    {
        feed_.start(patience).value();
    }
    Sidecar<WebSocket>& operator*() { return feed_; }
    Sidecar<WebSocket>* operator->() { return &feed_; }
    std::string ask(const std::string& question)
    {
        feed_.send(question, patience).value();
        return std::string{feed_.receive(patience).value().text()};
    }

private:
    Sidecar<WebSocket> feed_;
};

bool is_compressed() { return !setting("INTEROP_COMPRESSION").empty(); }

} // namespace

TEST_SUITE_BEGIN("websocket");

TEST_CASE("interop: every size comes back as it was, text and binary")
{
    Connected feed;
    for (const auto kind : {MessageKind::text, MessageKind::binary}) {
        for (const std::size_t size :
             {0u, 1u, 2u, 125u, 126u, 127u, 1000u, 1u << 12, (1u << 16) - 1, 1u << 16,
              (1u << 16) + 1, 300'000u, 1u << 20}) {
            CAPTURE(size);
            const auto sent = payload(size, kind);
            REQUIRE(send(*feed, kind, sent));
            const auto message = feed->receive(patience);
            REQUIRE_MESSAGE(message.has_value(), message);
            CHECK(message->kind() == kind);
            CHECK(message->text() == sent);
        }
    }
    CHECK(feed->stop().clean());
}

TEST_CASE("interop: characters of every length come back")
{
    Connected feed;
    for (const auto* text : {"ü", "€", "\xf0\x9f\x9a\x80", "a\xc2\x80z"})
        CHECK(feed.ask(text) == text);
    std::string many;
    for (int i = 0; i < 40'000; ++i)
        many += "€";
    CHECK(feed.ask(many) == many);
}

TEST_CASE("interop: thousands of messages of all sizes on their way at once keep their order")
{
    constexpr std::size_t count = 5000;
    const auto sent_at = [](std::size_t i) {
        const auto kind = i % 3 == 0 ? MessageKind::binary : MessageKind::text;
        return std::pair{kind, fmt::format("{}:", i) + payload(i * i % 3001, kind)};
    };
    Connected feed;
    std::jthread sender{[&] {
        for (std::size_t i = 0; i < count; ++i) {
            const auto [kind, text] = sent_at(i);
            if (!send(*feed, kind, text))
                return; // the receiver misses it
        }
    }};
    for (std::size_t i = 0; i < count; ++i) {
        const auto message = feed->receive(patience);
        REQUIRE_MESSAGE(message.has_value(), message);
        const auto [kind, text] = sent_at(i);
        REQUIRE(message->text() == text);
        REQUIRE(message->kind() == kind);
    }
    sender.join();
    CHECK(feed->stop().clean());
}

TEST_CASE("interop: what the server sends in fragments is one message")
{
    Connected feed;
    CHECK(feed.ask("fragments") == "one zwei ü three");
    const auto binary = feed->receive(patience);
    REQUIRE_MESSAGE(binary.has_value(), binary);
    CHECK(binary->kind() == MessageKind::binary);
    CHECK(binary->text() == std::string{"\0\xff", 2});
}

TEST_CASE("interop: the server's ping is answered")
{
    Connected feed;
    CHECK(feed.ask("ping") == "you answered");
    CHECK(feed.ask("still there") == "still there");
}

TEST_CASE("interop: the server's close arrives with its code and its reason")
{
    for (const std::uint16_t code : {1000, 1001, 1003, 1008, 1011, 3000, 4001, 4999}) {
        Connected feed;
        REQUIRE(feed->send(fmt::format("close {} as you wish", code)));
        const auto ended = feed->receive(patience);
        REQUIRE_MESSAGE(!ended.has_value(), ended);
        CHECK(ended.error() == sidecar::Error::closed_by_peer);
        CHECK(ended.error().close_code() == code);
        CHECK(ended.error().close_reason() == "as you wish");
    }
}

TEST_CASE("interop: our close is clean, and the server sees 1000")
{
    {
        Connected feed;
        CHECK(feed.ask("x") == "x");
        const auto report = feed->stop();
        CHECK_MESSAGE(report.clean(), report);
        CHECK(report.close.verdict == sidecar::Verdict::ok);
    }
    Connected feed;
    // The server may hear of the connection's end a moment later than we do.
    const auto deadline = std::chrono::steady_clock::now() + patience;
    std::string seen;
    while ((seen = feed.ask("last-close")) != "1000" && std::chrono::steady_clock::now() < deadline)
        std::this_thread::sleep_for(5ms);
    CHECK(seen == "1000");
}

TEST_CASE("interop: a connection that is cut off is told as that")
{
    Connected feed;
    REQUIRE(feed->send("drop"));
    const auto ended = feed->receive(patience);
    REQUIRE_MESSAGE(!ended.has_value(), ended);
    CHECK(ended.error() == sidecar::Error::disconnected);
}

TEST_CASE("interop: the server chooses a subprotocol of those that were offered")
{
    auto options = websocket_options();
    options.subprotocols = {"v1", "v2"};
    Connected feed{options};
    CHECK(feed->link().value().protocol() == "v2");
    options.subprotocols = {};
    Connected other{options};
    CHECK(other->link().value().protocol().empty());
}

TEST_CASE("interop: compression is in use exactly where both sides want it")
{
    Connected feed;
    const auto extensions = feed.ask("extensions");
    CHECK((extensions.find("permessage-deflate") != std::string::npos) == is_compressed());
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("deflate");

namespace {

struct Traffic {
    long from_us = 0, to_us = 0;
};

/// What the same 2000 characters that look like nothing cost, sent and received a hundred times.
Traffic traffic_of_repetitions(const sidecar::CompressionOptions& compression)
{
    auto options = websocket_options();
    options.compression = compression;
    Connected feed{options};
    const auto text = payload(2000, MessageKind::text);
    const auto count = [&] {
        Traffic traffic;
        REQUIRE(
            std::sscanf(feed.ask("traffic").c_str(), "%ld %ld", &traffic.from_us, &traffic.to_us)
            == 2);
        return traffic;
    };
    const auto before = count();
    for (int i = 0; i < 100; ++i)
        REQUIRE(feed.ask(text) == text);
    const auto after = count();
    return {after.from_us - before.from_us, after.to_us - before.to_us};
}

} // namespace

TEST_CASE("interop: the context of the messages before is taken over, in both directions")
{
    const auto traffic = traffic_of_repetitions({});
    CHECK(traffic.from_us < 20'000); // 200,000 characters
    CHECK(traffic.to_us < 20'000);
}

TEST_CASE("interop: no context is taken over where that was agreed on")
{
    const auto traffic = traffic_of_repetitions(
        {.server_no_context_takeover = true, .client_no_context_takeover = true});
    CHECK(traffic.from_us > 100'000);
    CHECK(traffic.to_us > 100'000);
}

TEST_CASE("interop: smaller windows are kept to")
{
    // The text before lies outside a window of 512 bytes.
    const auto traffic =
        traffic_of_repetitions({.server_max_window_bits = 9, .client_max_window_bits = 9});
    CHECK(traffic.from_us > 100'000);
    CHECK(traffic.to_us > 100'000);
}

TEST_CASE("interop: every level and every threshold arrives")
{
    for (int level = 0; level <= 9; level += 3) {
        for (const std::size_t threshold : {0u, 1000u}) {
            auto options = websocket_options();
            options.compression = {.level = level, .threshold_bytes = threshold};
            Connected feed{options};
            for (std::size_t size = 0; size < 3000; size += 97) {
                const auto text = payload(size, MessageKind::text);
                REQUIRE(feed.ask(text) == text);
            }
        }
    }
}

TEST_SUITE_END();
