// The proxy of a connection, from options and environment (http_proxy, no_proxy), and the way through it:
// CONNECT, RFC 9110 section 9.3.6. Without I/O. Private to the transports.
#pragma once

#include "answer.hpp"

#include <sidecar/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar::http {

/// A proxy's URL taken apart.
struct Proxy {
    std::string host; ///< as the resolver wants it
    std::uint16_t port = 80;
    bool is_secure = false; ///< TLS to the proxy
    std::string user{};     ///< both percent-decoded
    std::string password{};
    bool has_user = false;
    std::string shown{}; ///< its URL for texts, without secrets
};

/// Errors: bad_options; its explanation shows no secret. `origin` names the place of the text in that
/// explanation: "proxy.url", "the variable http_proxy".
[[nodiscard]] Result<Proxy> parse_proxy(std::string_view text, std::string_view origin);

/// The environment's variables about proxies; empty: there are none.
struct ProxyEnvironment {
    /// A variable and the name under which it was found.
    struct Variable {
        std::string name{};
        std::string value{};
    };
    Variable http{};
    Variable https{};
    Variable all{};
    std::string none{}; ///< no_proxy

    /// Reads it with `get(name)`, which is getenv but for tests. Not for signal handlers.
    [[nodiscard]] static ProxyEnvironment read(const char* (*get)(const char*));
};

/// Whether the list exempts this host. Its entries stand between commas or spaces:
///  - `*`: every host;
///  - a name, with or without a leading `.` or `*.`: that name and all below it, ignoring case (so
///    `*.x` exempts x too);
///  - an address, IPv4 or IPv6, with brackets or without;
///  - a network, `192.0.2.0/24`, `2001:db8::/32`;
///  - any but the first and the last with `:port`: that port only (an IPv6 address in brackets).
/// An entry that is none of these exempts nothing. Names are never looked up: networks exempt
/// addresses that stand in the URL. `host` is as the resolver wants it.
[[nodiscard]] bool is_exempt(std::string_view no_proxy, std::string_view host, std::uint16_t port);

/// The variable that names the proxy for this destination; its value is empty if there is none, or
/// if no_proxy exempts the host.
[[nodiscard]] ProxyEnvironment::Variable proxy_for(const ProxyEnvironment& environment,
                                                   std::string_view host, std::uint16_t port,
                                                   bool is_secure);

/// CONNECT. Owned by the connector for the time of the tunnelling; sidecar side.
class TunnelHandshake final : public Exchange {
public:
    /// No longer head is taken, and no more in interim answers; bytes.
    static constexpr std::size_t max_head_bytes = 64u << 10;

    /// `host` and `port` are where the tunnel is to lead, `host` as the resolver wants it;
    /// `endpoint` is what failures call it. They are connect_failed, or cancelled.
    TunnelHandshake(const Proxy& proxy, std::string_view host, std::uint16_t port,
                    std::string endpoint);

private:
    Result<void> validate(const HttpHead& head, std::string_view body) override;
};

} // namespace sidecar::http
