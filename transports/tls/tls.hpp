// TLS over another stream. Private to the transports.
#pragma once

#include "stream.hpp"

#include <sidecar/detail/export.hpp>
#include <sidecar/transports/tls_options.hpp>

#include <memory>
#include <string>

namespace sidecar::stream {

/// What can be said about the options before there is a socket. Errors: bad_options, also where the
/// library was built without TLS.
[[nodiscard]] SIDECAR_API Result<void> check_tls(const TlsOptions& options,
                                                 const std::string& endpoint);

/// Shakes hands over `below` and gives the stream inside, which owns `below`. `host` is what was
/// connected to, a name or an address: it is verified, and if it is a name sent as SNI. `endpoint`
/// is what failures call the other side. Throws Exception: tls_failed; operation_aborted once
/// `below` was aborted.
[[nodiscard]] SIDECAR_API Task<std::shared_ptr<Stream>> secure(Context ctx,
                                                               std::shared_ptr<Stream> below,
                                                               TlsOptions options, std::string host,
                                                               std::string endpoint);

} // namespace sidecar::stream
