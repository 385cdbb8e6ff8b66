// The proxy of a connection, from options and environment (http_proxy, no_proxy), and the way through it:
// CONNECT, RFC 9110 section 9.3.6. Without I/O. Private to the transports.
#pragma once

#include "answer.hpp"

#include <sidecar/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
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

/// Makes the request and judges the proxy's answer. The owner of the stream writes request(), then
/// passes the bytes that it reads to take() until that returns a verdict. The verdict comes as soon as
/// the bytes allow it, and is the same however they were cut, but for how much of a refusal's body is
/// quoted. Owned by the connector for the time of the tunnelling; sidecar side. Invariant: memory and
/// time are bounded by `max_head_bytes`, whatever the proxy sends.
class TunnelHandshake {
public:
    /// No longer head is taken, and no more in interim answers; bytes.
    static constexpr std::size_t max_head_bytes = 64u << 10;

    /// `host` and `port` are where the tunnel is to lead, `host` as the resolver wants it;
    /// `endpoint` is what failures call it.
    TunnelHandshake(const Proxy& proxy, std::string_view host, std::uint16_t port,
                    std::string endpoint);

    [[nodiscard]] const std::string& request() const noexcept { return request_; }
    /// Takes in more of the answer. Nothing: all of it was taken, and more is needed. A value: the
    /// tunnel is open, and so many of the bytes belonged to the answer; what follows came through
    /// the tunnel. Not to be called again after a verdict. Errors: connect_failed.
    [[nodiscard]] std::optional<Result<std::size_t>> take(std::span<const std::byte> bytes);
    /// What the end of the stream means before there is a verdict; `cause` if it did not end in
    /// order. Errors: connect_failed, cancelled.
    [[nodiscard]] Failure ended(error_code cause = {}) const;

private:
    [[nodiscard]] std::string attempted() const;
    [[nodiscard]] Failure failure(std::string why, FailureDetails details = {}) const;
    [[nodiscard]] Failure refused(std::string_view body) const;

    const std::string shown_proxy_;     // sidecar side
    const std::string endpoint_;        // sidecar side; masked
    Secrets secrets_{};                 // sidecar side
    std::string request_{};             // sidecar side
    HeadReader reader_{max_head_bytes}; // sidecar side
};

} // namespace sidecar::http
