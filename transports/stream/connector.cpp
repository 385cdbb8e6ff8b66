#include "connector.hpp"

#include "last_read.hpp"
#include "proxy.hpp"
#include "tls/tls.hpp"

#include <sidecar/detail/library_thread.hpp>

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace sidecar::stream {

namespace asio = boost::asio;

namespace {

/// Empty: no application thread has read it yet.
using Environment = http::LastRead<std::optional<http::ProxyEnvironment>>;

Failure bad_options(const Target& target, std::string why)
{
    return {Error::bad_options,
            {.attempted = "connect", .endpoint = target.endpoint, .explanation = std::move(why)}};
}

Failure unread(const Target& target, std::string_view option)
{
    return bad_options(target, fmt::format("{}: the environment is read when options are checked "
                                           "on a thread of the application; set it also in the "
                                           "options that the sidecar is made with",
                                           option));
}

/// Empty: no application thread has read it yet.
using FaultsInEnvironment = http::LastRead<std::optional<Faults>>;

/// Reads the variable on an application thread. Errors: bad_options.
Result<void> read_faults(const Target& target)
{
    constexpr auto name = "SIDECAR_FAULTS";
    const char* const text = std::getenv(name);
    const auto faults = parse_faults(text ? text : "");
    if (!faults)
        return bad_options(target,
                           fmt::format("the variable {}: {}", name, faults.error().explanation()));
    FaultsInEnvironment::set(*faults);
    return {};
}

/// Returns the faults of the connection; empty: none. Errors: bad_options.
Result<std::optional<Faults>> choose_faults(const Target& target)
{
    if (target.faults || !target.faults_from_environment)
        return target.faults;
    const auto faults = FaultsInEnvironment::get();
    if (!faults)
        return unread(target, "faults_from_environment");
    return faults;
}

/// Returns the proxy to use; empty: connect directly. Errors: bad_options.
Result<std::optional<http::Proxy>> choose_proxy(const Target& target)
{
    http::ProxyEnvironment::Variable chosen{"proxy.url", target.proxy.url};
    if (chosen.value.empty() && target.proxy.from_environment) {
        const auto environment = Environment::get();
        if (!environment)
            return unread(target, "proxy.from_environment");
        chosen = http::proxy_for(*environment, target.host, target.port, target.tls.has_value());
        chosen.name = "the variable " + chosen.name;
    }
    if (chosen.value.empty())
        return std::optional<http::Proxy>{};
    auto proxy = http::parse_proxy(chosen.value, chosen.name);
    if (!proxy)
        return bad_options(target, proxy.error().explanation());
    return std::optional{*std::move(proxy)};
}

/// Turns a failure to reach the proxy into a failure to reach `endpoint`.
Failure on_the_way(const Failure& failure, const http::Proxy& proxy, const std::string& endpoint)
{
    auto why = failure.explanation();
    if (failure.attempted() != "connect") // a failed look-up
        why = fmt::format("cannot {}: {}", failure.attempted(), why);
    return failure.with_attempt("connect through the proxy " + proxy.shown, endpoint)
        .with_explanation(std::move(why));
}

/// Asks the proxy at the other end of `below` for a tunnel to the host. `endpoint` is the host's
/// name in failures. Throws Exception: connect_failed; cancelled after an abort of `below`.
Task<Connected> tunnel(Context ctx, std::shared_ptr<Stream> below, http::Proxy proxy,
                       std::string host, std::uint16_t port, std::string endpoint)
{
    ctx.phase(Phase::tunnelling, "at " + proxy.shown);
    http::TunnelHandshake handshake{proxy, host, port, std::move(endpoint)};
    auto early = co_await run_exchange(*below, handshake, {}, "the proxy " + proxy.shown);
    if (!early)
        throw Exception{early.error()};
    Connected connected{std::move(below), *std::move(early)};
    co_return connected;
}

Task<error_code> write_all(Stream& stream, const std::string& text)
{
    error_code ec;
    for (std::size_t at = 0; at < text.size() && !ec;) {
        const auto rest = asio::buffer(text) + at;
        at += co_await stream.write_some({&rest, 1}, ec);
    }
    co_return ec;
}

} // namespace

Task<Result<std::vector<std::byte>>> run_exchange(Stream& stream, http::Exchange& exchange,
                                                  std::vector<std::byte> early, std::string peer)
{
    // Judged later: a peer may refuse and close before it has read the whole request
    const auto write_error = co_await write_all(stream, exchange.request());
    for (auto bytes = std::move(early);;) {
        const auto verdict = exchange.take(bytes);
        if (verdict && !*verdict)
            co_return verdict->error();
        if (verdict) {
            bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(**verdict));
            co_return bytes;
        }
        bytes.resize(4096);
        error_code ec;
        const ReadBuffers into{asio::buffer(bytes)};
        bytes.resize(co_await stream.read_some(into, ec));
        if (stream.is_aborted())
            ec = asio::error::operation_aborted;
        if (const auto refusal = tls_refusal(ec, peer))
            throw Exception{*refusal};
        if (ec)
            throw Exception{exchange.ended(
                write_error && ec != asio::error::operation_aborted ? write_error : ec,
                is_truncated(ec) ? "was truncated" : "broke")};
    }
}

