#include "connector.hpp"

#include "proxy.hpp"
#include "tls/tls.hpp"

#include <sidecar/detail/library_thread.hpp>

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace sidecar::stream {

namespace asio = boost::asio;

namespace {

/// The environment as a thread of the application has read it last. It never goes: a thread that a stop
/// has left behind may look at it at the end of the process.
struct Environment {
    std::mutex mutex;
    std::optional<http::ProxyEnvironment> variables; // both: guarded by mutex

    [[nodiscard]] static Environment& instance()
    {
        static auto& only = *new Environment;
        return only;
    }
};

Failure bad_options(const Target& target, std::string why)
{
    return {Error::bad_options,
            {.attempted = "connect", .endpoint = target.endpoint, .explanation = std::move(why)}};
}

void read_environment()
{
    auto variables = http::ProxyEnvironment::read(
        [](const char* name) -> const char* { return std::getenv(name); });
    auto& environment = Environment::instance();
    const std::lock_guard lock{environment.mutex};
    environment.variables = std::move(variables);
}

/// Empty: the connection goes straight. Errors: bad_options.
Result<std::optional<http::Proxy>> choose_proxy(const Target& target)
{
    http::ProxyEnvironment::Variable chosen{"proxy.url", target.proxy.url};
    if (chosen.value.empty() && target.proxy.from_environment) {
        auto& environment = Environment::instance();
        const std::lock_guard lock{environment.mutex};
        if (!environment.variables)
            return bad_options(target,
                               "proxy.from_environment: the environment is read when options are "
                               "checked on a thread of the application; set it also in the "
                               "options that the sidecar is made with");
        chosen = http::proxy_for(*environment.variables, target.host, target.port,
                                 target.tls.has_value());
        chosen.name = "the variable " + chosen.name;
    }
    if (chosen.value.empty())
        return std::optional<http::Proxy>{};
    auto proxy = http::parse_proxy(chosen.value, chosen.name);
    if (!proxy)
        return bad_options(target, proxy.error().explanation());
    return std::optional{*std::move(proxy)};
}

/// The failure to reach the proxy, as a failure of the whole way.
Failure on_the_way(const Failure& failure, const http::Proxy& proxy, const std::string& endpoint)
{
    auto why = failure.explanation();
    if (failure.attempted() != "connect") // a look-up
        why = fmt::format("cannot {}: {}", failure.attempted(), why);
    return {static_cast<Error>(failure.code().value()),
            {.attempted = "connect through the proxy " + proxy.shown,
             .endpoint = endpoint,
             .cause = failure.cause(),
             .explanation = std::move(why)}};
}

/// Asks the proxy at the other end of `below` for a tunnel to the host, and returns the stream that
/// leads through it: `below` itself, or a PrefixedStream with the bytes behind the proxy's answer. `endpoint` is what failures call the host. Throws Exception: connect_failed;
/// operation_aborted once `below` was aborted.
Task<std::shared_ptr<Stream>> tunnel(Context ctx, std::shared_ptr<Stream> below, http::Proxy proxy,
                                     std::string host, std::uint16_t port, std::string endpoint)
{
    ctx.phase(Phase::tunnelling, "at " + proxy.shown);
    http::TunnelHandshake handshake{proxy, host, port, std::move(endpoint)};
    const auto write_error = co_await write_all(*below, handshake.request());
    std::vector<std::byte> buffer(4096);
    for (;;) {
        error_code ec;
        const ReadBuffers into{asio::buffer(buffer)};
        const auto got = co_await below->read_some(into, ec);
        if (below->is_aborted())
            ec = asio::error::operation_aborted;
        if (const auto refusal = tls_refusal(ec, "the proxy " + proxy.shown))
            throw Exception{*refusal};
        if (ec)
            throw Exception{handshake.ended(
                write_error && ec != asio::error::operation_aborted ? write_error : ec)};
        const auto bytes = std::span{buffer}.first(got);
        const auto verdict = handshake.take(bytes);
        if (!verdict)
            continue;
        const auto glued = bytes.subspan(verdict->value());
        if (glued.empty())
            co_return below;
        std::vector<std::byte> prefix{glued.begin(), glued.end()};
        co_return std::make_shared<PrefixedStream>(std::move(prefix), std::move(below));
    }
}

} // namespace

Task<error_code> write_all(Stream& stream, const std::string& text)
{
    error_code ec;
    for (std::size_t at = 0; at < text.size() && !ec;) {
        const auto rest = asio::buffer(text) + at;
        at += co_await stream.write_some({&rest, 1}, ec);
    }
    co_return ec;
}

std::size_t PrefixedStream::take(const ReadBuffers& into, error_code& ec)
{
    if (is_aborted()) {
        ec = asio::error::operation_aborted;
        return 0;
    }
    ec = {};
    const auto got = asio::buffer_copy(into, asio::buffer(prefix_));
    prefix_.erase(prefix_.begin(), prefix_.begin() + static_cast<std::ptrdiff_t>(got));
    if (prefix_.empty())
        prefix_ = {};
    return got;
}

Task<std::size_t> PrefixedStream::read_some(ReadBuffers into, error_code& ec)
{
    if (prefix_.empty())
        return below_->read_some(into, ec);
    return [](PrefixedStream& self, ReadBuffers to, error_code& result) -> Task<std::size_t> {
        co_return self.take(to, result);
    }(*this, into, ec);
}

std::size_t PrefixedStream::try_read(ReadBuffers into, error_code& ec)
{
    return prefix_.empty() ? below_->try_read(into, ec) : take(into, ec);
}

Result<void> validate(const Target& target)
{
    const bool is_unix = !target.unix_path.empty();
    if (auto valid = validate(target.socket, is_unix); !valid)
        return bad_options(target, "the socket's option " + valid.error().explanation());
    if (!detail::is_library_thread()) {
        read_trust_environment();
        if (target.proxy.from_environment && target.proxy.url.empty())
            read_environment();
    }
    bool may_be_secure = target.proxy.from_environment;
    if (!target.proxy.url.empty() && !is_unix) {
        const auto proxy = choose_proxy(target);
        if (!proxy)
            return proxy.error();
        may_be_secure = proxy->value().is_secure;
        if (may_be_secure)
            if (const auto prepared =
                    prepare_tls(target.proxy.tls, "the proxy " + proxy->value().shown);
                !prepared)
                return prepared.error();
    }
    if (!may_be_secure && target.proxy.tls != TlsOptions{})
        return bad_options(target, "proxy.tls has no meaning without a proxy of https://");
    if (target.tls)
        if (const auto prepared = prepare_tls(*target.tls, target.endpoint); !prepared)
            return prepared.error();
    return {};
}

Task<std::shared_ptr<Stream>> Connector::connect(Context ctx, Target target)
{
    TlsContextPtr tls; // before anything is connected
    if (target.tls)
        tls = prepare_tls(*target.tls, target.endpoint).value();
    under_way_ = co_await dial(ctx, target);
    if (tls) {
        ctx.phase(Phase::securing, "with " + under_way_->peer());
        under_way_ = co_await secure(ctx, under_way_, tls, target.host, target.endpoint);
    }
    if (is_aborted_)
        throw boost::system::system_error{asio::error::operation_aborted};
    co_return std::exchange(under_way_, nullptr);
}

Task<std::shared_ptr<Stream>> Connector::dial(Context ctx, Target target)
{
    if (!target.unix_path.empty())
        co_return co_await dialer_.connect_unix(ctx, target.unix_path, target.socket,
                                                target.endpoint);
    if (auto proxy = choose_proxy(target).value())
        co_return co_await dial_proxy(ctx, target, *std::move(proxy));
    co_return co_await dialer_.connect(ctx, target.host, target.port, target.socket,
                                       target.endpoint);
}

Task<std::shared_ptr<Stream>> Connector::dial_proxy(Context ctx, Target target, http::Proxy proxy)
{
    const auto secured_endpoint =
        fmt::format("the proxy {} on the way to {}", proxy.shown, target.endpoint);
    TlsContextPtr tls;
    if (proxy.is_secure)
        tls = prepare_tls(target.proxy.tls, secured_endpoint).value();
    std::optional<Failure> failure;
    try {
        under_way_ =
            co_await dialer_.connect(ctx, proxy.host, proxy.port, target.socket, proxy.shown);
    } catch (const Exception& e) {
        failure = on_the_way(e.failure(), proxy, target.endpoint);
    }
    if (failure)
        throw Exception{*failure};
    if (tls) {
        ctx.phase(Phase::securing, "with the proxy " + proxy.shown);
        under_way_ = co_await secure(ctx, under_way_, tls, proxy.host, secured_endpoint);
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
