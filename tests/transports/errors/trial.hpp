// A WebSocket against a scripted peer.
#pragma once

#include "support/failure_of.hpp"
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <string>
#include <utility>

/// What starting ends with.
inline sidecar::Failure start_of(sidecar::WebSocket::Options options,
                                 std::chrono::milliseconds time = std::chrono::seconds{20})
{
    sidecar::Sidecar<sidecar::WebSocket> feed{std::move(options), silent_options()};
    if (auto started = feed.start(time); !started)
        return started.error();
    return {};
}

/// An answer 101 that is right, with further fields.
inline std::string accepting(const std::string& request, const std::string& fields = {})
{
    return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Accept: "
           + websocket_accept(request) + "\r\n" + fields + "\r\n";
}
