#include "no_proxy.hpp"

#include "uri.hpp"

#include <boost/asio/ip/address.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>
#include <string>

namespace sidecar::http {
namespace {

using boost::asio::ip::address;

/// An address written as a name is compared by its bits; IPv4 in IPv6 is IPv4.
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

std::string bits_of(const address& a)
{
    std::string bits;
    const auto append = [&](const auto& bytes) {
        for (const unsigned char byte : bytes)
            for (int i = 7; i >= 0; --i)
                bits += (byte >> i & 1) != 0 ? '1' : '0';
    };
    if (a.is_v4())
        append(a.to_v4().to_bytes());
    else
        append(a.to_v6().to_bytes());
    return bits;
}

bool is_in_network(const address& host, std::string_view network, std::string_view length)
{
    const auto base = parse_address(network);
    std::size_t bits = 0;
    const auto [end, ec] = std::from_chars(length.data(), length.data() + length.size(), bits);
    if (!base || ec != std::errc{} || end != length.data() + length.size()
        || base->is_v4() != host.is_v4())
        return false;
    const auto ours = bits_of(host), theirs = bits_of(*base);
    return bits <= ours.size() && ours.substr(0, bits) == theirs.substr(0, bits);
}

std::string name_of(std::string_view text)
{
    if (text.ends_with('.')) // a name that is complete
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

/// Takes ":port" from the entry's end. False: it is for another port.
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
    if (const auto slash = entry.find('/'); slash != entry.npos) {
        auto network = entry.substr(0, slash);
        if (network.starts_with('[') && network.ends_with(']'))
            network = network.substr(1, network.size() - 2);
        return address && is_in_network(*address, network, entry.substr(slash + 1));
    }
    if (entry.starts_with('[') && entry.ends_with(']'))
        entry = entry.substr(1, entry.size() - 2);
    if (address)
        return parse_address(entry) == address;
    return is_name_below(host, entry);
}

} // namespace

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

} // namespace sidecar::http
