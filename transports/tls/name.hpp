// Whom a TLS connection is to: the name or the address that the certificate must be for. Private to
// the transports; pure.
#pragma once

#include <string>
#include <string_view>

namespace sidecar::stream {

/// A name is compared with the dNSName entries of a certificate's subjectAltName, an address with
/// its iPAddress entries, and neither ever with a common name.
struct TlsName {
    std::string name{};    ///< without a trailing dot; empty for an address. Also what SNI asks for
    std::string address{}; ///< 4 or 16 bytes in network order; empty for a name
    std::string text{};    ///< either, for people

    [[nodiscard]] bool is_empty() const noexcept { return name.empty() && address.empty(); }
};

/// `server_name` if it is not empty, else `host`. An address may have a zone, which no certificate
/// knows; everything that the resolver takes for an address is one ("127.1").
[[nodiscard]] TlsName tls_name(std::string_view host, std::string_view server_name);

/// An address, or a name as the DNS has it: labels of letters, digits, '-' and '_', none of them
/// empty, at most 253 octets; a dot may stand at its end.
[[nodiscard]] bool is_server_name(std::string_view text);

} // namespace sidecar::stream
