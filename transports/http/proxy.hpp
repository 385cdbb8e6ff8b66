// The proxy of a connection, from options and environment (http_proxy, no_proxy), and the tunnel
// through it: CONNECT, RFC 9110 section 9.3.6. Without I/O. Private to the transports.
#pragma once

#include "answer.hpp"

#include <sidecar/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar::http {

/// The parts of a proxy's URL.
struct Proxy {
    std::string host; ///< in the resolver's form
    std::uint16_t port = 80;
    bool is_secure = false; ///< TLS to the proxy
    std::string user{};     ///< both percent-decoded
    std::string password{};
    bool has_user = false;
    std::string shown{}; ///< the URL for texts, without secrets
};

/// Parses a proxy's URL. Errors: bad_options; its explanation shows no secret. `origin` names the
/// text's source in that explanation: "proxy.url", "the variable http_proxy".
[[nodiscard]] Result<Proxy> parse_proxy(std::string_view text, std::string_view origin);

/// The proxy variables of the environment; empty: not set.
struct ProxyEnvironment {
    /// A variable's value, and the name under which it was found.
    struct Variable {
        std::string name{};
        std::string value{};
    };
    Variable http{};
    Variable https{};
    Variable all{};
    std::string none{}; ///< no_proxy

    /// Reads the environment with `get(name)`: getenv, or a test's function. Not for signal
    /// handlers.
    [[nodiscard]] static ProxyEnvironment read(const char* (*get)(const char*));
};

/// Whether the list exempts this host. Commas or spaces separate its entries:
/// - `*`: every host;
/// - a name: it and all names below it, ignoring case (`x`, `.x` and `*.x` are the same);
/// - an address, IPv4 or IPv6, with brackets or without;
/// - a network, `192.0.2.0/24`, `2001:db8::/32`;
/// - any of these with `:port`: that port only (IPv6 in brackets).
/// Any other entry exempts nothing. Names are never looked up: networks exempt only addresses in
/// the URL. `host` is in the resolver's form.
[[nodiscard]] bool is_exempt(std::string_view no_proxy, std::string_view host, std::uint16_t port);

/// Returns the variable that names the proxy for this destination; its value is empty if there is
/// none, or if no_proxy exempts the host.
[[nodiscard]] ProxyEnvironment::Variable proxy_for(const ProxyEnvironment& environment,
                                                   std::string_view host, std::uint16_t port,
                                                   bool is_secure);

/// The CONNECT exchange. The connector owns it while it makes the tunnel; sidecar side.
class TunnelHandshake final : public Exchange {
public:
    /// The limit of the head, and of all interim answers; bytes.
    static constexpr std::size_t max_head_bytes = 64u << 10;

    /// The tunnel leads to `host`, in the resolver's form, and `port`; `endpoint` is its name in
    /// failures. Errors: connect_failed, cancelled.
    TunnelHandshake(const Proxy& proxy, std::string_view host, std::uint16_t port,
                    std::string endpoint);

private:
    Result<void> validate(const HttpHead& head, std::string_view body) override;
};

} // namespace sidecar::http
