// What is told of a certificate. Private to TLS.
#pragma once

#include "openssl.hpp"
#include "verdict.hpp"

#include <string>

namespace sidecar::stream {

/// Gives short copies of what a stranger wrote, as it stands there.
[[nodiscard]] CertificateFacts facts_of(const X509* certificate);
/// This machine's time, as utc_text() has it.
[[nodiscard]] std::string utc_now();

} // namespace sidecar::stream
