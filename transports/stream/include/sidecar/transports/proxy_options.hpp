// ProxyOptions: the HTTP proxy of a connection.
#pragma once

#include <sidecar/transports/tls_options.hpp>

#include <string>

namespace sidecar {

/// Connects through an HTTP proxy (CONNECT, RFC 9110 section 9.3.6), with TLS to it or without. The
/// proxy resolves the host's name; the library does not look it up. Unix-domain sockets never use a
/// proxy.
///
/// The URL: port 80 if none is given, with "https://" 443; without a scheme: http. User and
/// password, percent-decoded, are sent as basic authorization (RFC 7617) and appear in no text.
///
/// The environment: https_proxy (for connections with TLS) or http_proxy, else all_proxy, unless
/// no_proxy names the host; each in lower case, else in upper case. HTTP_PROXY is ignored if
/// REQUEST_METHOD is set: in a CGI program the client chooses it. start() and open() read the
/// environment on the calling thread; reconnects use the same values. Options that are made for
/// each attempt read nothing, so set `from_environment` in the options that the Sidecar is made
/// with too.
struct ProxyOptions {
    /// "http://user:password@host:port" or "https://...". Empty (default): see from_environment.
    std::string url{};
    /// Takes the proxy from the environment if `url` is empty. Default: false.
    bool from_environment = false;
    /// TLS to an https:// proxy, whose host is verified. With any other proxy: bad_options.
    TlsOptions tls{};

    friend bool operator==(const ProxyOptions&, const ProxyOptions&) = default;
};

} // namespace sidecar
