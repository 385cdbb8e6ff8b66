// Reads certificates and keys from files. Private to TLS. Side: any thread. Blocks: as long as the
// file system does, never for another process, since only regular files are read.
#pragma once

#include "openssl.hpp"

#include <sidecar/error.hpp>
#include <sidecar/transports/tls_server_options.hpp>

#include <string>
#include <vector>

namespace sidecar::stream {

/// Makes a failure about a file. It is passing, since the file may change before the next attempt.
/// Error: no_resources if the system lacked a descriptor or memory, else bad_options.
[[nodiscard]] Failure unusable(std::string why, int error = 0);

using Certificates = std::vector<CertificatePtr>;

/// A certificate with its issuers and its key.
struct Identity {
    std::string name; ///< for texts: 'certificate_file "/etc/cert.pem"'
    Certificates chain;
    CertificatesPtr issuers; ///< all of `chain` but the first
    KeyPtr key;
};

/// Returns a file's whole content. Here and below, explanations begin with `option` and the path.
[[nodiscard]] Result<std::string> read_file(const char* option, const std::string& path);

/// Returns all certificates in PEM text, at least one.
[[nodiscard]] Result<Certificates> parse_certificates(const std::string& where,
                                                      const std::string& pem);
[[nodiscard]] Result<Certificates> read_certificates(const char* option, const std::string& path);
/// Returns the key in PEM text. The password appears in no text.
[[nodiscard]] Result<KeyPtr> parse_key(const std::string& where, const std::string& pem,
                                       const std::string& password);
/// Reads a certificate and its key. `prefix` is put before the names of its options in texts.
[[nodiscard]] Result<Identity> read_identity(const std::string& prefix,
                                             const TlsServerOptions::Certificate& from);
/// Returns the certificates of a directory that have hashed names ("5ed36f99.0"). Ignores files
/// without a certificate.
[[nodiscard]] Result<Certificates> read_directory(const char* option, const std::string& path);

/// Identifies the state of files by path, identity, size and time; of a missing file by its path
/// only. An empty path is no file.
[[nodiscard]] std::string file_stamps(const std::vector<std::string>& paths);

/// Returns 'ca_file "/etc/ca.pem"', for texts.
[[nodiscard]] std::string named(const char* option, const std::string& path);

} // namespace sidecar::stream
