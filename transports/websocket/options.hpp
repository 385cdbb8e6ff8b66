// Turns the options of a WebSocket into a target, secrets and the handshake's request. Without I/O.
// Private to the transport.
#pragma once

#include "connector.hpp"
#include "text.hpp"
#include "url.hpp"

#include <sidecar/transports/websocket.hpp>

#include <string>
#include <string_view>

namespace sidecar::websocket {

/// Returns the target of the connection; `url` is that of the options, `endpoint` its name in
/// failures.
[[nodiscard]] stream::Target target_of(const Url& url, const WebSocket::Options& options,
                                       std::string endpoint);

/// Collects everything in the options that no text may show, and that a peer may repeat:
/// credentials, the values of the query and of headers that are not public, subprotocols that are
/// not, the proxy's user and password.
[[nodiscard]] http::Secrets secrets_of(const WebSocket::Options& options);

/// Whether the header says nothing about the user, such as User-Agent and Accept-Language.
[[nodiscard]] bool is_public_header(std::string_view name);

/// Returns the subprotocols that look like the name of a protocol: at most 32 characters, words of
/// one case with digits only at their ends, none about a credential ("token", "key"). Drops one
/// that follows a name about a credential: it may be a token.
[[nodiscard]] std::vector<std::string> public_subprotocols(
    const std::vector<std::string>& subprotocols);

/// Validates a further field of a request or an answer: no field of the handshake, and no byte that
/// no field may have. Errors: bad_options; its text shows no part of the value.
[[nodiscard]] Result<void> validate_field(std::string_view name, std::string_view value);
/// Checks that these are names, none twice (RFC 6455 section 4.1, item 10). Errors: bad_options; its
/// text shows none of them.
[[nodiscard]] Result<void> validate_subprotocols(const std::vector<std::string>& subprotocols);

/// Validates headers, subprotocols and limits. Errors: bad_options; its text shows no value of a
/// header and no subprotocol.
[[nodiscard]] Result<void> validate_request(const WebSocket::Options& options);

/// Returns the Authorization header value for the options basic_auth and bearer; empty: none.
[[nodiscard]] std::string authorization(const WebSocket::Options& options);

/// Builds the request; the options must have passed validate_request().
[[nodiscard]] std::string build_request(const Url& url, const WebSocket::Options& options,
                                        std::string_view key);

} // namespace sidecar::websocket
