#include "options.hpp"

#include "answer.hpp"
#include "authorization.hpp"
#include "extensions.hpp"
#include "proxy.hpp"
#include "request.hpp"
#include "uri.hpp"
#include "utf8.hpp"

#include <algorithm>
#include <array>

namespace sidecar {
namespace websocket {
namespace {

/// Whether the name speaks of a credential.
bool is_credential(std::string_view name)
{
    constexpr std::array<std::string_view, 12> words{"auth",    "bearer", "cookie", "credential",
                                                     "jwt",     "key",    "pass",   "secret",
                                                     "session", "sign",   "ticket", "token"};
    const auto text = http::lower(name);
    return std::any_of(words.begin(), words.end(),
                       [&](std::string_view word) { return text.find(word) != text.npos; });
}

/// "graphql-transport-ws", "v12.stomp", "mqttv3.1"; not "s3cret", "dXNlcjpw".
bool is_protocol_name(std::string_view text)
{
    constexpr std::size_t max_bytes = 32;
    const auto is_upper = [](char c) { return c >= 'A' && c <= 'Z'; };
    char last = '.';
    bool has_upper = false, has_lower = false;
    for (const char c : text) {
        if (http::is_digit(last) && http::is_alpha(c))
            return false;
        has_upper = has_upper || is_upper(c);
        has_lower = has_lower || (http::is_alpha(c) && !is_upper(c));
        last = c;
    }
    return text.size() <= max_bytes && !(has_upper && has_lower) && !is_credential(text);
}

Failure bad_options(const WebSocket::Options& options, const char* attempted, std::string why)
{
    return {Error::bad_options,
            {.attempted = attempted,
             .endpoint = WebSocket::endpoint(options),
             .explanation = std::move(why)}};
}

} // namespace

bool is_public_header(std::string_view name)
{
    constexpr std::array<std::string_view, 8> names{
        "accept", "accept-encoding", "accept-language", "cache-control",
        "dnt",    "origin",          "pragma",          "user-agent"};
    return std::find(names.begin(), names.end(), http::lower(name)) != names.end();
}

std::vector<std::string> public_subprotocols(const std::vector<std::string>& subprotocols)
{
    std::vector<std::string> result;
    bool is_behind_secret = false;
    for (const auto& one : subprotocols) {
        const bool is_public = !is_behind_secret && is_protocol_name(one);
        is_behind_secret = is_credential(one);
        if (is_public)
            result.push_back(one);
    }
    return result;
}

stream::Target target_of(const Url& url, const WebSocket::Options& options, std::string endpoint)
{
    stream::Target target{.host = url.host,
                          .port = url.port,
                          .unix_path = url.unix_path,
                          .socket = {.no_delay = options.no_delay,
                                     .keep_alive = options.keep_alive,
                                     .options = options.socket},
                          .proxy = options.proxy,
                          .endpoint = std::move(endpoint)};
    if (url.is_secure)
        target.tls = options.tls;
    return target;
}

http::Secrets secrets_of(const WebSocket::Options& options)
{
    http::Secrets secrets;
    for (const auto& value : query_values(options.url))
        secrets.add(value);
    for (const auto& [name, value] : options.headers)
        if (!is_public_header(name) && !http::equal_ignoring_case(name, "Host"))
            secrets.add_field(value);
    if (const auto value = authorization(options); !value.empty())
        secrets.add_field(value);
    if (options.basic_auth) {
        secrets.add(options.basic_auth->user);
        secrets.add(options.basic_auth->password);
    }
    const auto shown = public_subprotocols(options.subprotocols);
    for (const auto& one : options.subprotocols)
        if (std::find(shown.begin(), shown.end(), one) == shown.end())
            secrets.add_field(one);
    if (const auto proxy = http::parse_proxy(options.proxy.url, ""); proxy && proxy->has_user) {
        secrets.add(proxy->user);
        secrets.add(proxy->password);
    }
    return secrets;
}

} // namespace websocket

std::string WebSocket::endpoint(const Options& options)
{
    return websocket::redact_url(options.url);
}

Result<void> WebSocket::check(const Options& options)
{
    const auto url = websocket::parse_url(options.url);
    if (!url)
        return url.error();
    if (options.compression)
        if (auto valid = websocket::validate(*options.compression); !valid)
            return websocket::bad_options(options, "offer compression",
                                          valid.error().explanation());
    if (!url->is_secure && options.max_redirects == 0 && options.tls != TlsOptions{})
        return websocket::bad_options(options, "connect",
                                      "the option tls has no meaning for ws://; use wss://");
    if (auto valid = stream::validate(websocket::target_of(*url, options, endpoint(options)));
        !valid)
        return valid;
    return websocket::validate_request(options);
}

Result<void> WebSocket::check_send(const Options& options, MessageKind kind,
                                   std::span<const std::byte> payload)
{
    if (kind == MessageKind::text && !websocket::is_utf8(payload))
        return Failure{Error::bad_message,
                       {.attempted = "send",
                        .endpoint = endpoint(options),
                        .explanation = "the text is not UTF-8; send it as bytes"}};
    return {};
}

} // namespace sidecar
