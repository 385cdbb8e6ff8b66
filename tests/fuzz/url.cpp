// Any text as a URL, as a Location and as a list of hosts without a proxy: what comes of it keeps to
// the rules, and no text of it breaks a line. A line feed divides the input into two.
#include "require.hpp"

#include <proxy.hpp>
#include <redirect.hpp>
#include <text.hpp>
#include <uri.hpp>
#include <url.hpp>

#include <algorithm>
#include <cstdint>
#include <string_view>

using namespace sidecar;

namespace {

bool is_line(std::string_view text)
{
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

/// What goes into a request may end no line of it.
void check_url(std::string_view text)
{
    require(is_line(http::redact_url(text)), "a redacted URL is fit for a line");
    const auto url = websocket::parse_url(text);
    if (!url) {
        require(is_line(url.error().message()), "a refusal is fit for a line");
        return;
    }
    require(!url->host.empty() && is_line(url->host), "a host");
    require(url->port != 0, "a port");
    require(url->unix_path.size() <= 107, "a path that the system takes");
    for (const auto& part : {url->authority, url->resource})
        require(is_line(part) && part.find(' ') == part.npos, "a part of the request");
    require(url->resource.starts_with('/'), "a resource");
}

void check_redirection(std::string_view from, std::string_view location)
{
    const auto here = websocket::parse_url(from);
    if (!here)
        return;
    websocket::Redirects redirects{{.url = std::string{from},
                                    .headers = {{"Cookie", "x"}},
                                    .bearer = "x",
                                    .max_redirects = 1}};
    const auto followed = redirects.follow(
        {Error::handshake_refused,
         {.explanation = "so", .http_status = 302, .location = std::string{location}}});
    if (!followed) {
        require(is_line(followed.error().message()), "a refusal is fit for a line");
        return;
    }
    const auto& options = redirects.options();
    const auto there = websocket::parse_url(options.url);
    require(there.has_value(), "what is followed is a URL");
    require(there->is_secure || !here->is_secure, "never to a less secure scheme");
    require(there->unix_path == here->unix_path, "never to another socket");
    if (http::lower(there->host) != http::lower(here->host) || there->port != here->port)
        require(options.bearer.empty() && options.headers.empty(), "no credentials elsewhere");
}

void check_proxy(std::string_view text, std::string_view host)
{
    const auto proxy = http::parse_proxy(text, "proxy.url");
    if (!proxy)
        require(is_line(proxy.error().message()), "a refusal is fit for a line");
    else
        require(is_line(proxy->shown) && !proxy->host.empty() && proxy->port != 0, "a proxy");
    require(!http::is_exempt(text, host, 80) || http::is_exempt(std::string{text} + ",x", host, 80),
            "an entry more exempts no less");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    const auto first = text.substr(0, text.find('\n'));
    const auto second = text.substr(std::min(first.size() + 1, size));
    check_url(first);
    check_url(text);
    check_redirection(first, second);
    check_redirection("wss://h:1/a/b?c", first);
    check_proxy(first, second);
    return 0;
}
