// ProxyOptions: the HTTP proxy through which a connection goes.
#pragma once

#include <sidecar/transports/tls_options.hpp>

#include <string>

namespace sidecar {

/// The way through an HTTP proxy (CONNECT, RFC 9110 section 9.3.6), with TLS or without. The proxy
/// resolves the name: here it is never looked up. Unix-domain sockets go past every proxy.
struct ProxyOptions {
    /// "http://user:password@host:port"; port 80 if none is given; the user and the password,
    /// percent-decoded, are sent as basic authorization (RFC 7617) and appear in no text. "https://"
    /// (port 443): TLS to the proxy, see tls. Without a scheme: http. Empty: see from_environment.
    std::string url{};
    /// Where url is empty: takes the proxy from the variables https_proxy (for connections with TLS)
    /// or http_proxy, else all_proxy, unless no_proxy names the host; each in lower case, else in
    /// upper case. HTTP_PROXY is passed over where REQUEST_METHOD is set: in a CGI program the client
    /// chooses it. start() and open() read the environment, on the thread that calls them; reconnects
    /// use these values. Options that are made anew for each attempt read nothing, so it must be set
    /// in those that the sidecar is made with too.
    bool from_environment = false;
    /// How a proxy of https:// is secured; its own host is verified. bad_options with any other.
    TlsOptions tls{};
};

} // namespace sidecar
