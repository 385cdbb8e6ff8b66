// The URL of a WebSocket, RFC 6455 section 3 and RFC 3986, and its form in texts.
#pragma once

#include "text.hpp"

#include <sidecar/error.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar::websocket {

using http::redact_url;

/// The parts of a URL for the connection and for the handshake.
struct Url {
    std::string host; ///< in the resolver's form: no brackets, the zone behind a plain '%'
    std::uint16_t port = 80;
    bool is_secure = false;  ///< wss, wss+unix
    std::string unix_path{}; ///< used instead of host and port; '@': abstract name
    std::string authority;   ///< the Host field: no zone (RFC 6874 section 4), no default port
    std::string resource;    ///< path and query, as given
};

/// Errors: bad_address; its text shows no more than redact_url() does.
[[nodiscard]] Result<Url> parse_url(std::string_view text);

/// Returns the values of the query, as given.
[[nodiscard]] std::vector<std::string> query_values(std::string_view resource);

} // namespace sidecar::websocket
