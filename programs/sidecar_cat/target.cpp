#include "target.hpp"

#include <charconv>
#include <optional>

namespace sidecar_cat {
namespace {

constexpr auto npos = std::string_view::npos;

/// Whether `url` has this scheme, in either case of letters (RFC 3986 section 3.1); cuts it off.
bool cut_scheme(std::string_view& url, std::string_view scheme)
{
    if (url.size() < scheme.size())
        return false;
    for (std::size_t at = 0; at < scheme.size(); ++at) {
        const char c = url[at];
        if ((c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != scheme[at])
            return false;
    }
    url.remove_prefix(scheme.size());
    return true;
}

std::optional<std::uint16_t> parse_port(std::string_view text)
{
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size() || port == 0)
        return std::nullopt;
    return port;
}

Parsed<Target> parse_host_and_port(std::string_view authority, bool is_secure)
{
    const std::string form = is_secure ? "tls://host:port" : "tcp://host:port";
    if (authority.ends_with('/'))
        authority.remove_suffix(1);
    if (authority.find_first_of("/?#@ ") != npos)
        return because("the URL has more than host and port: it is written " + form);
    const auto colon = authority.rfind(':');
    const auto bracket = authority.rfind(']');
    if (colon == npos || (bracket != npos && colon < bracket))
        return because("the URL names no port: it is written " + form);
    const auto port = parse_port(authority.substr(colon + 1));
    if (!port)
        return because("the URL's port is no number from 1 to 65535");
    auto host = authority.substr(0, colon);
    const bool has_brackets = host.starts_with('[') && host.ends_with(']') && host.size() > 2;
    if (has_brackets)
        host = host.substr(1, host.size() - 2);
    else if (host.find(':') != npos)
        return because("an IPv6 address stands in brackets: " + form);
    if (host.empty() || host.find_first_of("[]") != npos)
        return because("the URL names no host: it is written " + form);
    return Target{.kind = Target::Kind::tcp,
                  .is_secure = is_secure,
                  .url = {},
                  .host = std::string{host},
                  .port = *port,
                  .path = {}};
}

Parsed<Target> parse_path(std::string_view path)
{
    if (path.starts_with("//")) // unix:///path means the same
        path.remove_prefix(2);
    if (path.size() < 2 || !(path.starts_with('/') || path.starts_with('@')))
        return because("a Unix socket is written unix:/path, or unix:@name if it is abstract");
    return Target{.kind = Target::Kind::unix_socket,
                  .is_secure = false,
                  .url = {},
                  .host = {},
                  .port = 0,
                  .path = std::string{path}};
}

} // namespace

Parsed<Target> parse_target(std::string_view url)
{
    auto rest = url;
    if (cut_scheme(rest, "ws://") || cut_scheme(rest, "ws+unix:"))
        return Target{.kind = Target::Kind::websocket, .url = std::string{url}};
    if (cut_scheme(rest, "wss://") || cut_scheme(rest, "wss+unix:"))
        return Target{.kind = Target::Kind::websocket, .is_secure = true, .url = std::string{url}};
    if (cut_scheme(rest, "tcp://"))
        return parse_host_and_port(rest, false);
    if (cut_scheme(rest, "tls://"))
        return parse_host_and_port(rest, true);
    if (cut_scheme(rest, "unix:"))
        return parse_path(rest);
    return because("the URL must begin with ws://, wss://, ws+unix:, wss+unix:, tcp://, tls:// or "
                   "unix:");
}

} // namespace sidecar_cat