Result<void> validate(const Target& target)
{
    const bool is_unix = !target.unix_path.empty();
    if (auto valid = validate(target.socket, is_unix); !valid)
        return bad_options(target, "the socket's option " + valid.error().explanation());
    if (target.faults)
        if (const auto valid = check_faults(*target.faults); !valid)
            return bad_options(target, "faults: " + valid.error().explanation());
    if (!detail::is_library_thread()) {
        read_trust_environment();
        if (target.faults_from_environment && !target.faults)
            if (auto valid = read_faults(target); !valid)
                return valid;
        if (target.proxy.from_environment && target.proxy.url.empty())
            Environment::set(http::ProxyEnvironment::read(
                [](const char* name) -> const char* { return std::getenv(name); }));
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

Task<Connected> Connector::connect(Context ctx, Target target)
{
    TlsContextPtr tls; // fails before any socket is opened
    if (target.tls)
        tls = prepare_tls(*target.tls, target.endpoint).value();
    if (const auto faults = choose_faults(target).value(); faults && faults->any()) {
        if (!faults_) // a redirect goes on with them
            faults_ = std::make_shared<ConnectionFaults>(*faults, attempt_);
        faults_->announce(ctx, target.endpoint);
        target.socket.faults = faults_;
    }
    auto connected = co_await dial(ctx, target);
    under_way_ = connected.stream;
    if (tls) {
        ctx.phase(Phase::securing, "with " + under_way_->peer());
        connected.stream = co_await secure(ctx, under_way_, tls, target.host, target.endpoint,
                                           std::exchange(connected.early, {}), target.without_tls);
    }
    under_way_.reset();
    if (is_aborted_)
        throw boost::system::system_error{asio::error::operation_aborted};
    co_return connected;
}

Task<Connected> Connector::dial(Context ctx, Target target)
{
    if (!target.unix_path.empty())
        under_way_ =
            co_await dialer_.connect_unix(ctx, target.unix_path, target.socket, target.endpoint);
    else if (auto proxy = choose_proxy(target).value())
        co_return co_await dial_proxy(ctx, target, *std::move(proxy));
    else
        under_way_ =
            co_await dialer_.connect(ctx, target.host, target.port, target.socket, target.endpoint);
    Connected connected{.stream = under_way_};
    co_return connected;
}

Task<Connected> Connector::dial_proxy(Context ctx, Target target, http::Proxy proxy)
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
        under_way_ = co_await secure(ctx, under_way_, tls, proxy.host, secured_endpoint, {},
                                     "does the proxy's URL want http://?");
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
