// From the options of a WebSocket to its target, its secrets and the handshake's request. Without I/O.
// Private to the transport.
#pragma once

#include "connector.hpp"
#include "text.hpp"
#include "url.hpp"

#include <sidecar/transports/websocket.hpp>

#include <string>
#include <string_view>

namespace sidecar::websocket {

/// Where to connect; `url` is that of the options, `endpoint` the name of it in failures.
[[nodiscard]] stream::Target target_of(const Url& url, const WebSocket::Options& options,
                                       std::string endpoint);

/// Everything in the options that no text may show, and that a peer may repeat: credentials, the
/// values of the query and of headers that are not public, subprotocols that are not, the proxy's
/// user and password.
[[nodiscard]] http::Secrets secrets_of(const WebSocket::Options& options);

/// Headers that say nothing about the user, such as User-Agent and Accept-Language.
[[nodiscard]] bool is_public_header(std::string_view name);

/// Keeps the subprotocols that read like the name of a protocol: at most 32 characters, words of one
/// case with digits only at their ends, none about a credential ("token", "key"), and not behind one
/// that is: a token may come in the place of a name.
[[nodiscard]] std::vector<std::string> public_subprotocols(
    const std::vector<std::string>& subprotocols);

/// Validates headers, subprotocols and limits. Errors: bad_options; its text has no value of a header
/// and no subprotocol in it.
[[nodiscard]] Result<void> validate_request(const WebSocket::Options& options);

/// The value of the Authorization field that the options basic_auth and bearer ask for; empty: none.
[[nodiscard]] std::string authorization(const WebSocket::Options& options);

/// The request's bytes, for options that validate_request() has passed.
[[nodiscard]] std::string build_request(const Url& url, const WebSocket::Options& options,
                                        std::string_view key);

} // namespace sidecar::websocket
