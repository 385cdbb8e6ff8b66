#include "connector.hpp"

#include "proxy.hpp"
#include "tls/tls.hpp"
#include "tunnel.hpp"

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <optional>
#include <utility>

namespace sidecar::stream {
namespace {

const char* from_environment(const char* name) { return std::getenv(name); }

/// Empty: the connection goes straight. Throws Exception: bad_options.
std::optional<http::Proxy> choose_proxy(const Target& target)
{
    http::ProxyEnvironment::Variable chosen{"proxy.url", target.proxy.url};
    if (chosen.value.empty() && target.proxy.from_environment) {
        chosen = http::proxy_for(http::ProxyEnvironment::read(from_environment), target.host,
                                 target.port, target.tls.has_value());
        chosen.name = "the variable " + chosen.name;
    }
    if (chosen.value.empty())
        return {};
    auto proxy = http::parse_proxy(chosen.value, chosen.name);
    if (!proxy)
        throw Exception{Failure{Error::bad_options,
                                {.attempted = "connect",
                                 .endpoint = target.endpoint,
                                 .explanation = proxy.error().explanation()}}};
    return *std::move(proxy);
}

/// Before anything is connected: a start has looked at what it knew, not at where a redirection
/// leads, nor at what the environment says. Throws Exception: bad_options.
void require_tls(const TlsOptions& options, const std::string& endpoint)
{
    if (auto checked = check_tls(options, endpoint); !checked)
        throw Exception{checked.error()};
}

/// Why the proxy cannot be reached, as a failure of the whole way.
Failure on_the_way(const Failure& failure, const http::Proxy& proxy, const std::string& endpoint)
{
    const bool is_lookup = failure.attempted() != "connect";
    return {static_cast<Error>(failure.code().value()),
            {.attempted = "connect through the proxy " + proxy.shown,
             .endpoint = endpoint,
             .cause = failure.cause(),
             .explanation = is_lookup ? fmt::format("cannot {}: {}", failure.attempted(),
                                                    failure.explanation())
                                      : failure.explanation()}};
}

} // namespace

Task<std::shared_ptr<Stream>> Connector::connect(Context ctx, Target target)
{
    if (target.tls)
        require_tls(*target.tls, target.endpoint);
    under_way_ = co_await dial(ctx, target);
    if (target.tls) {
        ctx.phase(Phase::securing, "with " + under_way_->peer());
        under_way_ = co_await secure(ctx, under_way_, *target.tls, target.host, target.endpoint);
    }
    if (is_aborted_)
        throw boost::system::system_error{boost::asio::error::operation_aborted};
    co_return std::exchange(under_way_, nullptr);
}

Task<std::shared_ptr<Stream>> Connector::dial(Context ctx, Target target)
{
    if (!target.unix_path.empty())
        co_return co_await dialer_.connect_unix(ctx, target.unix_path, target.socket,
                                                target.endpoint);
    auto proxy = choose_proxy(target);
    if (proxy)
        co_return co_await dial_proxy(ctx, target, *std::move(proxy));
    co_return co_await dialer_.connect(ctx, target.host, target.port, target.socket,
                                       target.endpoint);
}

Task<std::shared_ptr<Stream>> Connector::dial_proxy(Context ctx, Target target, http::Proxy proxy)
{
    const auto secured_endpoint =
        fmt::format("the proxy {} on the way to {}", proxy.shown, target.endpoint);
    if (proxy.is_secure)
        require_tls(target.proxy.tls, secured_endpoint);
    std::optional<Failure> failure;
    try {
        under_way_ =
            co_await dialer_.connect(ctx, proxy.host, proxy.port, target.socket, proxy.shown);
    } catch (const Exception& e) {
        failure = on_the_way(e.failure(), proxy, target.endpoint);
    }
    if (failure)
        throw Exception{*failure};
    if (proxy.is_secure) {
        ctx.phase(Phase::securing, "with the proxy " + proxy.shown);
        under_way_ =
            co_await secure(ctx, under_way_, target.proxy.tls, proxy.host, secured_endpoint);
    }
    co_return co_await tunnel(ctx, under_way_, std::move(proxy), target.host, target.port,
                              target.endpoint);
}

void Connector::abort() noexcept
{
    is_aborted_ = true;
    dialer_.abort();
    if (under_way_)
        under_way_->abort();
}

} // namespace sidecar::stream
