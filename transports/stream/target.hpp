// Where a connection is to go, and how. Private to the transports.
#pragma once

#include "socket_setup.hpp"

#include <sidecar/error.hpp>
#include <sidecar/transports/proxy_options.hpp>
#include <sidecar/transports/tls_options.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace sidecar::stream {

struct Target {
    std::string host; ///< a name or an address without brackets; what TLS verifies
    std::uint16_t port = 0;
    std::string unix_path{}; ///< of a Unix-domain socket, in place of host and port; '@': abstract
    SocketSetup socket{};
    ProxyOptions proxy{};
    std::optional<TlsOptions> tls{}; ///< empty: in the clear
    std::string endpoint;            ///< what failures call the other side; no secret in it
};

/// What can be said before there is a socket. Errors: bad_options.
[[nodiscard]] Result<void> check(const Target& target);

} // namespace sidecar::stream
