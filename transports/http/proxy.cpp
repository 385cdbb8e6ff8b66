#include "proxy.hpp"

#include "authorization.hpp"
#include "text.hpp"
#include "uri.hpp"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <utility>

namespace sidecar::http {
namespace {

using boost::asio::ip::address;

/// Addresses are compared by their bits, not as text; IPv4 in IPv6 counts as IPv4.
std::optional<address> parse_address(std::string_view text)
{
    boost::system::error_code ec;
    auto parsed = boost::asio::ip::make_address(std::string{text.substr(0, text.find('%'))}, ec);
    if (ec)
        return {};
    if (parsed.is_v6() && parsed.to_v6().is_v4_mapped())
        return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, parsed.to_v6());
    return parsed;
}

/// `network`: "192.0.2.0/24", "2001:db8::/32".
bool is_in_network(const address& host, const std::string& network)
{
    namespace ip = boost::asio::ip;
    boost::system::error_code ec;
    if (host.is_v4()) {
        const auto base = ip::make_network_v4(network, ec);
        return !ec
               && ip::network_v4{host.to_v4(), base.prefix_length()}.canonical()
                      == base.canonical();
    }
    const auto base = ip::make_network_v6(network, ec);
    return !ec
           && ip::network_v6{host.to_v6(), base.prefix_length()}.canonical() == base.canonical();
}

std::string name_of(std::string_view text)
{
    if (text.ends_with('.')) // a fully qualified name
        text.remove_suffix(1);
    return lower(text);
}

bool is_name_below(std::string_view host, std::string_view suffix)
{
    if (suffix.starts_with("*."))
        suffix.remove_prefix(1);
    if (suffix.starts_with('.'))
        suffix.remove_prefix(1);
    const auto name = name_of(host), end = name_of(suffix);
    return !end.empty()
           && (name == end || (name.ends_with(end) && name[name.size() - end.size() - 1] == '.'));
}

/// Removes ":port" from the entry's end. False: it is for another port.
bool take_port(std::string_view& entry, std::uint16_t port)
{
    const auto bracket = entry.rfind(']');
    const auto colon = entry.find(':', bracket == entry.npos ? 0 : bracket);
    const bool is_plain_ipv6 =
        bracket == entry.npos && colon != entry.npos && entry.find(':', colon + 1) != entry.npos;
    if (colon == entry.npos || is_plain_ipv6)
        return true;
    const auto wanted = parse_port(entry.substr(colon + 1));
    entry = entry.substr(0, colon);
    return wanted == port;
}

bool matches(std::string_view entry, std::string_view host, std::uint16_t port)
{
    if (!take_port(entry, port))
        return false;
    if (entry == "*")
        return true;
    const auto address = parse_address(host);
    auto length = entry;
    entry = cut(length, "/");
    if (entry.starts_with('[') && entry.ends_with(']'))
        entry = entry.substr(1, entry.size() - 2);
    if (!length.empty())
        return address && is_in_network(*address, std::string{entry}.append(length));
    if (address)
        return parse_address(entry) == address;
    return is_name_below(host, entry);
}

Failure bad_proxy(std::string why) { return refuse(Error::bad_options, std::move(why)); }

/// Checks all parts except the host.
Result<void> validate(const Components& url)
{
    const auto scheme = lower(url.scheme);
    if (scheme != "http" && scheme != "https")
        return bad_proxy(fmt::format(
            "the scheme is \"{}\"; only proxies of http:// and https:// are supported", scheme));
    if (url.host.empty())
        return bad_proxy("there is no host");
    if (url.port && !url.port->empty() && !parse_port(*url.port))
        return bad_proxy("the port is not a number between 1 and 65535");
    if (!url.path.empty() && url.path != "/")
        return bad_proxy("a path has no place in it");
    if (url.query || url.fragment)
        return bad_proxy("a query or a fragment has no place in it");
    if (!is_percent_encoding_right(url.user_info.value_or("")))
        return bad_proxy("in the user information a '%' begins no two hexadecimal digits");
    return {};
}

Result<Proxy> take_apart(std::string_view text)
{
    if (find_beyond_ascii_in_host(text) != npos)
        return bad_proxy("the host name has a character beyond ASCII; write it in its xn-- form");
    if (!std::all_of(text.begin(), text.end(), is_visible))
        return bad_proxy("there is a space, a control character or one beyond ASCII in it");
    const auto url = split(text);
    if (auto valid = validate(url); !valid)
        return valid.error();
    auto host = parse_host(url.host);
    if (!host)
        return host.error();
    Proxy proxy;
    proxy.is_secure = lower(url.scheme) == "https";
    proxy.host = std::move(host->name);
    proxy.port = proxy.is_secure ? 443 : 80;
    if (url.port && !url.port->empty())
        proxy.port = *parse_port(*url.port);
    proxy.shown = fmt::format("{}://{}:{}", lower(url.scheme), host->field, proxy.port);
    if (!url.user_info)
        return proxy;
    auto password = *url.user_info;
    proxy.has_user = true;
    proxy.user = percent_decoded(cut(password, ":"));
    proxy.password = percent_decoded(password.substr(std::min<std::size_t>(1, password.size())));
    if (auto valid = validate_basic(proxy.user, proxy.password); !valid)
        return valid.error();
    return proxy;
}

constexpr unsigned authorization_required = 407;

/// Returns the authority-form, RFC 9112 section 3.2.3, without a zone, which means nothing to
/// another machine.
std::string authority(std::string_view host, std::uint16_t port)
{
    const auto address = host.substr(0, host.find('%'));
    return host.find(':') == host.npos ? fmt::format("{}:{}", host, port)
                                       : fmt::format("[{}]:{}", address, port);
}

std::string request_for(const Proxy& proxy, const std::string& to)
{
    auto request = fmt::format("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\nUser-Agent: sidecar\r\n", to);
    if (proxy.has_user)
        request += fmt::format("Proxy-Authorization: {}\r\n",
                               basic_authorization(proxy.user, proxy.password));
    return request + "\r\n";
}

Secrets secrets_of(const Proxy& proxy)
{
    Secrets secrets;
    if (proxy.has_user) {
        secrets.add_field(basic_authorization(proxy.user, proxy.password));
        secrets.add(proxy.user);
        secrets.add(proxy.password);
    }
    return secrets;
}

} // namespace

