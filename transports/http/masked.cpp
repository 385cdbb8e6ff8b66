#include "masked.hpp"

#include "printable.hpp"
#include "uri.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sidecar::http {
namespace {

/// A URL of any scheme whose parts are where they seem to be.
bool is_well_formed(const Components& url)
{
    return !url.scheme.empty() && !url.host.empty()
           && (!url.port || url.port->empty() || parse_port(*url.port)) && parse_host(url.host)
           && is_resource(url.path, url.query.value_or(""));
}

bool is_well_formed(const UnixComponents& url)
{
    return !url.scheme.empty() && (url.socket.starts_with('/') || url.socket.starts_with('@'))
           && (url.path.empty() || url.path.starts_with('/')) && is_resource(url.socket, "")
           && is_resource(url.path, url.query.value_or(""));
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

template <class Url>
std::string masked_end(const Url& url)
{
    std::string result;
    if (url.query)
        result.append("?").append(masked_query(*url.query));
    if (url.fragment)
        result += "#***";
    return result;
}

/// npos: there is none.
std::size_t end_of_user_info(std::string_view in)
{
    const auto plain = in.rfind('@');
    const auto encoded = in.rfind("%40");
    return plain == npos     ? encoded == npos ? npos : encoded + 3
           : encoded == npos ? plain
                             : std::max(plain, encoded + 3);
}

} // namespace

std::string masked_with_care(std::string_view text)
{
    const auto rest_at = text.find_first_of("?#");
    const auto front = text.substr(0, rest_at);
    const auto rest = rest_at == npos ? std::string_view{} : text.substr(rest_at);
    const auto slashes = front.find("//");
    const auto begin = slashes == npos ? 0 : slashes + 2;
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
    return printable(result, npos); // it comes from the application, so it needs no bound
}

std::string masked(std::string_view text)
{
    if (!std::all_of(text.begin(), text.end(), is_visible))
        return masked_with_care(text);
    if (const auto url = split_unix(text); is_well_formed(url)) {
        const auto colon = url.path.empty() ? "" : ":";
        return fmt::format("{}:{}{}{}{}", url.scheme, url.socket, colon, url.path, masked_end(url));
    }
    const auto url = split(text);
    if (!is_well_formed(url))
        return masked_with_care(text);
    std::string result =
        fmt::format("{}://{}{}", url.scheme, url.user_info ? "***@" : "", url.host);
    if (url.port)
        result += fmt::format(":{}", *url.port);
    return result.append(url.path).append(masked_end(url));
}

} // namespace sidecar::http
