// A sidecar on a mock that does not talk, with its peer.
#pragma once

#include "silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <utility>

struct Fixture {
    explicit Fixture(sidecar::Options options = {}, std::size_t max_message_bytes = 1u << 20)
        : feed{{.peer = peer, .max_message_bytes = max_message_bytes}, silenced(std::move(options))}
    {
    }
    sidecar::MockPeer peer;
    sidecar::Sidecar<sidecar::Mock> feed;
};

/// The same with topics, and started.
struct TopicFixture {
    explicit TopicFixture(sidecar::Options options = {})
        : feed{{.peer = peer, .topics = true}, silenced(std::move(options))}
    {
        REQUIRE(feed.start(std::chrono::seconds{1}));
    }
    sidecar::MockPeer peer;
    sidecar::Sidecar<sidecar::Mock> feed;
};

/// What came, or why nothing did.
inline std::string text(const sidecar::Result<sidecar::Message>& message)
{
    return message ? std::string{message->text()} : message.error().message();
}
