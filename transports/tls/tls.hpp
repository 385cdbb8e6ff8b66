// TLS over another stream. Private to the transports; also there where the library is built without.
#pragma once

#include "stream.hpp"

#include <sidecar/detail/export.hpp>
#include <sidecar/transports/tls_options.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sidecar::stream {

struct TlsContext;
using TlsContextPtr = std::shared_ptr<const TlsContext>;

/// Validates the options, and makes of them what their connections share, unless that was done before
/// and the files are what they were: the process keeps the last few. Side: both. Blocks: while files are read. Errors: bad_options,
/// also where the library was built without TLS; no_resources; tls_failed where OpenSSL cannot start.
[[nodiscard]] SIDECAR_API Result<TlsContextPtr> prepare_tls(const TlsOptions& options,
                                                            const std::string& endpoint);

/// Reads the variables that say where the system's trust store is. Side: app, since getenv() may crash
/// beside the application's setenv().
SIDECAR_API void read_trust_environment();

/// Shakes hands over `below`, of which `early` has arrived already, and returns the stream inside,
/// which owns `below`. `host`, a name or an address, was connected to: it is verified, and a name is
/// sent as SNI, unless server_name is set.
/// `endpoint` is the other side's name in failures. Throws Exception: tls_failed; operation_aborted
/// once `below` was aborted.
[[nodiscard]] SIDECAR_API Task<std::shared_ptr<Stream>> secure(
    Context ctx, std::shared_ptr<Stream> below, TlsContextPtr context, std::string host,
    std::string endpoint, std::vector<std::byte> early = {});

/// The connection ended without close_notify.
[[nodiscard]] SIDECAR_API bool is_truncated(error_code ec) noexcept;
/// The failure where a read's error says that the peer refused the handshake after all.
[[nodiscard]] SIDECAR_API std::optional<Failure> tls_refusal(error_code ec,
                                                             const std::string& endpoint);

} // namespace sidecar::stream
