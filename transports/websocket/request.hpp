// The handshake's request, RFC 6455 section 4.1.
#pragma once

#include "url.hpp"

#include <sidecar/transports/websocket.hpp>

#include <string>
#include <string_view>

namespace sidecar::websocket {

/// Validates headers, subprotocols and limits. Errors: bad_options; its text has no value of a header
/// and no subprotocol in it.
[[nodiscard]] Result<void> validate_request(const WebSocket::Options& options);

/// The value of the Authorization field that the options basic_auth and bearer ask for; empty: none.
[[nodiscard]] std::string authorization(const WebSocket::Options& options);

/// The request's bytes, for options that validate_request() has passed. `extensions`: what is offered
/// as Sec-WebSocket-Extensions; empty: nothing.
[[nodiscard]] std::string build_request(const Url& url, const WebSocket::Options& options,
                                        std::string_view key, std::string_view extensions);

} // namespace sidecar::websocket
