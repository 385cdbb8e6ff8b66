#include "target.hpp"

#include "proxy.hpp"
#include "tls/tls.hpp"

#include <fmt/format.h>

#include <utility>

namespace sidecar::stream {
namespace {

Failure bad_options(const Target& target, std::string why)
{
    return {Error::bad_options,
            {.attempted = "connect", .endpoint = target.endpoint, .explanation = std::move(why)}};
}

Result<void> check_proxy(const Target& target)
{
    if (target.proxy.url.empty() || !target.unix_path.empty())
        return {};
    const auto proxy = http::parse_proxy(target.proxy.url, "proxy.url");
    if (!proxy)
        return bad_options(target, proxy.error().explanation());
    if (proxy->is_secure)
        return check_tls(target.proxy.tls, fmt::format("the proxy {}", proxy->shown));
    return {};
}

} // namespace

Result<void> check(const Target& target)
{
    if (auto why = judge(target.socket, !target.unix_path.empty()); !why.empty())
        return bad_options(target, "the socket's option " + why);
    if (auto checked = check_proxy(target); !checked)
        return checked;
    return target.tls ? check_tls(*target.tls, target.endpoint) : Result<void>{};
}

} // namespace sidecar::stream
