// From the options of a WebSocket to where its stream is to go.
#pragma once

#include "target.hpp"
#include "url.hpp"

#include <sidecar/transports/websocket.hpp>

namespace sidecar::websocket {

/// `url` is that of the options, taken apart.
[[nodiscard]] stream::Target target_of(const Url& url, const WebSocket::Options& options);

} // namespace sidecar::websocket
