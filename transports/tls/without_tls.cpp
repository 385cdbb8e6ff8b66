// Replaces TLS in a library that is built without it.
#include "ed25519.hpp"
#include "tls.hpp"

#include <utility>

namespace sidecar::stream {

Result<TlsContextPtr> prepare_tls(const TlsOptions&, const std::string& endpoint)
{
    return Failure{Error::bad_options,
                   {.attempted = "connect with TLS",
                    .endpoint = endpoint,
                    .explanation = "the library was built without TLS (the Meson option tls)"}};
}

Result<TlsServerContextPtr> prepare_tls_server(const TlsServerOptions&, const std::string& endpoint)
{
    return prepare_tls({}, endpoint).error().with_attempt("listen with TLS", endpoint);
}

void read_trust_environment() {}

Task<std::shared_ptr<Stream>> secure(Context, std::shared_ptr<Stream>, TlsContextPtr, std::string,
                                     std::string endpoint, std::vector<std::byte>, std::string)
{
    throw Exception{prepare_tls({}, std::move(endpoint)).error()};
    co_return nullptr;
}

Task<std::shared_ptr<Stream>> secure_server(Context, std::shared_ptr<Stream>, TlsServerContextPtr,
                                            std::string endpoint, std::vector<std::byte>)
{
    throw Exception{prepare_tls_server({}, std::move(endpoint)).error()};
    co_return nullptr;
}

Result<Ed25519Signature> ed25519_sign(std::string_view, std::string_view)
{
    return prepare_tls({}, {}).error().with_attempt("sign with Ed25519", {});
}

bool is_truncated(error_code) noexcept { return false; }

std::optional<Failure> tls_refusal(error_code, const std::string&) { return std::nullopt; }

} // namespace sidecar::stream
