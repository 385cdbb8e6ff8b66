// Tries answers on the handshake, cut in every way.
#pragma once

#include "handshake.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace handshake_trial {

using namespace sidecar;
using websocket::Handshake;

inline bool contains(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

inline Handshake make(const WebSocket::Options& options)
{
    REQUIRE(WebSocket::check(options));
    return Handshake{websocket::parse_url(options.url).value(), options};
}

inline std::string key_of(const Handshake& handshake)
{
    const auto at = handshake.request().find("Sec-WebSocket-Key: ") + 19;
    return handshake.request().substr(at, 24);
}

/// What became of an answer.
struct Outcome {
    bool is_undecided = false;
    bool is_accepted = false;
    std::size_t head_bytes = 0; // consumed until the verdict
    std::string subprotocol;
    int window_bits = 0; // 0: nothing is compressed
    Failure failure;

    bool operator==(const Outcome& other) const
    {
        return is_undecided == other.is_undecided && is_accepted == other.is_accepted
               && head_bytes == other.head_bytes && subprotocol == other.subprotocol
               && window_bits == other.window_bits && failure.code() == other.failure.code()
               && failure.http_status() == other.failure.http_status()
               && failure.location() == other.failure.location()
               && failure.retry_after() == other.failure.retry_after();
    }
};

using Cuts = std::function<std::size_t(std::size_t)>; // from here to the end of the next piece

/// `$ACCEPT` in the answer stands for what belongs to the key.
struct Trial {
    WebSocket::Options options{.url = "ws://h/"};

    Outcome run(std::string answer, const Cuts& cut) const
    {
        auto handshake = make(options);
        if (const auto at = answer.find("$ACCEPT"); at != answer.npos)
            answer.replace(at, 7, websocket::accept_of(key_of(handshake)));
        Outcome outcome;
        for (std::size_t at = 0; at < answer.size();) {
            const auto end = std::min(answer.size(), cut(at));
            const auto verdict =
                handshake.take(std::as_bytes(std::span{answer}.subspan(at, end - at)));
            if (verdict) {
                outcome.is_accepted = verdict->has_value();
                if (*verdict) {
                    outcome.head_bytes = at + **verdict;
                    outcome.subprotocol = handshake.subprotocol();
                    if (handshake.deflation())
                        outcome.window_bits = handshake.deflation()->window_bits;
                } else {
                    outcome.failure = verdict->error();
                }
                return outcome;
            }
            at = end;
        }
        outcome.is_undecided = true;
        return outcome;
    }

    Outcome whole(const std::string& answer) const
    {
        return run(answer, [](std::size_t) { return std::string::npos; });
    }

    /// In one piece, byte by byte and in two pieces with every cut: the verdict is the same.
    Outcome operator()(const std::string& answer) const
    {
        CAPTURE(answer);
        const auto outcome = whole(answer);
        CHECK(run(answer, [](std::size_t at) { return at + 1; }) == outcome);
        for (std::size_t cut = 1; cut < answer.size(); ++cut) {
            CAPTURE(cut);
            CHECK(run(answer, [&](std::size_t at) { return at < cut ? cut : answer.npos; })
                  == outcome);
        }
        return outcome;
    }
};

inline const std::string fields = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Accept: $ACCEPT\r\n";
inline const std::string status_101 = "HTTP/1.1 101 Switching Protocols\r\n";

inline std::string with_bare_line_feeds(std::string text)
{
    std::erase(text, '\r');
    return text;
}

} // namespace handshake_trial
