// TlsServerOptions: the security of accepted connections, for every acceptor on sockets.
#pragma once

#include <sidecar/transports/tls_options.hpp>

#include <string>
#include <vector>

namespace sidecar {

/// Says which certificates a server presents, and whether it verifies its clients. Each handshake
/// checks, at most once a second, whether the files have changed, and reads them again then. Live
/// connections keep what they have. While new files cannot be used, the old certificates stay, and
/// the reason is logged once.
struct TlsServerOptions {
    /// One certificate chain and its key, in PEM form; each from a file or from memory.
    struct Certificate {
        std::string certificate_file{}; ///< the server's certificate first, then its issuers
        std::string key_file{};
        std::string certificate_pem{}; ///< in place of certificate_file
        std::string key_pem{};         ///< in place of key_file; it appears in no text
        /// The password of an encrypted key. It appears in no text.
        std::string key_password{};

        friend bool operator==(const Certificate&, const Certificate&) = default;
    };
    /// Whether the server asks its clients for a certificate.
    enum class ClientCertificates {
        none,     ///< it does not ask
        optional, ///< a client may have none, but none that fails verification
        required, ///< a client without one is refused
    };

    /// At least one. A client that asks for a name (SNI, RFC 6066) gets a certificate for that
    /// name, by its DNS names: an exact one before a wildcard. All other clients get the first.
    /// Certificates for one name may have keys of different kinds (RSA and ECDSA).
    std::vector<Certificate> certificates{};
    /// Default: none. Otherwise ca_file or ca_pem is needed. TlsInfo::certificate has the client's,
    /// and TlsInfo::is_verified says whether there is one.
    ClientCertificates client_certificates = ClientCertificates::none;
    /// The authorities of client certificates: a file of PEM certificates, PEM text. Both count.
    std::string ca_file{};
    std::string ca_pem{};
    /// Application protocols (ALPN, RFC 7301), the preferred one first. A client that offers none
    /// of them is refused, unless it offers none at all. Default: none.
    std::vector<std::string> alpn{};
    /// The oldest accepted version. Default: TLS 1.2.
    TlsVersion minimum = TlsVersion::tls_1_2;

    friend bool operator==(const TlsServerOptions&, const TlsServerOptions&) = default;
};

} // namespace sidecar
