// TlsOptions: the security of a connection, for every transport on sockets.
#pragma once

#include <sidecar/detail/requirements.hpp>

#include <string>
#include <vector>

namespace sidecar {

/// A version of TLS: RFC 5246, RFC 8446.
enum class TlsVersion { tls_1_2, tls_1_3 };

/// Says which certificates to trust and which to present. By default the peer's chain, its dates
/// and the name that was connected to are verified against the system's trust store.
struct TlsOptions {
    /// Trusted authorities, in place of the system's: a file of PEM certificates, a directory in
    /// OpenSSL's layout (hashed names), PEM text. All that are given count; none (default): the
    /// system's.
    std::string ca_file{};
    std::string ca_directory{};
    std::string ca_pem{};
    /// The client's certificate chain and its key, as PEM files. Both or neither (default).
    std::string certificate_file{};
    std::string key_file{};
    /// The password of an encrypted key. It appears in no text.
    std::string key_password{};
    /// Application protocols to offer (ALPN, RFC 7301), the preferred one first. Default: none.
    std::vector<std::string> alpn{};
    /// The oldest accepted version. Default: TLS 1.2.
    TlsVersion minimum = TlsVersion::tls_1_2;
    /// The name to ask for (SNI) and to verify. Empty (default): the host of the address.
    std::string server_name{};
    /// Accepts any certificate. For tests only: anybody on the way can read and change everything.
    /// Each start logs a warning.
    bool insecure_skip_verification = false;

    friend bool operator==(const TlsOptions&, const TlsOptions&) = default;
};

} // namespace sidecar
