// Cases that hold against every server that echoes bytes.
#include "client.hpp"

#include <doctest/doctest.h>

#include <charconv>
#include <string>
#include <thread>

using namespace interop;
using sidecar::MessageKind;

namespace {

template <class Framing>
typename sidecar::Tcp<Framing>::Options options_for(Framing framing)
{
    typename sidecar::Tcp<Framing>::Options options;
    options.framing = framing;
    options.max_message_bytes = 2u << 20;
    if (const auto path = setting("INTEROP_UNIX"); !path.empty()) {
        options.host = "unix:" + path;
        return options;
    }
    options.host = "localhost";
    const auto port = needed_setting("INTEROP_PORT");
    std::from_chars(port.data(), port.data() + port.size(), options.port);
    options.proxy.url = setting("INTEROP_PROXY");
    if (!setting("INTEROP_TLS").empty())
        options.tls = tls_options();
    return options;
}

template <class Framing>
class Connected {
public:
    explicit Connected(Framing framing = {})
        : feed_{options_for(framing),
                {.inbox = {.bytes = 16u << 20}, .outbox = {.bytes = 16u << 20}}}
    {
        feed_.start(patience).value();
    }
    sidecar::Feed& operator*() { return feed_; }
    sidecar::Feed* operator->() { return &feed_; }

private:
    sidecar::Sidecar<sidecar::Tcp<Framing>> feed_;
};

} // namespace

TEST_SUITE_BEGIN("stream");

TEST_CASE("interop: every size comes back as it was")
{
    Connected<sidecar::LengthPrefix> feed;
    for (const std::size_t size :
         {0u, 1u, 125u, 1000u, 16'383u, 16'384u, 16'385u, 65'536u, 300'000u, 1u << 20}) {
        CAPTURE(size);
        const auto sent = payload(size, MessageKind::binary);
        REQUIRE(send(*feed, MessageKind::binary, sent));
        const auto message = feed->receive(patience);
        REQUIRE_MESSAGE(message.has_value(), message);
        CHECK(message->text() == sent);
    }
    const auto report = feed->stop();
    CHECK_MESSAGE(report.clean(), report);
}

TEST_CASE("interop: tens of thousands of lines on their way at once keep their order")
{
    constexpr int count = 50'000;
    Connected<sidecar::Lines> feed;
    std::jthread sender{[&] {
        for (int i = 0; i < count; ++i)
            if (!feed->send("line " + std::to_string(i), patience))
                return; // the receiver misses it
    }};
    for (int i = 0; i < count; ++i) {
        const auto message = feed->receive(patience);
        REQUIRE_MESSAGE(message.has_value(), message);
        REQUIRE(message->text() == "line " + std::to_string(i));
    }
    sender.join();
    const auto report = feed->stop();
    CHECK_MESSAGE(report.clean(), report);
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("reversing"); // openssl s_server -rev

TEST_CASE("interop: each line comes back reversed")
{
    Connected<sidecar::Lines> feed;
    for (const std::size_t size : {1u, 100u, 5000u}) {
        const auto sent = payload(size, MessageKind::text);
        REQUIRE(feed->send(sent));
        const auto message = feed->receive(patience);
        REQUIRE_MESSAGE(message.has_value(), message);
        CHECK(message->text() == std::string{sent.rbegin(), sent.rend()});
    }
}

TEST_SUITE_END();
