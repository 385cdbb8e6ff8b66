// The address of a WebSocket, RFC 6455 section 3 and RFC 3986; and how it may appear in texts.
#pragma once

#include "text.hpp"

#include <sidecar/error.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar::websocket {

using http::redact_url;

/// A URL taken apart for the connection and for the handshake.
struct Url {
    std::string host; ///< as the resolver wants it: no brackets, the zone behind a plain '%'
    std::uint16_t port = 80;
    bool is_secure = false;  ///< wss, wss+unix
    std::string unix_path{}; ///< of a Unix-domain socket, in place of host and port; '@': abstract
    std::string authority;   ///< the Host field: no zone (RFC 6874 section 4), no default port
    std::string resource;    ///< path and query, as given
};

/// Errors: bad_address, whose text shows nothing that redact_url() would not.
[[nodiscard]] Result<Url> parse_url(std::string_view text);

/// The values of the query, as they are given.
[[nodiscard]] std::vector<std::string> query_values(std::string_view resource);

} // namespace sidecar::websocket
