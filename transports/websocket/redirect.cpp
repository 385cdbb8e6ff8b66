#include "redirect.hpp"

#include "answer.hpp"
#include "options.hpp"
#include "uri.hpp"
#include "url.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

namespace sidecar::websocket {
namespace {

bool is_redirection(std::uint16_t status)
{
    constexpr std::array<std::uint16_t, 5> followed{301, 302, 303, 307, 308};
    return std::find(followed.begin(), followed.end(), status) != followed.end();
}

/// Removes dot segments, RFC 3986 section 5.2.4, from a path that begins with '/'.
std::string without_dots(std::string_view path)
{
    std::vector<std::string_view> segments;
    bool ends_in_slash = false;
    while (!path.empty()) {
        path.remove_prefix(1);
        const auto segment = http::cut(path, "/");
        ends_in_slash = segment == "." || segment == "..";
        if (segment == ".." && !segments.empty())
            segments.pop_back();
        else if (!ends_in_slash)
            segments.push_back(segment);
    }
    std::string result;
    for (const auto segment : segments)
        result.append("/").append(segment);
    return ends_in_slash || result.empty() ? result + '/' : result;
}

/// A URL in parts: the front before the resource, the path, the query.
struct Base {
    std::string scheme;
    std::string front;
    std::string path;
    std::string query; // with its '?'
};

Base base_of(std::string_view url)
{
    const auto parts = http::split(url);
    auto front = parts.is_unix ? fmt::format("{}:{}:", parts.scheme, parts.socket)
                               : std::string{url.data(), parts.path.data()};
    return {std::string{parts.scheme}, std::move(front),
            std::string{parts.path.empty() ? "/" : parts.path},
            parts.query ? std::string{"?"}.append(*parts.query) : std::string{}};
}

bool has_scheme(std::string_view reference)
{
    const auto scheme = reference.substr(0, reference.find_first_of(":/?#"));
    return scheme.size() < reference.size() && reference[scheme.size()] == ':' && !scheme.empty()
           && http::is_alpha(scheme.front());
}

std::string with_our_scheme(std::string_view url)
{
    const auto scheme = http::lower(url.substr(0, url.find(':')));
    const auto rest = url.substr(scheme.size());
    return scheme == "http"    ? std::string{"ws"}.append(rest)
           : scheme == "https" ? std::string{"wss"}.append(rest)
                               : std::string{url};
}

} // namespace

std::string resolve_location(std::string_view base, std::string_view location)
{
    location = location.substr(0, location.find('#'));
    if (has_scheme(location))
        return with_our_scheme(location);
    const auto from = base_of(base);
    if (location.starts_with("//"))
        return fmt::format("{}:{}", from.scheme, location);
    if (location.empty())
        return from.front + from.path + from.query;
    auto query = location;
    const auto path = http::cut(query, "?");
    if (path.empty())
        return fmt::format("{}{}{}", from.front, from.path, query);
    if (path.starts_with('/'))
        return fmt::format("{}{}{}", from.front, without_dots(path), query);
    const auto folder = from.path.substr(0, from.path.rfind('/') + 1);
    return fmt::format("{}{}{}", from.front, without_dots(folder + std::string{path}), query);
}

Redirects::Redirects(const WebSocket::Options& options)
    : options_{options}, secrets_{secrets_of(options)}, endpoint_{redact_url(options.url)}
{
    asked_.insert(options.url);
}

Result<bool> Redirects::follow(const Failure& refusal)
{
    if (options_.max_redirects == 0 || !(refusal == Error::handshake_refused)
        || !is_redirection(refusal.http_status()) || refusal.location().empty())
        return false;
    const auto to = resolve_location(options_.url, refusal.location());
    if (auto valid = validate(to); !valid)
        return Failure{
            Error::handshake_refused,
            {.attempted = refusal.attempted(),
             .endpoint = refusal.endpoint(),
             .explanation = fmt::format("{}, which is not followed: {}", refusal.explanation(),
                                        secrets_.redact(valid.error().explanation())),
             .http_status = refusal.http_status(),
             .location = refusal.location()}};
    const auto here = parse_url(options_.url).value();
    const auto there = parse_url(to).value();
    if (http::lower(here.host) != http::lower(there.host) || here.port != there.port)
        keep_public_options();
    options_.url = to;
    for (const auto& value : query_values(to))
        secrets_.add(value);
    endpoint_ =
        secrets_.redact(redact_url(to)); // the application's own URL keeps its path as it is
    asked_.insert(to);
    return true;
}

Result<void> Redirects::validate(const std::string& to) const
{
    const auto refuse = [](std::string why) {
        return http::refuse(Error::handshake_refused, std::move(why));
    };
    const auto there = parse_url(to);
    if (!there)
        return there.error();
    const auto here = parse_url(options_.url).value();
    if (here.unix_path != there->unix_path)
        return refuse("it leads to or from a Unix-domain socket");
    if (here.is_secure && !there->is_secure)
        return refuse("it leads from wss:// to ws://");
    if (asked_.count(to) != 0)
        return refuse("it leads in a circle, for that URL was asked already");
    if (asked_.size() > options_.max_redirects)
        return refuse(
            fmt::format("it is one more than max_redirects ({})", options_.max_redirects));
    return {};
}

/// A custom header, a cookie or a subprotocol may hold a token, as Authorization does. The Host
/// field and the name that TLS verifies belong to the previous host.
void Redirects::keep_public_options()
{
    std::erase_if(options_.headers,
                  [](const auto& field) { return !is_public_header(field.first); });
    options_.subprotocols = public_subprotocols(options_.subprotocols);
    options_.basic_auth.reset();
    options_.bearer.clear();
    options_.tls.certificate_file.clear();
    options_.tls.key_file.clear();
    options_.tls.key_password.clear();
    options_.tls.server_name.clear();
}

} // namespace sidecar::websocket
