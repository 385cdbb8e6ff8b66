#include "server_handshake.hpp"

#include "authorization.hpp"
#include "handshake.hpp"
#include "options.hpp"
#include "uri.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace sidecar::websocket {

using http::HttpHead;
using Fields = std::vector<std::pair<std::string, std::string>>;

namespace {

/// The reason of each status that we send; others have none.
std::string_view reason_of(unsigned status)
{
    constexpr std::array<std::pair<unsigned, std::string_view>, 16> reasons{{
        {200, "OK"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {414, "URI Too Long"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
        {101, "Switching Protocols"},
    }};
    const auto* const found = std::find_if(reasons.begin(), reasons.end(),
                                           [&](const auto& one) { return one.first == status; });
    return found == reasons.end() ? std::string_view{} : found->second;
}

Decision refuse(unsigned status, std::string why, Fields fields = {})
{
    return {.answer = {.status = status, .why = std::move(why), .fields = std::move(fields)}};
}

/// RFC 9110 section 15.5.22 demands the Upgrade field.
Decision upgrade_required(std::string why)
{
    return refuse(426, std::move(why),
                  {{"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}});
}

Decision not_allowed(std::string_view method, std::string_view allowed)
{
    constexpr std::array<std::string_view, 9> known{
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    const bool is_known = std::find(known.begin(), known.end(), method) != known.end();
    return refuse(is_known ? 405 : 501,
                  fmt::format("the method {} is not {}", http::quote_name(method),
                              is_known ? "allowed here" : "known"),
                  {{"Allow", std::string{allowed}}});
}

/// Empty text is an authority too: a client of a Unix-domain socket may have no host.
bool is_authority(std::string_view text)
{
    const auto whole = fmt::format("http://{}", text);
    const auto parts = http::split(whole);
    const bool is_port_good = !parts.port || parts.port->empty() || http::parse_port(*parts.port);
    return !parts.user_info && parts.path.empty() && !parts.query && !parts.fragment && is_port_good
           && (parts.host.empty() ? !parts.port : http::parse_host(parts.host).has_value());
}

/// Returns the authority in lower case, without the port that the scheme implies.
std::string normalized(std::string_view authority, bool is_secure)
{
    auto text = http::lower(authority);
    const std::string_view port = is_secure ? ":443" : ":80";
    if (text.ends_with(port))
        text.resize(text.size() - port.size());
    return text;
}

/// Whether pages of this origin may connect. Behind a proxy that ends TLS the page's scheme is not
/// ours, so schemes are not compared.
bool is_origin_allowed(std::string_view origin, std::string_view host,
                       const ServerOptions& options, bool is_secure)
{
    if (!options.origins.empty())
        return std::any_of(options.origins.begin(), options.origins.end(), [&](const auto& one) {
            return one == "*" || http::equal_ignoring_case(one, origin);
        });
    const auto scheme = http::lower(origin.substr(0, origin.find(':')));
    const auto prefix = scheme + "://";
    if ((scheme != "http" && scheme != "https") || !http::lower(origin).starts_with(prefix))
        return false;
    return normalized(origin.substr(prefix.size()), scheme == "https")
           == normalized(host, is_secure);
}

/// Splits the target, RFC 9112 section 3.2; `host` becomes that of a target with one. Errors: the
/// explanation.
Result<void> split_target(std::string_view target, Request& request, std::string& host)
{
    const auto broken = [&] {
        return http::refuse(Error::handshake_refused,
                            "the target is no path: " + http::quote(target, http::max_shown_bytes));
    };
    if (target.find('#') != http::npos)
        return broken();
    if (!target.starts_with('/')) {
        const auto parts = http::split(target);
        const auto scheme = http::lower(parts.scheme);
        if (scheme != "http" && scheme != "https" && scheme != "ws" && scheme != "wss")
            return broken();
        target.remove_prefix(scheme.size() + 3);
        host = http::cut(target, "/?");
        if (host.empty() || !is_authority(host))
            return broken();
    }
    request.path = target.starts_with('/') ? http::cut(target, "?") : "/";
    request.query = target.empty() ? target : target.substr(target.front() == '?' ? 1 : 0);
    return {};
}

bool has_body(const HttpHead& head)
{
    const auto lengths = head.values("Content-Length");
    return !head.values("Transfer-Encoding").empty()
           || std::any_of(lengths.begin(), lengths.end(), [](auto one) { return one != "0"; });
}

/// Makes the checks that hold for every request, and describes it. Empty: it is one.
std::optional<Decision> check_request(const HttpHead& head, Request& request, std::string& host)
{
    request.method = head.method;
    if (!head.method.empty() && head.major_version != 1)
        return refuse(505, fmt::format("HTTP/{}.{} is not HTTP/1.1", head.major_version,
                                       head.minor_version));
    if (head.method.empty())
        return refuse(400, "its first line cannot be read");
    if (head.fault)
        return refuse(400, "its fields cannot be read");
    if (head.method != "GET" && head.method != "HEAD")
        return not_allowed(head.method, "GET, HEAD");
    const auto hosts = head.values("Host");
    if (hosts.size() > 1 || (hosts.empty() && head.minor_version != 0))
        return refuse(400, hosts.empty() ? "it has no Host" : "it has several Host");
    if (!hosts.empty())
        host = hosts.front();
    if (!is_authority(host))
        return refuse(400, "its Host is none: " + http::quote(host, http::max_shown_bytes));
    if (const auto target = split_target(head.target, request, host); !target)
        return refuse(400, target.error().explanation());
    if (has_body(head))
        return refuse(400, "it has a body");
    return std::nullopt;
}

HttpAnswer serve(const WebSocket::Acceptor::Page& page, const HttpHead& head)
{
    HttpAnswer answer{.status = 200, .body = page.make ? page.make() : page.bytes};
    const auto tag = '"' + accept_of(answer.body) + '"';
    answer.fields = {{"Content-Type", page.content_type},
                     {"ETag", tag},
                     {"Cache-Control", "no-cache"}};
    answer.is_head_only = head.method == "HEAD";
    for (auto known : head.elements("If-None-Match")) { // RFC 9110 section 13.1.2
        if (known.starts_with("W/"))
            known.remove_prefix(2);
        if (known == tag || known == "*")
            answer.status = 304;
    }
    return answer;
}

/// Decides about a request that asks for no WebSocket.
Decision decide_plain(const HttpHead& head, const Request& request, const ServerOptions& options)
{
    if (const auto page = options.pages.find(request.path); page != options.pages.end())
        return {.answer = serve(page->second, head)};
    const bool is_websocket =
        options.path.empty() ? options.pages.empty() : request.path == options.path;
    return is_websocket ? upgrade_required("it asks for no WebSocket")
                        : refuse(404, "there is nothing at this path");
}

/// Whether this is the base64 of 16 bytes.
bool is_key(std::string_view key)
{
    constexpr std::size_t bytes = 22;
    const auto is_base64 = [](char c) {
        return http::is_alpha(c) || http::is_digit(c) || c == '+' || c == '/';
    };
    return key.size() == bytes + 2 && key.ends_with("==")
           && std::all_of(key.begin(), key.begin() + bytes, is_base64);
}

/// Makes the checks of RFC 6455 section 4.2.1. Empty: the handshake is valid.
std::optional<Decision> check_handshake(const HttpHead& head, const Request& request,
                                        std::string_view host, const ServerOptions& options,
                                        bool is_secure)
{
    if (head.method != "GET")
        return not_allowed(head.method, "GET");
    if (!options.path.empty() && request.path != options.path)
        return refuse(404, "there is no WebSocket at this path");
    if (!http::contains(head.elements("Connection"), "Upgrade"))
        return refuse(400, "its Connection field does not say Upgrade");
    const auto versions = head.values("Sec-WebSocket-Version");
    if (versions.size() != 1)
        return refuse(400,
                      versions.empty() ? "it has no Sec-WebSocket-Version"
                                       : "it has several Sec-WebSocket-Version",
                      {{"Sec-WebSocket-Version", "13"}});
    if (versions.front() != "13")
        return upgrade_required("its Sec-WebSocket-Version is "
                                + http::quote(versions.front(), http::max_shown_bytes)
                                + ", and must be 13");
    const auto keys = head.values("Sec-WebSocket-Key");
    if (keys.size() != 1 || !is_key(keys.front()))
        return refuse(400, keys.empty()      ? "it has no Sec-WebSocket-Key"
                           : keys.size() > 1 ? "it has several Sec-WebSocket-Key"
                                             : "its Sec-WebSocket-Key is not 16 bytes in base64");
    const auto origins = head.values("Origin");
    if (origins.size() > 1)
        return refuse(400, "it has several Origin");
    if (!origins.empty() && !is_origin_allowed(origins.front(), host, options, is_secure))
        return refuse(403, fmt::format("pages of the origin {} may not connect to {}",
                                       http::quote(origins.front(), http::max_shown_bytes),
                                       http::quote(host, http::max_shown_bytes)));
    for (const auto one : head.elements("Sec-WebSocket-Protocol"))
        if (!std::all_of(one.begin(), one.end(), http::is_token_char))
            return refuse(400, "its Sec-WebSocket-Protocol is no list of names");
    return std::nullopt;
}

Result<void> validate_origin(std::string_view origin)
{
    const auto parts = http::split(origin);
    if (origin == "*" || origin == "null"
        || (!parts.scheme.empty() && !parts.is_unix && !parts.host.empty() && parts.path.empty()
            && !parts.query && !parts.fragment && !parts.user_info))
        return {};
    return http::refuse(Error::bad_options, fmt::format("the option origins has {}, which is no origin like "
                           "\"https://example.com\"",
                           http::quote_name(origin)));
}

} // namespace

Result<void> validate(const ServerOptions& options)
{
    const auto is_path = [](std::string_view path) {
        return path.starts_with('/') && path.find_first_of("?#") == path.npos
               && std::all_of(path.begin(), path.end(), http::is_visible);
    };
    if (!options.path.empty() && !is_path(options.path))
        return http::refuse(Error::bad_options, fmt::format("the option path is {}, which is no path", //
                               http::quote_name(options.path)));
    for (const auto& origin : options.origins)
        if (auto valid = validate_origin(origin); !valid)
            return valid;
    for (const auto& [path, page] : options.pages) {
        if (!is_path(path))
            return http::refuse(Error::bad_options, fmt::format("the option pages has {}, which is no path",
                                   http::quote_name(path)));
        if (auto valid = validate_field("Content-Type", page.content_type); !valid)
            return valid;
    }
    if (options.max_head_bytes == 0)
        return http::refuse(Error::bad_options, "max_head_bytes is zero, so no request would fit");
    if (options.max_message_bytes == 0)
        return http::refuse(Error::bad_options, "the message limit is 0 bytes");
    if (auto valid = validate_subprotocols(options.subprotocols); !valid)
        return valid;
    return options.compression ? validate(*options.compression) : Result<void>{};
}

HttpAnswer unavailable(std::chrono::seconds retry_after, std::string why)
{
    return {.status = 503,
            .why = std::move(why),
            .fields = {{"Retry-After", std::to_string(retry_after.count())}}};
}

HttpAnswer refuse_head(const http::HeadReader& reader, const ServerOptions& options)
{
    if (reader.state() == http::HeadReader::State::not_http)
        return refuse(400, "it is not HTTP").answer;
    const bool is_line = reader.text().find("\r\n") == http::npos;
    return refuse(is_line ? 414 : 431,
                  fmt::format("its head is longer than max_head_bytes ({})", options.max_head_bytes))
        .answer;
}

Decision decide(HttpHead head, Request& request, const ServerOptions& options, bool is_secure)
{
    std::string host;
    if (auto refused = check_request(head, request, host))
        return *std::move(refused);
    // RFC 9110 section 7.8: HTTP/1.0 has no Upgrade
    if (head.minor_version == 0 || !http::contains(head.elements("Upgrade"), "websocket"))
        return decide_plain(head, request, options);
    if (auto refused = check_handshake(head, request, host, options, is_secure))
        return *std::move(refused);
    auto deflation = accept(options.compression, fmt::format("{}", fmt::join(
                                head.elements("Sec-WebSocket-Extensions"), ", ")));
    if (!deflation)
        return refuse(400, deflation.error().explanation());
    for (const auto one : head.elements("Sec-WebSocket-Protocol"))
        request.subprotocols.emplace_back(one);
    Decision decision;
    auto& opening = decision.opening.emplace();
    opening.accept = accept_of(head.first_value("Sec-WebSocket-Key"));
    opening.deflation = *std::move(deflation);
    const auto& offered = request.subprotocols;
    for (const auto& one : options.subprotocols)
        if (opening.subprotocol.empty()
            && std::find(offered.begin(), offered.end(), one) != offered.end())
            opening.subprotocol = one;
    request.headers = std::move(head.fields);
    return decision;
}

void apply(const RequestAnswer& answer, const Request& request, Decision& decision)
{
    constexpr unsigned first = 300, last = 599;
    const auto broken = [&](std::string_view why) {
        decision = refuse(500, fmt::format("on_request: {}", why));
    };
    for (const auto& [name, value] : answer.headers)
        if (const auto valid = validate_field(name, value); !valid)
            return broken(valid.error().explanation());
    if (answer.status == http::switching_protocols) {
        const auto& offered = request.subprotocols;
        const auto& chosen = answer.subprotocol;
        if (!chosen.empty() && std::find(offered.begin(), offered.end(), chosen) == offered.end())
            return broken("it chose a subprotocol that the client does not offer");
        if (!chosen.empty())
            decision.opening->subprotocol = chosen;
        decision.opening->fields = answer.headers;
    } else if (answer.status < first || answer.status > last) {
        broken(fmt::format("its status is {}, and must be 101 or 300 to 599", answer.status));
    } else {
        decision = {.answer = {.status = answer.status,
                               .why = "on_request refuses it",
                               .fields = answer.headers,
                               .body = answer.body}};
    }
}

std::string bytes_of(const Opening& opening)
{
    auto text = fmt::format("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                            "Connection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
                            opening.accept);
    if (!opening.subprotocol.empty())
        text += fmt::format("Sec-WebSocket-Protocol: {}\r\n", opening.subprotocol);
    if (opening.deflation)
        text += fmt::format("Sec-WebSocket-Extensions: {}\r\n", opening.deflation->answer);
    for (const auto& [name, value] : opening.fields)
        text += fmt::format("{}: {}\r\n", name, value);
    return text + "\r\n";
}

std::string status_text(unsigned status)
{
    return fmt::format("{}{}{}", status, reason_of(status).empty() ? "" : " ", reason_of(status));
}

std::string bytes_of(const HttpAnswer& answer, std::chrono::sys_seconds now)
{
    const auto& fields = answer.fields;
    const auto has = [&](std::string_view name) {
        return std::any_of(fields.begin(), fields.end(), [&](const auto& field) {
            return http::equal_ignoring_case(field.first, name);
        });
    };
    auto text = fmt::format("HTTP/1.1 {} {}\r\nDate: {:%a, %d %b %Y %H:%M:%S} GMT\r\n"
                            "Connection: close{}\r\nX-Content-Type-Options: nosniff\r\n",
                            answer.status, reason_of(answer.status),
                            fmt::gmtime(std::chrono::system_clock::to_time_t(now)),
                            has("Upgrade") ? ", Upgrade" : "");
    for (const auto& [name, value] : fields)
        text += fmt::format("{}: {}\r\n", name, value);
    constexpr unsigned not_modified = 304;
    if (answer.status == not_modified)
        return text + "\r\n";
    const auto body = answer.body.empty() && !answer.why.empty()
                          ? fmt::format("{}: {}\n", status_text(answer.status), answer.why)
                          : answer.body;
    if (!has("Content-Type"))
        text += "Content-Type: text/plain; charset=utf-8\r\n";
    text += fmt::format("Content-Length: {}\r\n\r\n", body.size());
    return answer.is_head_only ? text : text + body;
}

bool equal_in_constant_time(std::string_view given, std::string_view secret) noexcept
{
    unsigned difference = given.size() == secret.size() ? 0 : 1;
    for (std::size_t i = 0; i < given.size(); ++i) {
        const char expected = secret.empty() ? '\0' : secret[i % secret.size()];
        difference |= static_cast<unsigned char>(given[i] ^ expected);
    }
    return difference == 0;
}

} // namespace sidecar::websocket
