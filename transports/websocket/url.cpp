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

/// Whether the URL begins with a scheme that is written wrongly: "ws:/host", "wss//host". But
/// "ws:8080/feed" has a host of that name.
bool has_slip_in_scheme(std::string_view scheme, std::string_view rest)
{
    if (scheme != "ws" && scheme != "wss" && scheme != "http" && scheme != "https")
        return false;
    return rest.starts_with("//")
           || (rest.starts_with(':') && (rest.size() == 1 || !http::is_digit(rest[1])));
}

std::string missing_scheme(std::string_view text)
{
    auto rest = text;
    const auto scheme = lower(http::cut(rest, ":/?#"));
    const bool is_slip = has_slip_in_scheme(scheme, rest);
    if (!is_slip)
        rest = text;
    rest.remove_prefix(std::min(rest.find_first_not_of(is_slip ? ":/" : "/"), rest.size()));
    const auto* const what =
        is_slip ? "it must begin with ws:// or wss://" : "the scheme is missing";
    if (rest.empty())
        return what;
    const bool is_secure = is_slip && (scheme == "wss" || scheme == "https");
    const auto meant = fmt::format("{}://{}", is_secure ? "wss" : "ws", rest);
    // An '@' behind a slash may still be the end of a password.
    return fmt::format("{}; did you mean {}?", what,
                       has_at_sign(text) ? http::redact_text(meant) : redact_url(meant));
}

/// Describes the byte at `bad`, which no URL has: percent-encoding helps behind the host only.
std::string describe_bad_byte(std::string_view text, std::size_t bad)
{
    const auto byte =
        fmt::format("byte 0x{:02x} at position {}", static_cast<unsigned char>(text[bad]), bad);
    constexpr std::string_view blanks = " \t\r\n";
    if (blanks.find(text[bad]) != npos) {
        const auto* const what = text[bad] == ' ' || text[bad] == '\t' ? "blank" : "line break";
        if (bad < text.find_first_not_of(blanks))
            return fmt::format("it begins with a {}, {}; remove it", what, byte);
        if (bad > text.find_last_not_of(blanks))
            return fmt::format("it ends with a {}, {}; remove it", what, byte);
        return fmt::format("there is a {} in it, {}; behind the host it is written %{:02X}", what,
                           byte, static_cast<unsigned char>(text[bad]));
    }
    return fmt::format("there is a {}, which must be percent-encoded", byte);
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
        return because(describe_bad_byte(text, static_cast<std::size_t>(bad - text.begin())));
    const auto url = http::split(text);
    return url.is_unix ? take_apart_unix(url) : take_apart_host(text, url);
}

} // namespace

Result<Url> parse_url(std::string_view text)
{
    auto result = take_apart(text);
    if (result)
        return result;
    return result.error().with_attempt("read the URL", redact_url(text));
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