Result<Proxy> parse_proxy(std::string_view text, std::string_view origin)
{
    const auto whole =
        text.find("://") == text.npos ? fmt::format("http://{}", text) : std::string{text};
    auto proxy = take_apart(whole);
    if (proxy)
        return proxy;
    return bad_proxy(fmt::format("{} is no URL of a proxy like http://host:port: {} ({})", origin,
                                 proxy.error().explanation(), redact_text(whole)));
}

ProxyEnvironment ProxyEnvironment::read(const char* (*get)(const char*))
{
    const auto first = [&](std::initializer_list<const char*> names) {
        for (const char* name : names)
            if (const char* value = get(name); value && *value)
                return Variable{name, value};
        return Variable{};
    };
    const bool is_cgi = get("REQUEST_METHOD") != nullptr;
    ProxyEnvironment result;
    result.http = is_cgi ? first({"http_proxy"}) : first({"http_proxy", "HTTP_PROXY"});
    result.https = first({"https_proxy", "HTTPS_PROXY"});
    result.all = first({"all_proxy", "ALL_PROXY"});
    result.none = first({"no_proxy", "NO_PROXY"}).value;
    return result;
}

ProxyEnvironment::Variable proxy_for(const ProxyEnvironment& environment, std::string_view host,
                                     std::uint16_t port, bool is_secure)
{
    if (is_exempt(environment.none, host, port))
        return {};
    const auto& own = is_secure ? environment.https : environment.http;
    return own.value.empty() ? environment.all : own;
}

bool is_exempt(std::string_view no_proxy, std::string_view host, std::uint16_t port)
{
    while (!no_proxy.empty()) {
        const auto entry = cut(no_proxy, ", \t\r\n");
        if (!entry.empty() && matches(entry, host, port))
            return true;
        no_proxy.remove_prefix(std::min<std::size_t>(1, no_proxy.size()));
    }
    return false;
}

// --- CONNECT

TunnelHandshake::TunnelHandshake(const Proxy& proxy, std::string_view host, std::uint16_t port,
                                 std::string endpoint)
    : Exchange{{.refused = Error::connect_failed,
                .attempted = "connect through the proxy " + proxy.shown,
                .endpoint = std::move(endpoint),
                .whose = "its",
                .max_head = fmt::format("{} bytes", max_head_bytes),
                .hint = "does the proxy's URL want https://?",
                .hints_if_silent = false,
                .peer = "proxy",
                .broken = "the connection to the proxy {} {} its answer"},
               request_for(proxy, authority(host, port)),
               secrets_of(proxy),
               max_head_bytes}
{
}

/// A 2xx answer has no body, whatever its fields say.
Result<void> TunnelHandshake::validate(const HttpHead& head, std::string_view body)
{
    if (head.status / 100 == 2)
        return {};
    const auto* const why = head.status == authorization_required
                                ? "the proxy wants authorization: "
                                : "the proxy refused: ";
    return refusal(why + describe(head, body, secrets()), details_of(head));
}

} // namespace sidecar::http
