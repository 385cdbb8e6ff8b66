#include "options.hpp"

#include "answer.hpp"
#include "authorization.hpp"
#include "extensions.hpp"
#include "proxy.hpp"
#include "uri.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

namespace sidecar::websocket {

using http::equal_ignoring_case;

namespace {

bool is_token(std::string_view text)
{
    return !text.empty() && std::all_of(text.begin(), text.end(), http::is_token_char);
}
/// RFC 9110 section 5.5 wants no byte above 0x7f in new fields.
bool is_field_char(char c) { return c == '\t' || (c >= 0x20 && c < 0x7f); }
bool is_host_char(char c)
{
    return http::is_visible(c)
           && std::string_view{"/?#@\\\"<>^`{|},"}.find(c) == std::string_view::npos;
}

bool is_ours(std::string_view name)
{
    constexpr std::array<std::string_view, 4> names{"Connection", "Upgrade", "Content-Length",
                                                    "Transfer-Encoding"};
    constexpr std::string_view prefix = "Sec-WebSocket-";
    return equal_ignoring_case(name.substr(0, prefix.size()), prefix)
           || std::any_of(names.begin(), names.end(),
                          [&](std::string_view other) { return equal_ignoring_case(name, other); });
}

Failure bad(std::string why) { return http::refuse(Error::bad_options, std::move(why)); }

std::size_t count(const WebSocket::Options& options, std::string_view name)
{
    return static_cast<std::size_t>(
        std::count_if(options.headers.begin(), options.headers.end(),
                      [&](const auto& field) { return equal_ignoring_case(field.first, name); }));
}

Result<void> validate_authorization(const WebSocket::Options& options)
{
    const bool has_bearer = !options.bearer.empty();
    if (options.basic_auth && has_bearer)
        return bad("the options basic_auth and bearer exclude each other");
    if ((options.basic_auth || has_bearer) && count(options, "Authorization") != 0)
        return bad(
            fmt::format("the option {} and the header field \"Authorization\" exclude each other",
                        has_bearer ? "bearer" : "basic_auth"));
    if (options.basic_auth)
        return http::validate_basic(options.basic_auth->user, options.basic_auth->password);
    return has_bearer ? http::validate_bearer(options.bearer) : Result<void>{};
}

Result<void> validate_origin(const WebSocket::Options& options)
{
    const auto& origin = options.origin;
    if (origin.empty())
        return {};
    if (count(options, "Origin") != 0)
        return bad("the option origin and the header field \"Origin\" exclude each other");
    if (!std::all_of(origin.begin(), origin.end(), http::is_visible))
        return bad(fmt::format("the origin ({} bytes) has a space, a control character or one "
                               "beyond ASCII in it",
                               origin.size()));
    return {};
}

Result<void> validate(const WebSocket::Options& options)
{
    for (const auto& [name, value] : options.headers)
        if (auto valid = validate_field(name, value); !valid)
            return valid;
    if (count(options, "Host") > 1)
        return bad("the header field \"Host\" is there twice");
    if (auto valid = validate_authorization(options); !valid)
        return valid;
    if (auto valid = validate_origin(options); !valid)
        return valid;
    if (options.max_head_bytes == 0)
        return bad("max_head_bytes is zero, so no answer would fit");
    return validate_subprotocols(options.subprotocols);
}

/// Whether the name is about a credential.
bool is_credential(std::string_view name)
{
    constexpr std::array<std::string_view, 12> words{"auth",    "bearer", "cookie", "credential",
                                                     "jwt",     "key",    "pass",   "secret",
                                                     "session", "sign",   "ticket", "token"};
    const auto text = http::lower(name);
    return std::any_of(words.begin(), words.end(),
                       [&](std::string_view word) { return text.find(word) != text.npos; });
}

/// Accepts "graphql-transport-ws", "v12.stomp", "mqttv3.1"; not "s3cret", "dXNlcjpw".
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

} // namespace

/// An invalid name may be a whole line with its secret, so the text shows only the part that could
/// be a name.
Result<void> validate_field(std::string_view name, std::string_view value)
{
    if (!is_token(name)) {
        const auto end = std::find_if_not(name.begin(), name.end(), http::is_token_char);
        return bad(
            fmt::format("the name of the header field \"{}...\" has a character that no name has",
                        name.substr(0, static_cast<std::size_t>(end - name.begin()))));
    }
    if (equal_ignoring_case(name, "Sec-WebSocket-Protocol"))
        return bad(fmt::format(
            "the header field \"{}\" is the handshake's own; use the option subprotocols", name));
    if (is_ours(name))
        return bad(fmt::format("the header field \"{}\" is the handshake's own", name));
    const auto wrong = std::find_if_not(value.begin(), value.end(), is_field_char);
    if (wrong != value.end())
        return bad(fmt::format("the value of the header field \"{}\" ({} bytes) has a byte "
                               "0x{:02x} at position {}, which no field may have",
                               name, value.size(), static_cast<unsigned char>(*wrong),
                               wrong - value.begin()));
    if (equal_ignoring_case(name, "Host")
        && (value.empty() || !std::all_of(value.begin(), value.end(), is_host_char)))
        return bad(fmt::format("the value of the header field \"{}\" ({} bytes) is no host", name,
                               value.size()));
    return {};
}

Result<void> validate_subprotocols(const std::vector<std::string>& subprotocols)
{
    std::set<std::string_view> seen;
    for (const auto& one : subprotocols) {
        const char* const why = !is_token(one) ? "is empty or has a character that no token has"
                                : !seen.insert(one).second ? "is there twice"
                                                           : nullptr;
        if (why)
            return bad(fmt::format("subprotocol {} of {} ({} bytes) {}",
                                   &one - subprotocols.data() + 1, subprotocols.size(), one.size(),
                                   why));
    }
    return {};
}

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
                                     .tcp_keepalive = options.tcp_keepalive,
                                     .options = options.socket},
                          .proxy = options.proxy,
                          .endpoint = std::move(endpoint),
                          .faults = options.faults,
                          .faults_from_environment = options.faults_from_environment};
    if (url.is_secure) {
        target.tls = options.tls;
        target.without_tls =
            fmt::format("does the address want ws{}?", url.unix_path.empty() ? "://" : "+unix:");
    }
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

