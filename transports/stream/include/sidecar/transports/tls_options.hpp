// TlsOptions: how a connection is secured, for every transport on sockets.
#pragma once

#include <string>
#include <vector>

namespace sidecar {

enum class TlsVersion { tls_1_2, tls_1_3 };

/// What TLS is to verify and to show. By default the peer's chain is verified against the system's
/// trust store, with its dates and with the name that was connected to.
struct TlsOptions {
    /// Authorities that are trusted, in place of the system's: a file of PEM certificates, a
    /// directory as OpenSSL wants it (hashed names), PEM text. All that are given count; none: the
    /// system's.
    std::string ca_file{};
    std::string ca_directory{};
    std::string ca_pem{};
    /// The client's own certificate with its chain, and its key, as PEM files. Both or neither.
    std::string certificate_file{};
    std::string key_file{};
    /// For a key that is encrypted; appears in no text.
    std::string key_password{};
    /// What is offered as application protocols (RFC 7301), the preferred one first.
    std::vector<std::string> alpn{};
    /// Peers that speak only older versions are refused.
    TlsVersion minimum = TlsVersion::tls_1_2;
    /// The name that is asked for (SNI) and verified; empty: the host of the address.
    std::string server_name{};
    /// Takes any certificate of anybody. For tests only: whoever stands in between reads and writes
    /// everything. Each start logs a warning.
    bool insecure_skip_verification = false;

    friend bool operator==(const TlsOptions&, const TlsOptions&) = default;
};

} // namespace sidecar
