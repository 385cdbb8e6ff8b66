#include "name.hpp"

#include <boost/asio/ip/address.hpp>

#include <arpa/inet.h>

#include <algorithm>
#include <cstddef>

namespace sidecar::stream {
namespace {

constexpr std::size_t most_name_bytes = 253, most_label_bytes = 63;

template <class Bytes>
std::string as_string(const Bytes& bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// In network order; empty if the text is no address.
std::string address_bytes(const std::string& text)
{
    boost::system::error_code ec;
    const auto address = boost::asio::ip::make_address(text.substr(0, text.find('%')), ec);
    if (!ec)
        return address.is_v4() ? as_string(address.to_v4().to_bytes())
                               : as_string(address.to_v6().to_bytes());
    in_addr v4{};
    if (::inet_aton(text.c_str(), &v4) == 0)
        return {};
    return {reinterpret_cast<const char*>(&v4), sizeof v4};
}

bool is_label(std::string_view label)
{
    return !label.empty() && label.size() <= most_label_bytes
           && std::all_of(label.begin(), label.end(), [](char c) {
                  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
                         || c == '-' || c == '_';
              });
}

std::string_view without_dot(std::string_view name)
{
    if (name.ends_with('.'))
        name.remove_suffix(1);
    return name;
}

} // namespace

TlsName tls_name(std::string_view host, std::string_view server_name)
{
    const std::string wanted{server_name.empty() ? host : server_name};
    if (wanted.empty())
        return {};
    if (auto address = address_bytes(wanted); !address.empty())
        return {.address = std::move(address), .text = wanted.substr(0, wanted.find('%'))};
    const std::string name{without_dot(wanted)};
    return {.name = name, .text = name};
}

bool is_server_name(std::string_view text)
{
    if (text.find('\0') == text.npos && !address_bytes(std::string{text}).empty())
        return true;
    auto rest = without_dot(text);
    if (rest.empty() || rest.size() > most_name_bytes)
        return false;
    for (;;) {
        const auto dot = rest.find('.');
        if (!is_label(rest.substr(0, dot)))
            return false;
        if (dot == rest.npos)
            return true;
        rest.remove_prefix(dot + 1);
    }
}

} // namespace sidecar::stream
