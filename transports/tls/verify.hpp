// Verifies the peer: its chain of certificates, their dates, and the name. Private to TLS.
#pragma once

#include "errors.hpp"
#include "openssl.hpp"

#include <memory>
#include <optional>
#include <string>

namespace sidecar::stream {

struct TlsContext;

/// What OpenSSL's callbacks know of one connection, and note of its peer: the SSL's app data. Owned by
/// the engine.
struct PeerCheck {
    const std::shared_ptr<const TlsContext> context;
    const std::string wanted;      ///< name or address; empty: none is compared
    const std::string session_key; ///< under which its sessions are kept
    std::optional<Refusal> refusal{};
    bool has_declined_renegotiation = false;
};

/// Makes `ssl` ask for the wanted name by SNI, and compare it with the dNSName entries of the
/// certificate; an address with its iPAddress entries; neither ever with a common name. False:
/// OpenSSL could not.
[[nodiscard]] bool demand_name(SSL* ssl, const std::string& wanted);

/// For SSL_CTX_set_cert_verify_callback(). Verifies as OpenSSL does, and where a certificate was
/// sent in several forms (cross-signed), with each of them; notes in PeerCheck why not.
int verify_peer(X509_STORE_CTX* store, void*) noexcept;

/// Short copies of a stranger's bytes, as they are.
[[nodiscard]] CertificateFacts facts_of(const X509* certificate);

} // namespace sidecar::stream
