// Feeds on real servers, and what they end with.
#pragma once

#include "support/nats_server.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/nats.hpp>

#include <doctest/doctest.h>

#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nats_tests {

using namespace sidecar;
using namespace std::chrono_literals;
using NatsFeed = Sidecar<Nats>;

/// Collects what the links log. The hook may outlive it.
class Log {
public:
    [[nodiscard]] Options options(Options options = {}) const
    {
        options.log = [state = state_](LogLevel, std::string_view line) {
            const std::lock_guard lock{state->mutex};
            state->text.append(line) += '\n';
        };
        return options;
    }
    [[nodiscard]] std::string text() const
    {
        const std::lock_guard lock{state_->mutex};
        return state_->text;
    }

private:
    struct State {
        std::mutex mutex;
        std::string text; // both: guarded by mutex
    };
    std::shared_ptr<State> state_ = std::make_shared<State>();
};

/// Comes back at once, for tests whose subject is not the back-off.
inline Options coming_back(Reconnect reconnect = {})
{
    reconnect.window = 20ms;
    reconnect.max_window = 200ms;
    return silenced({.reconnect = std::move(reconnect)});
}

/// Returns the next event of this kind, without those before it.
inline Event next(NatsFeed& feed, Event::Kind kind)
{
    for (;;) {
        auto event = feed.next_event(20s);
        REQUIRE(event.has_value());
        if (event->kind == kind)
            return *std::move(event);
        REQUIRE(event->kind != Event::Kind::stopped);
    }
}

/// Returns the text of the next message, or why there is none.
inline std::string text_of(const Result<Message>& message)
{
    return message ? std::string{message->text()} : message.error().message();
}

/// Waits until the server has all that the feed sent: its own message comes back to it.
inline void wait_for_echo(NatsFeed& feed)
{
    REQUIRE(nats::subscribe(feed, "echo").has_value());
    REQUIRE(feed.send("echo", SendOptions{.timeout = 10s, .topic = "echo"}).has_value());
    for (;;) {
        const auto message = feed.receive(20s);
        REQUIRE(message.has_value());
        if (message->topic() == "echo")
            return;
    }
}

inline std::string server_name(NatsFeed& feed)
{
    return std::string{feed.link().value().connection_info().header("server_name")};
}

} // namespace nats_tests
