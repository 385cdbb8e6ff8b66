#include "proxy.hpp"

#include "authorization.hpp"
#include "masked.hpp"
#include "no_proxy.hpp"
#include "uri.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

namespace sidecar::http {
namespace {

/// Empty: nothing is wrong with what stands around the host.
std::string judge(const Components& url)
{
    const auto scheme = lower(url.scheme);
    if (scheme != "http" && scheme != "https")
        return fmt::format("the scheme is \"{}\"; only proxies of http:// and https:// are "
                           "supported",
                           scheme);
    if (url.host.empty())
        return "there is no host";
    if (url.port && !url.port->empty() && !parse_port(*url.port))
        return "the port is not a number between 1 and 65535";
    if (!url.path.empty() && url.path != "/")
        return "a path has no place in it";
    if (url.query || url.fragment)
        return "a query or a fragment has no place in it";
    if (!is_percent_encoding_right(url.user_info.value_or("")))
        return "in the user information a '%' begins no two hexadecimal digits";
    return {};
}

/// Empty: nothing is wrong with it.
std::string take_user_info(std::string_view user_info, Proxy& to)
{
    const auto user = user_info.substr(0, user_info.find(':'));
    to.has_user = true;
    to.user = percent_decoded(user);
    to.password = percent_decoded(user_info.substr(std::min(user.size() + 1, user_info.size())));
    return judge_basic(to.user, to.password);
}

/// The failure lacks what parse_proxy() adds.
std::string take_apart(std::string_view text, Proxy& to)
{
    if (!std::all_of(text.begin(), text.end(), is_visible))
        return "there is a space, a control character or one beyond ASCII in it";
    const auto url = split(text);
    if (auto why = judge(url); !why.empty())
        return why;
    auto host = parse_host(url.host);
    if (!host)
        return host.error().explanation();
    to.is_secure = lower(url.scheme) == "https";
    to.host = std::move(host->name);
    to.port = to.is_secure ? 443 : 80;
    if (url.port && !url.port->empty())
        to.port = *parse_port(*url.port);
    to.shown = fmt::format("{}://{}:{}", lower(url.scheme), host->field, to.port);
    return url.user_info ? take_user_info(*url.user_info, to) : std::string{};
}

} // namespace

Result<Proxy> parse_proxy(std::string_view text, std::string_view origin)
{
    const auto whole =
        text.find("://") == text.npos ? fmt::format("http://{}", text) : std::string{text};
    Proxy proxy;
    auto why = take_apart(whole, proxy);
    if (why.empty())
        return proxy;
    return Failure{Error::bad_options,
                   {.explanation = fmt::format("{} is no URL of a proxy like http://host:port: "
                                               "{} ({})",
                                               origin, why, masked_with_care(whole))}};
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

} // namespace sidecar::http
