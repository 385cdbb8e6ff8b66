#include "tls.hpp"

#include "sessions.hpp"
#include "tls_stream.hpp"

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace sidecar::stream {

namespace asio = boost::asio;

namespace {

Failure bad(std::string why, const std::string& endpoint)
{
    return {Error::bad_options,
            {.attempted = "prepare TLS", .endpoint = endpoint, .explanation = std::move(why)}};
}

Failure failed(std::string why, const std::string& endpoint, error_code cause = {})
{
    return {Error::tls_failed,
            {.attempted = "secure the connection",
             .endpoint = endpoint,
             .cause = cause,
             .explanation = std::move(why)}};
}

/// What is wrong without a look at any file; empty: nothing.
std::string find_fault(const TlsOptions& options)
{
    if (options.certificate_file.empty() != options.key_file.empty())
        return "certificate_file and key_file are needed both, or neither";
    if (!options.server_name.empty() && !is_server_name(options.server_name))
        return "server_name is neither a host name nor an address";
    if (options.minimum != TlsVersion::tls_1_2 && options.minimum != TlsVersion::tls_1_3)
        return "minimum is no version of TLS";
    std::size_t alpn_bytes = 0;
    for (const auto& protocol : options.alpn) {
        if (protocol.empty() || protocol.size() > 255)
            return "each of alpn has 1 to 255 bytes (RFC 7301)";
        alpn_bytes += 1 + protocol.size();
    }
    if (alpn_bytes > 0xffff)
        return "alpn is too long";
    return {};
}

Result<std::shared_ptr<const TlsContext>> prepare(const TlsOptions& options,
                                                  const std::string& endpoint)
{
    if (auto fault = find_fault(options); !fault.empty())
        return bad(std::move(fault), endpoint);
    auto context = tls_context(options);
    if (!context)
        return bad(context.error().explanation(), endpoint);
    return context;
}

/// Sessions of one server, asked for by one name, under one trust and one certificate of ours.
std::string session_key(const TlsContext& context, const TlsName& name, const std::string& endpoint)
{
    return fmt::format("{}{}:{} {}", context.key(), name.text.size(), name.text, endpoint);
}

} // namespace

Result<void> check_tls(const TlsOptions& options, const std::string& endpoint)
{
    const auto context = prepare(options, endpoint);
    if (!context)
        return context.error();
    return {};
}

Task<std::shared_ptr<Stream>> secure(Context ctx, std::shared_ptr<Stream> below, TlsOptions options,
                                     std::string host, std::string endpoint)
{
    const auto context = prepare(options, endpoint).value();
    const auto name = tls_name(host, options.server_name);
    if (name.is_empty() && context->verifies())
        throw Exception{
            bad("there is no host whose name could be verified: server_name is needed", endpoint)};
    if (!context->verifies())
        ctx.log(LogLevel::warning,
                fmt::format("TLS to {} is not secure: the certificate is not verified "
                            "(insecure_skip_verification), so that anybody in between can read and "
                            "change everything",
                            endpoint));
    const auto key = session_key(*context, name, endpoint);
    const auto engine = std::make_shared<TlsEngine>(context, name, key);
    const auto tls = std::make_shared<Tls>(below, engine);
    error_code ec;
    auto why = co_await tls->shake_hands(ec);
    if (ec == asio::error::operation_aborted)
        throw boost::system::system_error{ec};
    if (why.empty() && context->verifies() && !engine->is_verified())
        why =
            "the peer showed no certificate that could be verified"; // not reached, as far as known
    if (!why.empty()) {
        tls_sessions().forget(key);
        error_code gone;                // there may be nobody any more
        co_await below->shutdown(gone); // what we said is to be read before the socket goes
        throw Exception{failed(std::move(why), endpoint, ec)};
    }
    co_return tls;
}

} // namespace sidecar::stream
