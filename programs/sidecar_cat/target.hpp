// Target: whom a URL names, and over which transport.
#pragma once

#include "parsed.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace sidecar_cat {

struct Target {
    enum class Kind { websocket, tcp, unix_socket };
    Kind kind = Kind::websocket;
    bool is_secure = false; ///< wss, tls
    std::string url{};      ///< of a WebSocket, as it was given; the transport takes it apart
    std::string host{};     ///< of tcp and tls; an IPv6 address without brackets
    std::uint16_t port = 0; ///< of tcp and tls
    std::string path{};     ///< of unix; '@' and a name for an abstract socket
};

/// Understands ws://, wss://, ws+unix: and wss+unix: (by their scheme only), tcp://host:port, tls://host:port
/// and unix:/path.
[[nodiscard]] Parsed<Target> parse_target(std::string_view url);

} // namespace sidecar_cat
