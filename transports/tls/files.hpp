// Certificates and keys of our own, from files. Private to TLS. Side: any thread. Blocks: while the
// file system does, never for another process: only regular files are read.
#pragma once

#include "openssl.hpp"

#include <sidecar/error.hpp>

#include <string>
#include <vector>

namespace sidecar::stream {

/// A refusal in words; whatever a file holds may be another at the next attempt, so it is passing.
/// Error: no_resources where the system lacked a descriptor or memory, else bad_options.
[[nodiscard]] Failure unusable(std::string why, int error = 0);

using Certificates = std::vector<CertificatePtr>;

/// A file's whole content. Explanations of all these begin with `option` and the path.
[[nodiscard]] Result<std::string> read_file(const char* option, const std::string& path);

/// All certificates in PEM text; at least one.
[[nodiscard]] Result<Certificates> parse_certificates(const std::string& where,
                                                      const std::string& pem);
[[nodiscard]] Result<Certificates> read_certificates(const char* option, const std::string& path);
/// The key in PEM text. The password appears in no text.
[[nodiscard]] Result<KeyPtr> parse_key(const std::string& where, const std::string& pem,
                                       const std::string& password);
/// The certificates that stand in a directory under their hashed names ("5ed36f99.0"); files that
/// hold none do not count.
[[nodiscard]] Result<Certificates> read_directory(const char* option, const std::string& path);

/// What tells whether a file is still the same: its path, identity, size and time; only the path of
/// one that is not there.
[[nodiscard]] std::string file_stamp(const std::string& path);

/// 'ca_file "/etc/ca.pem"', for texts.
[[nodiscard]] std::string named(const char* option, const std::string& path);

} // namespace sidecar::stream
