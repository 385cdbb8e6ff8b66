// ConnectionInfo: the facts of one connection.
#pragma once

#include <sidecar/detail/export.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar {

/// The facts of a peer's certificate. Unless TlsInfo::is_verified, anybody may have written them.
struct CertificateInfo {
    std::string subject{}; ///< the common name, or else the first entry of the subject's name
    std::string issuer{};  ///< likewise, of the authority
    /// The DNS names and IP addresses that it is valid for; at most 100 of them.
    std::vector<std::string> names{};
    std::chrono::sys_seconds valid_from{};  ///< zero: the date is malformed
    std::chrono::sys_seconds valid_until{}; ///< zero: the date is malformed

    friend bool operator==(const CertificateInfo&, const CertificateInfo&) = default;
};

/// The facts of a connection's TLS.
struct TlsInfo {
    std::string version{}; ///< "TLSv1.2" or "TLSv1.3"
    std::string cipher{};  ///< OpenSSL's name, such as "TLS_AES_256_GCM_SHA384"
    std::string alpn{};    ///< the protocol agreed by ALPN (RFC 7301); empty: none
    /// False: TlsOptions::insecure_skip_verification, or a server's client has no certificate.
    bool is_verified = false;
    bool is_resumed = false; ///< the handshake continued an earlier session
    CertificateInfo certificate{};

    friend bool operator==(const TlsInfo&, const TlsInfo&) = default;
};

/// The facts of one connection. A field is empty if the transport has no such fact. The library
/// shows none of them in a text, except the peer's address: a header may hold a secret, such as
/// Set-Cookie.
struct ConnectionInfo {
    std::uint32_t connection = 0; ///< the connection's number, as in Event; 0: none was made yet
    /// The address at the other end of the socket: "192.0.2.1:443", "unix:/run/feed.sock". With a
    /// proxy it is the proxy's.
    std::string peer{};
    /// The address at our end; of a listener the one that it is bound to. Empty: not known.
    std::string local{};
    std::string protocol{};        ///< as Link::protocol()
    std::string path{};            ///< of an accepted client's request: "/prices"
    std::string query{};           ///< likewise, without the '?'; it may hold a secret
    std::uint16_t http_status = 0; ///< of the handshake's answer; 0: no HTTP
    /// The fields of the handshake's answer (of an accepted client: of its request), in order; a name
    /// may be repeated.
    std::vector<std::pair<std::string, std::string>> headers{};
    std::optional<TlsInfo> tls{}; ///< empty: no TLS
    /// The peer takes no larger message, so a send() of one is refused (too_big); 0: not known.
    std::size_t max_send_bytes = 0;
    /// Answers to request() come to topics that begin so; empty: the transport has no requests.
    std::string reply_prefix{};

    /// Returns the value of the first header with this name, in any case; empty: there is none.
    /// Lifetime: as this object.
    [[nodiscard]] SIDECAR_API std::string_view header(std::string_view name) const noexcept;

    friend bool operator==(const ConnectionInfo&, const ConnectionInfo&) = default;
};

} // namespace sidecar
