#include "uri.hpp"

#include "text.hpp"

#include <boost/asio/ip/address.hpp>
#include <fmt/format.h>

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace sidecar::http {
namespace {

int hex_digit(char c)
{
    return is_digit(c) ? c - '0' : is_alpha(c) && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

bool is_triplet(std::string_view text)
{
    return text.size() >= 3 && text[0] == '%' && hex_digit(text[1]) >= 0 && hex_digit(text[2]) >= 0;
}

bool is_sub_delimiter(char c) { return std::string_view{"!$&'()*+,;="}.find(c) != npos; }

bool is_name_char(char c) { return is_unreserved(c) || is_sub_delimiter(c); }

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

/// RFC 1035 section 2.3.4, as text and without the final dot.
constexpr std::size_t max_name_bytes = 253;
constexpr std::size_t max_label_bytes = 63;

Failure because(std::string why) { return refuse(Error::bad_address, std::move(why)); }

/// Parses the inside of the brackets: `[fe80::1%25eth0]`, RFC 6874.
Result<Host> parse_ipv6(std::string_view inside)
{
    const auto percent = std::min(inside.find('%'), inside.size());
    const auto address = inside.substr(0, percent);
    const auto zone = inside.substr(percent);
    const bool is_zone_right = zone.starts_with("%25") && zone.size() > 3
                               && std::all_of(zone.begin() + 3, zone.end(), is_unreserved);
    if (!zone.empty() && !is_zone_right)
        return because("the zone of an IPv6 address is written like [fe80::1%25eth0] (RFC 6874)");
    if (inside.starts_with('v') || inside.starts_with('V'))
        return because("an address of this form is not supported");
    error_code ec;
    (void)boost::asio::ip::make_address_v6(std::string{address}, ec);
    if (ec)
        return because("the text in brackets is no IPv6 address");
    Host host{.name = std::string{address}, .field = fmt::format("[{}]", address)};
    if (!zone.empty())
        host.name.append("%").append(zone.substr(3));
    return host;
}

} // namespace

bool is_alpha(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_beyond_ascii(char c) noexcept { return static_cast<unsigned char>(c) > 0x7f; }
bool is_visible(char c) noexcept { return c > 0x20 && c < 0x7f; }
bool is_unreserved(char c) noexcept
{
    return is_alpha(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

bool is_token_char(char c) noexcept
{
    return is_alpha(c) || is_digit(c) || std::string_view{"!#$%&'*+-.^_`|~"}.find(c) != npos;
}

std::string lower(std::string_view text)
{
    std::string result{text};
    for (char& c : result)
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
    return result;
}

bool equal_ignoring_case(std::string_view a, std::string_view b)
{
    return a.size() == b.size() && lower(a) == lower(b);
}

std::string_view cut(std::string_view& text, std::string_view delimiters)
{
    const auto front = text.substr(0, text.find_first_of(delimiters));
    text.remove_prefix(front.size());
    return front;
}

std::string percent_decoded(std::string_view text)
{
    std::string result;
    while (!text.empty()) {
        const bool is_encoded = is_triplet(text);
        result += is_encoded ? static_cast<char>(hex_digit(text[1]) * 16 + hex_digit(text[2]))
                             : text.front();
        text.remove_prefix(is_encoded ? 3 : 1);
    }
    return result;
}

bool is_percent_encoding_right(std::string_view text)
{
    for (auto at = text.find('%'); at != npos; at = text.find('%', at + 1))
        if (!is_triplet(text.substr(at)))
            return false;
    return true;
}

Components split(std::string_view text)
{
    Components result;
    const auto scheme = text.substr(0, text.find(':'));
    const bool is_unix = lower(scheme).ends_with("+unix");
    text.remove_prefix(std::min(text.size(), scheme.size() + 1));
    if (!is_scheme(scheme) || (!is_unix && !text.starts_with("//")))
        return result;
    result.scheme = scheme;
    result.is_unix = is_unix;
    if (is_unix) {
        if (text.starts_with("///")) // an empty authority
            text.remove_prefix(2);
        result.socket = cut(text, ":?#");
        if (text.starts_with(':'))
            result.path = cut(text, "?#").substr(1);
    } else {
        text.remove_prefix(2);
        split_authority(cut(text, "/?#"), result);
        result.path = cut(text, "?#");
    }
    if (text.starts_with('?'))
        result.query = cut(text, "#").substr(1);
    if (text.starts_with('#'))
        result.fragment = text.substr(1);
    return result;
}

std::optional<std::uint16_t> parse_port(std::string_view digits)
{
    std::uint16_t port = 0;
    const auto* const last = digits.data() + digits.size();
    const auto [end, ec] = std::from_chars(digits.data(), last, port);
    if (ec != std::errc{} || end != last || port == 0)
        return {};
    return port;
}

Result<Host> parse_host(std::string_view host)
{
    if (host.starts_with('[') && host.ends_with(']'))
        return parse_ipv6(host.substr(1, host.size() - 2));
    const auto name = percent_decoded(host);
    if (host.find_first_of("[]") != npos)
        return because("the brackets of an IPv6 address surround the whole host, like [::1]");
    if (!is_percent_encoding_right(host))
        return because("the host name has characters that no host name has");
    if (auto valid = validate_host_name(name); !valid)
        return valid.error();
    return Host{.name = name, .field = std::string{host}};
}

Result<void> validate_host_name(std::string_view name)
{
    if (!address_bytes(std::string{name}).empty())
        return {};
    if (std::any_of(name.begin(), name.end(), is_beyond_ascii))
        return because("the host name has a character beyond ASCII; write it in its xn-- form");
    if (name.ends_with('.')) // a fully qualified name
        name.remove_suffix(1);
    if (name.size() > max_name_bytes)
        return because(fmt::format("the host name has {} bytes, a name has at most {}", name.size(),
                                   max_name_bytes));
    if (name.empty() || name.starts_with('.') || name.ends_with('.') || name.find("..") != npos)
        return because("the host name has an empty part before a dot");
    const auto is_label_char = [](char c) {
        return is_alpha(c) || is_digit(c) || c == '-' || c == '_';
    };
    while (!name.empty()) {
        const auto label = cut(name, ".");
        if (!std::all_of(label.begin(), label.end(), is_label_char))
            return because("the host name has characters that no host name has");
        if (label.size() > max_label_bytes)
            return because("a part of the host name between two dots has more than 63 bytes");
        name.remove_prefix(std::min<std::size_t>(name.size(), 1));
    }
    return {};
}

namespace {

/// Returns the port at the end of "host:7000" or "[::1]:7000"; empty: there is none.
std::optional<std::uint16_t> port_in(std::string_view host)
{
    const auto colon = host.rfind(':');
    if (colon == host.npos || colon == 0 || (host.find(':') != colon && host[colon - 1] != ']'))
        return {};
    return parse_port(host.substr(colon + 1));
}

} // namespace

Result<void> validate_host(const std::string& host, std::string_view option)
{
    if (host.empty())
        return because(fmt::format("there is no {}", option));
    if (host.find_first_of(" \t\r\n") != npos)
        return because(fmt::format("the {} has a blank or a line break in it; remove it", option));
    if (const auto port = port_in(host))
        return because(
            fmt::format("the {} has a port in it; give it as .port = {}", option, *port));
    const auto is_strange = [](unsigned char c) { return c < 0x20 || c >= 0x7f; };
    if (std::any_of(host.begin(), host.end(), is_strange))
        return because(fmt::format("the {} has a control character or one beyond ASCII; a name in "
                                   "another script is written as the DNS knows it (xn--...)",
                                   option));
    if (host.find_first_of("[]/") != npos)
        return because(fmt::format("the {} is a name or an address: no URL, and no brackets around "
                                   "an IPv6 address",
                                   option));
    return validate_host_name(host);
}

std::string address_bytes(const std::string& text)
{
    const auto bytes_of = [](const auto& bytes) {
        return std::string{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    };
    const auto zone_at = std::min(text.find('%'), text.size());
    // Only characters of an address: the system's functions ignore the rest behind a space or a
    // zero
    const auto is_in_address = [](char c) { return is_unreserved(c) || c == ':'; };
    const std::string_view address_part{text.data(), zone_at};
    const auto zone = std::string_view{text}.substr(std::min(zone_at + 1, text.size()));
    if (!std::all_of(address_part.begin(), address_part.end(), is_in_address)
        || !std::all_of(zone.begin(), zone.end(), is_unreserved)
        || (zone.empty() && zone_at != text.size()))
        return {};
    boost::system::error_code ec;
    const auto address = boost::asio::ip::make_address(std::string{address_part}, ec);
    if (!ec && address.is_v6())
        return bytes_of(address.to_v6().to_bytes());
    in_addr v4{};
    if (::inet_aton(text.c_str(), &v4) == 0)
        return {};
    return {reinterpret_cast<const char*>(&v4), sizeof v4};
}

std::size_t find_beyond_ascii_in_host(std::string_view url)
{
    auto rest = url;
    const auto host = url.find("://") == npos ? cut(rest, "/?#") : split(url).host;
    const auto found = std::find_if(host.begin(), host.end(), is_beyond_ascii);
    return found == host.end() ? npos : static_cast<std::size_t>(&*found - url.data());
}

bool is_resource(std::string_view path, std::string_view query)
{
    const auto is_path_char = [](char c) {
        return is_name_char(c) || c == '%' || c == ':' || c == '@' || c == '/';
    };
    return is_percent_encoding_right(path) && is_percent_encoding_right(query)
           && std::all_of(path.begin(), path.end(), is_path_char)
           && std::all_of(query.begin(), query.end(),
                          [&](char c) { return is_path_char(c) || c == '?'; });
}

Result<void> validate_socket_path(std::string_view path)
{
    if (path.empty())
        return because("there is no path of a socket");
    if (path == "@")
        return because("the abstract name behind '@' is empty");
    if (path.find('\0') != npos)
        return because("the path of the socket has a zero byte, which no path has");
    if (path.size() > max_socket_path_bytes)
        return because(
            fmt::format("the path of the socket has {} bytes, the system takes at most {}",
                        path.size(), max_socket_path_bytes));
    return {};
}

} // namespace sidecar::http
