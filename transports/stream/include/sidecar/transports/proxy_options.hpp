// ProxyOptions: the HTTP proxy through which a connection goes.
#pragma once

#include <string>

namespace sidecar {

/// The way through an HTTP proxy (CONNECT, RFC 9110 section 9.3.6). The proxy resolves the name.
struct ProxyOptions {
    /// "http://user:password@host:port"; port 80 if none is given; the user and the password are
    /// sent as basic authorization (RFC 7617) and appear in no text. Empty: see from_environment.
    std::string url{};
    /// Where url is empty: takes the proxy from HTTPS_PROXY (for connections with TLS) or
    /// HTTP_PROXY, in either case of letters, unless NO_PROXY names the host.
    bool from_environment = false;
};

} // namespace sidecar
