#include "url.hpp"

#include "uri.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace sidecar::websocket {
namespace {

using http::Components;
using http::lower;

constexpr auto npos = std::string_view::npos;

Failure because(std::string why) { return http::refuse(Error::bad_address, std::move(why)); }

bool has_at_sign(std::string_view text)
{
    return text.find('@') != npos || text.find("%40") != npos;
}

std::string missing_scheme(std::string_view text)
{
    const auto start = lower(text.substr(0, text.find(':')));
    if (start == "ws" || start == "wss" || start == "http" || start == "https")
        return "it must begin with ws:// or wss://";
    while (text.starts_with('/'))
        text.remove_prefix(1);
    const auto meant = fmt::format("ws://{}", text);
    // An '@' behind a slash may still be the end of a password.
    return fmt::format("the scheme is missing; did you mean {}?",
                       has_at_sign(text) ? http::redact_text(meant) : redact_url(meant));
}

Result<void> validate_scheme(std::string_view text, const Components& url)
{
    const auto scheme = lower(url.scheme);
    if (scheme == "ws" || scheme == "wss")
        return {};
    const auto rest = text.substr(scheme.size());
    if (scheme == "http" || scheme == "https")
        return because(
            fmt::format("the scheme is \"{}\", it must be ws or wss; did you mean {}?", scheme,
                        redact_url(fmt::format("ws{}{}", scheme == "https" ? "s" : "", rest))));
    return because(
        fmt::format("the scheme is \"{}\", it must be ws, wss, ws+unix or wss+unix", scheme));
}

/// Refuses parts that a WebSocket URL may not have.
Result<void> validate_parts(std::string_view text, const Components& url)
{
    if (url.user_info)
        return because("user information has no place in it; give the option basic_auth or an "
                       "Authorization header instead");
    if (url.fragment)
        return because("a fragment has no place in it (RFC 6455 section 3)");
    if (url.port && url.port->find(':') != npos)
        return because("an IPv6 address needs brackets, like ws://[::1]:8080/");
    if (url.host.empty())
        return because("there is no host");
    if (!url.port || url.port->empty() || http::parse_port(*url.port))
        return {};
    // In "ws://user:123456/789@host/" it is the beginning of a password.
    if (std::all_of(url.port->begin(), url.port->end(), http::is_digit) && !has_at_sign(text))
        return because(
            fmt::format("the port is \"{}\", it must be between 1 and 65535", *url.port));
    return because("the port is not a number between 1 and 65535");
}

std::string resource(std::string_view path, const std::optional<std::string_view>& query)
{
    std::string result{path.empty() ? "/" : path};
    return query ? result.append("?").append(*query) : result;
}

Result<Url> take_apart_host(std::string_view text, const Components& url)
{
    if (url.scheme.empty())
        return because(missing_scheme(text));
    if (auto valid = validate_scheme(text, url); !valid)
        return valid.error();
    if (auto valid = validate_parts(text, url); !valid)
        return valid.error();
    auto host = http::parse_host(url.host);
    if (!host)
        return host.error();
    if (!http::is_resource(url.path, url.query.value_or("")))
        return because("the path or the query has a character that must be percent-encoded");
    Url result;
    result.is_secure = lower(url.scheme) == "wss";
    result.host = std::move(host->name);
    result.authority = std::move(host->field);
    const std::uint16_t usual_port = result.is_secure ? 443 : 80;
    result.port = url.port && !url.port->empty() ? *http::parse_port(*url.port) : usual_port;
    if (result.port != usual_port)
        result.authority += fmt::format(":{}", result.port);
    result.resource = resource(url.path, url.query);
    return result;
}

Result<void> validate_unix(const Components& url, const std::string& socket)
{
    const auto scheme = lower(url.scheme);
    if (scheme != "ws+unix" && scheme != "wss+unix")
        return because(
            fmt::format("the scheme is \"{}\", it must be ws, wss, ws+unix or wss+unix", scheme));
    if (url.fragment)
        return because("a fragment has no place in it (RFC 6455 section 3)");
    if (url.socket.starts_with("//"))
        return because("a host has no place in it; the path follows the colon at once, like "
                       "ws+unix:/run/feed.sock:/resource");
    if (auto valid = http::validate_socket_path(socket); !valid)
        return valid;
    if (!url.socket.starts_with('/') && !url.socket.starts_with('@'))
        return because(
            "the path of the socket must begin with '/' (or with '@', if it is an abstract "
            "name)");
    if (!http::is_resource(url.socket, ""))
        return because("the path of the socket has a character that must be percent-encoded");
    if (!url.path.empty() && !url.path.starts_with('/'))
        return because("the resource behind the socket's path must begin with '/'; a ':' in that "
                       "path is written %3A");
    if (!http::is_resource(url.path, url.query.value_or("")))
        return because("the resource has a character that must be percent-encoded");
    return {};
}

Result<Url> take_apart_unix(const Components& url)
{
    Url result;
    result.unix_path = http::percent_decoded(url.socket);
    if (auto valid = validate_unix(url, result.unix_path); !valid)
        return valid.error();
    result.host = result.authority = "localhost"; // a socket has no better name
    result.is_secure = lower(url.scheme) == "wss+unix";
    result.resource = resource(url.path, url.query);
    return result;
}

/// Parses the URL; parse_url() completes a failure.
Result<Url> take_apart(std::string_view text)
{
    if (text.empty())
        return because("it is empty");
    if (const auto at = http::find_beyond_ascii_in_host(text); at != npos)
        return because(fmt::format("there is a byte 0x{:02x} at position {}, in the host name; "
                                   "write a name beyond ASCII in its xn-- form",
                                   static_cast<unsigned char>(text[at]), at));
    if (const auto bad = std::find_if_not(text.begin(), text.end(), http::is_visible);
        bad != text.end())
        return because(fmt::format("there is a byte 0x{:02x} at position {}, which must be "
                                   "percent-encoded",
                                   static_cast<unsigned char>(*bad), bad - text.begin()));
    const auto url = http::split(text);
    return url.is_unix ? take_apart_unix(url) : take_apart_host(text, url);
}

} // namespace

Result<Url> parse_url(std::string_view text)
{
    auto result = take_apart(text);
    if (result)
        return result;
    return http::with_context(result.error(), "read the URL", redact_url(text));
}

std::vector<std::string> query_values(std::string_view resource)
{
    std::vector<std::string> values;
    (void)http::cut(resource, "?");
    while (!resource.empty()) {
        resource.remove_prefix(1);
        auto value = http::cut(resource, "&");
        if (const auto equals = value.find('='); equals != npos)
            value.remove_prefix(equals + 1);
        values.emplace_back(value);
    }
    return values;
}

} // namespace sidecar::websocket