Result<void> validate_request(const WebSocket::Options& options)
{
    auto valid = validate(options);
    if (valid)
        return valid;
    return valid.error().with_attempt("build the handshake's request", redact_url(options.url));
}

std::string authorization(const WebSocket::Options& options)
{
    if (options.basic_auth)
        return http::basic_authorization(options.basic_auth->user, options.basic_auth->password);
    return options.bearer.empty() ? std::string{} : "Bearer " + options.bearer;
}

std::string build_request(const Url& url, const WebSocket::Options& options, std::string_view key)
{
    std::string_view host = url.authority;
    bool has_user_agent = false;
    for (const auto& [name, value] : options.headers) {
        if (equal_ignoring_case(name, "Host"))
            host = value;
        has_user_agent = has_user_agent || equal_ignoring_case(name, "User-Agent");
    }
    auto text = fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\n"
                            "Connection: Upgrade\r\nSec-WebSocket-Key: {}\r\n"
                            "Sec-WebSocket-Version: 13\r\n",
                            url.resource, host, key);
    if (!options.subprotocols.empty())
        text +=
            fmt::format("Sec-WebSocket-Protocol: {}\r\n", fmt::join(options.subprotocols, ", "));
    if (options.compression)
        text += fmt::format("Sec-WebSocket-Extensions: {}\r\n", offer_of(*options.compression));
    if (!has_user_agent)
        text += "User-Agent: sidecar\r\n";
    if (!options.origin.empty())
        text += fmt::format("Origin: {}\r\n", options.origin);
    if (const auto value = authorization(options); !value.empty())
        text += fmt::format("Authorization: {}\r\n", value);
    for (const auto& [name, value] : options.headers)
        if (!equal_ignoring_case(name, "Host"))
            text += fmt::format("{}: {}\r\n", name, value);
    return text + "\r\n";
}

} // namespace sidecar::websocket
