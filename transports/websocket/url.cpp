#include "url.hpp"

#include "printable.hpp"

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace sidecar::websocket {
namespace {

constexpr auto npos = std::string_view::npos;

bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_visible(char c) { return c > 0x20 && c < 0x7f; }
bool is_unreserved(char c)
{
    return is_alpha(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

std::string lower(std::string_view text)
{
    std::string result{text};
    for (char& c : result)
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
    return result;
}

/// Cuts `text` at the first of `delimiters`; gives what stood before it. The delimiter stays.
std::string_view cut(std::string_view& text, std::string_view delimiters)
{
    const auto front = text.substr(0, text.find_first_of(delimiters));
    text.remove_prefix(front.size());
    return front;
}

/// The components of a URL by RFC 3986 appendix B, not yet judged. Views into the text.
struct Components {
    std::string_view scheme; // empty: there is no "scheme://"
    std::optional<std::string_view> user_info;
    std::string_view host; // with brackets and zone
    std::optional<std::string_view> port;
    std::string_view path;
    std::optional<std::string_view> query;
    std::optional<std::string_view> fragment;
};

bool is_scheme(std::string_view text)
{
    return !text.empty() && is_alpha(text.front())
           && std::all_of(text.begin(), text.end(), [](char c) {
                  return is_alpha(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
              });
}

void split_authority(std::string_view authority, Components& to)
{
    if (const auto at = authority.rfind('@'); at != npos) {
        to.user_info = authority.substr(0, at);
        authority.remove_prefix(at + 1);
    }
    const auto bracket = authority.rfind(']');
    const auto colon = authority.find(':', bracket == npos ? 0 : bracket);
    to.host = authority.substr(0, colon);
    if (colon != npos)
        to.port = authority.substr(colon + 1);
}

Components split(std::string_view text)
{
    Components result;
    const auto scheme = text.substr(0, text.find("://"));
    if (scheme.size() == text.size() || !is_scheme(scheme))
        return result;
    result.scheme = scheme;
    text.remove_prefix(scheme.size() + 3);
    split_authority(cut(text, "/?#"), result);
    result.path = cut(text, "?#");
    if (text.starts_with('?')) {
        result.query = cut(text, "#").substr(1);
    }
    if (text.starts_with('#'))
        result.fragment = text.substr(1);
    return result;
}

/// No value: it is none from 1 to 65535.
std::optional<std::uint16_t> parse_port(std::string_view digits)
{
    std::uint16_t port = 0;
    const auto* const last = digits.data() + digits.size();
    const auto [end, ec] = std::from_chars(digits.data(), last, port);
    if (ec != std::errc{} || end != last || port == 0)
        return {};
    return port;
}

/// What a host is for the resolver and for the Host field.
struct Host {
    std::string name;
    std::string field;
};

/// `[fe80::1%25eth0]`, RFC 6874. Boost.URL knows no zones, so it never sees one.
Result<Host> without_zone(std::string_view host, std::string& zone)
{
    if (!host.starts_with('[') || !host.ends_with(']'))
        return Host{.name = {}, .field = std::string{host}};
    const auto percent = host.find('%');
    if (percent == npos)
        return Host{.name = {}, .field = std::string{host}};
    zone = host.substr(percent, host.size() - percent - 1);
    if (!zone.starts_with("%25") || zone.size() == 3
        || !std::all_of(zone.begin() + 3, zone.end(), is_unreserved))
        return Failure{Error::bad_address,
                       {.explanation = "the zone of an IPv6 address is written like "
                                       "[fe80::1%25eth0] (RFC 6874)"}};
    zone.erase(1, 2);
    return Host{.name = {}, .field = std::string{host.substr(0, percent)}.append("]")};
}

Failure because(std::string why) { return {Error::bad_address, {.explanation = std::move(why)}}; }

/// Judges the host, the path and the query by the grammar of RFC 3986.
Result<Host> parse_host(const Components& url)
{
    std::string zone;
    auto host = without_zone(url.host, zone);
    if (!host)
        return host;
    const auto text = fmt::format("ws://{}{}{}{}", host->field, url.path, url.query ? "?" : "",
                                  url.query.value_or(std::string_view{}));
    const auto parsed = boost::urls::parse_uri(text);
    if (!parsed)
        return because("not a URL of the form ws://host:port/path: " + parsed.error().message());
    if (parsed->encoded_host() != host->field) // Boost 1.81 takes "[::1]x" for a host and a path
        return because("not a URL of the form ws://host:port/path");
    if (parsed->host_type() == boost::urls::host_type::ipvfuture)
        return because("an address of this form is not supported");
    if (!zone.empty() && parsed->host_type() != boost::urls::host_type::ipv6)
        return because("only an IPv6 address has a zone");
    host->name = parsed->host_address();
    if (parsed->host_type() == boost::urls::host_type::name
        && !std::all_of(host->name.begin(), host->name.end(), [](char c) {
               return is_unreserved(c) || std::string_view{"!$&'()*+,;="}.find(c) != npos;
           }))
        return because("the host name has characters that no host name has; write a name with "
                       "other than ASCII letters in its xn-- form");
    host->name += zone;
    return host;
}

/// A URL of any scheme whose parts are where they seem to be.
bool is_well_formed(const Components& url)
{
    return !url.scheme.empty() && !url.host.empty()
           && (!url.port || url.port->empty() || parse_port(*url.port)) && parse_host(url);
}

std::string masked_query(std::string_view query)
{
    std::string result;
    for (;;) {
        const auto parameter = cut(query, "&");
        // A parameter without '=' may be a value as well as a name.
        if (const auto equals = parameter.find('='); equals != npos)
            result += parameter.substr(0, equals + 1);
        if (!parameter.empty())
            result += "***";
        if (query.empty())
            return result;
        result += '&';
        query.remove_prefix(1);
    }
}

bool has_at_sign(std::string_view text)
{
    return text.find('@') != npos || text.find("%40") != npos;
}

/// Masks whatever could be a secret in a text whose parts cannot be told for sure.
std::string masked_with_care(std::string_view text)
{
    const auto rest_at = text.find_first_of("?#");
    const auto front = text.substr(0, rest_at);
    const auto rest = rest_at == npos ? std::string_view{} : text.substr(rest_at);
    const auto slashes = front.find("//");
    const auto begin = slashes == npos ? 0 : slashes + 2;
    const auto end_of_user_info = [](std::string_view in) {
        const auto plain = in.rfind('@');
        const auto encoded = in.rfind("%40");
        return plain == npos     ? encoded == npos ? npos : encoded + 3
               : encoded == npos ? plain
                                 : std::max(plain, encoded + 3);
    };
    std::string result;
    if (const auto end = end_of_user_info(front); end != npos && end >= begin)
        result = fmt::format("{}***{}", front.substr(0, begin), front.substr(end));
    else if (end != npos) // before the slashes
        result = fmt::format("***{}", front.substr(end));
    else if (end_of_user_info(rest) != npos) // a '?' or '#' in a password
        result = fmt::format("{}***", front.substr(0, begin));
    else
        result = front;
    if (!rest.empty())
        result += fmt::format("{}***", rest.front());
    return result;
}

/// The text comes from the application, so its length needs no bound.
std::string masked_and_printable(std::string_view text)
{
    return printable(masked_with_care(text), npos);
}

std::string missing_scheme(std::string_view text)
{
    const auto start = lower(text.substr(0, text.find(':')));
    if (start == "ws" || start == "wss" || start == "http" || start == "https")
        return "it must begin with ws://";
    while (text.starts_with('/'))
        text.remove_prefix(1);
    const auto meant = fmt::format("ws://{}", text);
    // An '@' behind a slash may still be the end of a password.
    return fmt::format("the scheme is missing; did you mean {}?",
                       has_at_sign(text) ? masked_and_printable(meant) : masked(meant));
}

/// Empty: it is one for us.
std::string judge_scheme(std::string_view text, const Components& url)
{
    const auto scheme = lower(url.scheme);
    if (scheme == "ws")
        return {};
    if (scheme == "wss")
        return "wss:// (TLS) is not supported by this version";
    const auto rest = text.substr(scheme.size());
    if (scheme == "http")
        return fmt::format("the scheme is \"http\", it must be ws; did you mean {}?",
                           masked(fmt::format("ws{}", rest)));
    if (scheme == "https")
        return fmt::format("the scheme is \"https\", it must be ws; did you mean {}? (which is not "
                           "supported by this version)",
                           masked(fmt::format("wss{}", rest)));
    return fmt::format("the scheme is \"{}\", it must be ws", scheme);
}

/// What no URL of ours may have, whatever its grammar. Empty: nothing.
std::string judge_parts(std::string_view text, const Components& url)
{
    if (url.user_info)
        return "user information has no place in it; give an Authorization header instead";
    if (url.fragment)
        return "a fragment has no place in it (RFC 6455 section 3)";
    if (url.port && url.port->find(':') != npos)
        return "an IPv6 address stands in brackets, like ws://[::1]:8080/";
    if (url.host.empty())
        return "there is no host";
    if (url.port && !url.port->empty() && !parse_port(*url.port)) {
        // In "ws://user:123456/789@host/" it is the beginning of a password.
        const bool is_showable =
            std::all_of(url.port->begin(), url.port->end(), is_digit) && !has_at_sign(text);
        return is_showable
                   ? fmt::format("the port is \"{}\", it must be between 1 and 65535", *url.port)
                   : "the port is not a number between 1 and 65535";
    }
    return {};
}

/// The failure lacks what parse_url() adds.
Result<Url> take_apart(std::string_view text)
{
    if (text.empty())
        return because("it is empty");
    if (const auto bad = std::find_if_not(text.begin(), text.end(), is_visible); bad != text.end())
        return because(fmt::format("there is a byte 0x{:02x} at position {}, which must be "
                                   "percent-encoded",
                                   static_cast<unsigned char>(*bad), bad - text.begin()));
    const auto url = split(text);
    if (url.scheme.empty())
        return because(missing_scheme(text));
    if (auto why = judge_scheme(text, url); !why.empty())
        return because(std::move(why));
    if (auto why = judge_parts(text, url); !why.empty())
        return because(std::move(why));
    auto host = parse_host(url);
    if (!host)
        return host.error();
    Url result;
    result.host = std::move(host->name);
    result.authority = std::move(host->field);
    result.port = url.port && !url.port->empty() ? *parse_port(*url.port) : result.port;
    if (result.port != 80)
        result.authority += fmt::format(":{}", result.port);
    result.resource = url.path.empty() ? "/" : url.path;
    if (url.query)
        result.resource += fmt::format("?{}", *url.query);
    return result;
}

int hex_digit(char c)
{
    return is_digit(c) ? c - '0' : is_alpha(c) && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

std::string decoded(std::string_view text)
{
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0
            && hex_digit(text[i + 2]) >= 0) {
            result += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
            i += 2;
        } else {
            result += text[i];
        }
    }
    return result;
}

} // namespace

Result<Url> parse_url(std::string_view text)
{
    auto result = take_apart(text);
    if (result)
        return result;
    return Failure{Error::bad_address,
                   {.attempted = "read the URL",
                    .endpoint = masked(text),
                    .explanation = result.error().explanation()}};
}

std::string masked(std::string_view text)
{
    const auto url = split(text);
    if (!std::all_of(text.begin(), text.end(), is_visible) || !is_well_formed(url))
        return masked_and_printable(text);
    std::string result =
        fmt::format("{}://{}{}", url.scheme, url.user_info ? "***@" : "", url.host);
    if (url.port)
        result += fmt::format(":{}", *url.port);
    result += url.path;
    if (url.query)
        result.append("?").append(masked_query(*url.query));
    if (url.fragment)
        result += "#***";
    return result;
}

std::vector<std::string> query_values(std::string_view resource)
{
    std::vector<std::string> values;
    (void)cut(resource, "?");
    while (!resource.empty()) {
        resource.remove_prefix(1);
        auto value = cut(resource, "&");
        if (const auto equals = value.find('='); equals != npos)
            value.remove_prefix(equals + 1);
        values.emplace_back(value);
        if (auto plain = decoded(value); plain != value)
            values.push_back(std::move(plain));
    }
    return values;
}

} // namespace sidecar::websocket
