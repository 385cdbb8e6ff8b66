#include "tls.hpp"

#include "context.hpp"
#include "errors.hpp"
#include "tls_stream.hpp"
#include "uri.hpp"

#include <fmt/format.h>

#include <utility>

namespace sidecar::stream {
namespace {

/// Without what no certificate has: an address's zone, the dot behind a name.
std::string wanted_name(std::string name)
{
    if (!http::address_bytes(name).empty())
        return name.substr(0, name.find('%'));
    if (name.ends_with('.'))
        name.pop_back();
    return name;
}

Failure failed(FailureDetails details, const std::string& endpoint)
{
    details.attempted = "secure the connection";
    details.endpoint = endpoint;
    return {Error::tls_failed, std::move(details)};
}

/// Throws Exception: bad_options.
std::string name_to_verify(const TlsOptions& options, const std::string& host,
                           const std::string& endpoint)
{
    auto name = wanted_name(options.server_name.empty() ? host : options.server_name);
    const auto refuse = [&](const char* why) {
        throw Exception{
            Failure{Error::bad_options,
                    {.attempted = "prepare TLS", .endpoint = endpoint, .explanation = why}}};
    };
    if (name.empty() && !options.insecure_skip_verification)
        refuse("there is no host whose name could be verified: server_name is needed");
    if (!name.empty() && !http::validate_host_name(name)) // ".x" would mean anything below x
        refuse("the host is neither a name nor an address");
    return name;
}

} // namespace

Task<std::shared_ptr<Stream>> secure(Context ctx, std::shared_ptr<Stream> below,
                                     TlsContextPtr context, std::string host, std::string endpoint)
{
    const auto& options = context->options();
    const auto name = name_to_verify(options, host, endpoint);
    if (options.insecure_skip_verification)
        ctx.log(LogLevel::warning,
                fmt::format("TLS to {} is not secure: the certificate is not verified "
                            "(insecure_skip_verification), so that anybody in between can read and "
                            "change everything",
                            endpoint));
    const auto session_key = fmt::format("{} {}", name, endpoint);
    const auto engine = std::make_shared<TlsEngine>(context, name, session_key);
    const auto tls = std::make_shared<Tls>(below, engine);
    auto why = co_await tls->shake_hands();
    if (!why && !options.insecure_skip_verification
        && !engine->is_verified()) // as far as known never
        why = FailureDetails{.explanation = "the peer showed no certificate that could be verified",
                             .is_passing = false};
    if (!why)
        co_return tls;
    context->sessions().forget(session_key);
    error_code gone;                // nobody may be there
    co_await below->shutdown(gone); // our alert is to be read before the socket goes
    throw Exception{failed(*std::move(why), endpoint)};
}

bool is_truncated(error_code ec) noexcept { return ec == make_error_code(TlsEnd::truncated); }

std::optional<Failure> tls_refusal(error_code ec, const std::string& endpoint)
{
    if (ec.category() != tls_category() || ec.value() < static_cast<int>(TlsEnd::refusal))
        return std::nullopt;
    return failed(
        {.explanation = "the peer refused the handshake with the " + alert_text(ec.value() % 1000),
         .is_passing = false},
        endpoint);
}

} // namespace sidecar::stream
