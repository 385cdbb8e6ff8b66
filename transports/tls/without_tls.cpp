// In place of TLS, where the library is built without it.
#include "tls.hpp"

#include <utility>

namespace sidecar::stream {
namespace {

Failure not_built(std::string endpoint)
{
    return {Error::bad_options,
            {.attempted = "connect with TLS",
             .endpoint = std::move(endpoint),
             .explanation = "the library was built without TLS (the Meson option tls)"}};
}

} // namespace

Result<void> check_tls(const TlsOptions&, const std::string& endpoint)
{
    return not_built(endpoint);
}

Task<std::shared_ptr<Stream>> secure(Context, std::shared_ptr<Stream>, TlsOptions, std::string,
                                     std::string endpoint)
{
    throw Exception{not_built(std::move(endpoint))};
    co_return nullptr;
}

} // namespace sidecar::stream
