// TLS over another stream. Private to the transports. A library built without TLS has this header
// too.
#pragma once

#include "stream.hpp"

#include <sidecar/detail/export.hpp>
#include <sidecar/transports/tls_options.hpp>
#include <sidecar/transports/tls_server_options.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sidecar::stream {

struct TlsContext;
using TlsContextPtr = std::shared_ptr<const TlsContext>;
struct TlsServerContext;
using TlsServerContextPtr = std::shared_ptr<TlsServerContext>;

/// Validates the options and makes the context that their connections share. The process keeps the
/// last few contexts; one is used again while its files are unchanged. Side: both. Blocks: while it
/// reads files. Errors: bad_options, also if the library was built without TLS; no_resources;
/// tls_failed if OpenSSL cannot start.
[[nodiscard]] SIDECAR_API Result<TlsContextPtr> prepare_tls(const TlsOptions& options,
                                                            const std::string& endpoint);

/// Reads the environment variables that name the system's trust store. Side: app, since getenv()
/// may crash beside the application's setenv().
SIDECAR_API void read_trust_environment();

/// Does the handshake over `below` and returns the TLS stream, which owns `below`. `early` holds
/// bytes of `below` that have already arrived. `host`, a name or an address, is verified, and a
/// name is sent as SNI, unless server_name is set. `endpoint` is the peer's name in failures.
/// `hint` is added to the failure if the peer speaks no TLS.
/// Throws Exception: tls_failed, bad_options for a host that TLS cannot verify; system_error
/// operation_aborted after an abort of `below`.
[[nodiscard]] SIDECAR_API Task<std::shared_ptr<Stream>> secure(
    Context ctx, std::shared_ptr<Stream> below, TlsContextPtr context, std::string host,
    std::string endpoint, std::vector<std::byte> early = {}, std::string hint = {});

/// Validates the options, reads their files and makes the context that the connections of one
/// acceptor share. Side: both. Blocks: while it reads files. Errors: as prepare_tls(); bad_options
/// also for a certificate that is missing, expired, not valid yet, or has another key.
[[nodiscard]] SIDECAR_API Result<TlsServerContextPtr> prepare_tls_server(
    const TlsServerOptions& options, const std::string& endpoint);

/// Does the server's part of the handshake over `below`, and returns the TLS stream, which owns
/// `below`. `early` holds bytes of `below` that have already arrived. `endpoint` names the client
/// in failures. Reads changed files first, which blocks. A client that sends plain HTTP gets a 400
/// answer. After a failure, waits a little until the client has read why.
/// Throws Exception: tls_failed; system_error operation_aborted after an abort of `below`.
[[nodiscard]] SIDECAR_API Task<std::shared_ptr<Stream>> secure_server(
    Context ctx, std::shared_ptr<Stream> below, TlsServerContextPtr context, std::string endpoint,
    std::vector<std::byte> early = {});

/// Whether the connection ended without close_notify.
[[nodiscard]] SIDECAR_API bool is_truncated(error_code ec) noexcept;
/// Returns the failure if a read's error means that the peer refused the handshake after its end.
[[nodiscard]] SIDECAR_API std::optional<Failure> tls_refusal(error_code ec,
                                                             const std::string& endpoint);

} // namespace sidecar::stream
