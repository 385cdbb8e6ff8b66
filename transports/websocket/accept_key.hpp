// The keys that client and server exchange in the handshake, RFC 6455 section 4.
#pragma once

#include <string>
#include <string_view>

namespace sidecar::websocket {

/// 16 bytes from the system's source of entropy, in base64. Throws system_error.
[[nodiscard]] std::string make_key();
/// What Sec-WebSocket-Accept must be: SHA-1 of the key and of the RFC's identifier, in base64.
[[nodiscard]] std::string accept_of(std::string_view key);

} // namespace sidecar::websocket
