// What of the options says who we are. Private to the transport; pure.
#pragma once

#include "secrets.hpp"

#include <sidecar/transports/websocket.hpp>

#include <string_view>

namespace sidecar::websocket {

/// The name of a header field, or of a parameter of the query, that says that its value is a
/// credential: there is "auth", "cookie", "token", "secret", "password", "key", "credential" or
/// "session" in it, in either case of letters.
[[nodiscard]] bool is_credential(std::string_view name);

/// The values that must not come back in what a peer says at the end of a link. Less than what a
/// refusal's text hides (there all values of headers and of the query): what a program reads and
/// compares must not change because it holds a harmless one.
[[nodiscard]] http::Secrets credentials_of(const WebSocket::Options& options);

} // namespace sidecar::websocket
