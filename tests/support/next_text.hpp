// The events of a feed as text, so that a test shows what came instead.
#pragma once

#include <sidecar/format.hpp>
#include <sidecar/sidecar.hpp>

#include <fmt/format.h>

#include <chrono>
#include <string>

/// Returns one line for what next_event() returned.
inline std::string text_of(const sidecar::Result<sidecar::Event>& event)
{
    using Kind = sidecar::Event::Kind;
    if (!event)
        return event.error().message();
    auto text = fmt::format("{} {}", to_string(event->kind), event->connection);
    if (event->kind == Kind::message)
        text += fmt::format(" {}", event->message.text());
    if (event->kind == Kind::up)
        text += fmt::format(" {}", to_string(event->continuity));
    if (event->kind == Kind::down || event->kind == Kind::retry)
        text += event->next_attempt ? " more" : " last";
    if (event->failure)
        text += fmt::format(" ({})", event->failure->code().message());
    return text;
}

inline std::string next_text(sidecar::Feed& feed, sidecar::Duration timeout = std::chrono::hours{1})
{
    return text_of(feed.next_event(timeout));
}
