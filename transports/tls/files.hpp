// Certificates and keys of our own, from files. Private to TLS. Side: any thread. Blocks: while the
// file system does.
#pragma once

#include "openssl.hpp"

#include <sidecar/error.hpp>

#include <string>
#include <vector>

namespace sidecar::stream {

/// A file's whole content; what it fails with is told as an explanation that begins with `what`, the
/// option's name. Errors of all these: bad_options.
[[nodiscard]] Result<std::string> read_file(const char* what, const std::string& path);

/// All certificates in PEM text; at least one.
[[nodiscard]] Result<std::vector<CertificatePtr>> parse_certificates(const std::string& where,
                                                                     const std::string& pem);
/// The key in PEM text. The password appears in no text.
[[nodiscard]] Result<KeyPtr> parse_key(const std::string& where, const std::string& pem,
                                       const std::string& password);
/// A directory that can be read, and has at least one certificate under its hashed name.
[[nodiscard]] Result<void> check_directory(const std::string& path);

/// What tells whether a file is still the same: its path, identity, size and time; of one that is
/// not there the path.
[[nodiscard]] std::string file_stamp(const std::string& path);

/// 'ca_file "/etc/ca.pem"', for texts.
[[nodiscard]] std::string named(const char* what, const std::string& path);

} // namespace sidecar::stream
