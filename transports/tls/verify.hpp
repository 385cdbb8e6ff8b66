// Verifies the peer: its certificate chain, the dates and the name. Private to TLS.
#pragma once

#include "errors.hpp"
#include "openssl.hpp"

#include <sidecar/connection_info.hpp>

#include <memory>
#include <optional>
#include <string>

namespace sidecar::stream {

struct TlsContext;

/// The state that OpenSSL's callbacks need for one connection, and their findings: the SSL's app
/// data. The engine owns it.
struct PeerCheck {
    const std::shared_ptr<const TlsContext> context;
    const std::string wanted;      ///< name or address; empty: none is compared
    const std::string session_key; ///< the key of its sessions
    std::optional<Refusal> refusal{};
    bool has_declined_renegotiation = false;
};

/// Makes `ssl` send the wanted name as SNI and compare it with the certificate's dNSName entries;
/// an address is compared with the iPAddress entries. A common name never counts. False: OpenSSL
/// failed.
[[nodiscard]] bool demand_name(SSL* ssl, const std::string& wanted);

/// For SSL_CTX_set_cert_verify_callback(). Verifies as OpenSSL does; if the peer sent a certificate
/// in several forms (cross-signed), tries each of them. Records a refusal in PeerCheck.
int verify_peer(X509_STORE_CTX* store, void*) noexcept;

/// Why the certificate is not valid now, by its dates; empty: it is.
[[nodiscard]] std::optional<Refusal> judge_dates(const X509* certificate);

/// Copies the facts, shortened and not escaped: they are untrusted bytes.
[[nodiscard]] CertificateFacts facts_of(const X509* certificate);
/// Copies the facts for the application, in bounded memory.
[[nodiscard]] CertificateInfo info_of(const X509* certificate);

} // namespace sidecar::stream
