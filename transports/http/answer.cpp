#include "answer.hpp"

#include "masked.hpp"
#include "printable.hpp"
#include "retry_after.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>

namespace sidecar::http {
namespace {

constexpr std::size_t shown_rubbish_bytes = 64;

/// Of a chunked body only the first chunk's content is for people.
std::string_view readable_body(const HttpHead& head, std::string_view body)
{
    if (!contains(head.elements("Transfer-Encoding"), "chunked"))
        return body;
    std::size_t bytes = 0;
    (void)std::from_chars(body.data(), body.data() + body.size(), bytes, 16);
    const auto line = body.find('\n');
    return line == body.npos ? std::string_view{} : body.substr(line + 1).substr(0, bytes);
}

/// What else than HTTP the first bytes may be. Empty: no idea.
std::string guess(std::string_view bytes, std::string_view hint_for_tls)
{
    const auto is_at = [&](std::size_t at, char c) { return bytes.size() > at && bytes[at] == c; };
    if ((is_at(0, '\x15') || is_at(0, '\x16')) && (bytes.size() == 1 || is_at(1, '\x03')))
        return fmt::format("; this is TLS: {}", hint_for_tls);
    if (bytes.starts_with("SSH-"))
        return "; this is an SSH server";
    if (bytes.starts_with("HTTP/2")
        || (is_at(0, '\0') && is_at(1, '\0') && (is_at(3, '\x04') || is_at(3, '\x07'))))
        return "; this is HTTP/2";
    return {};
}

} // namespace

std::string_view first_value(const HttpHead& head, std::string_view name)
{
    const auto values = head.values(name);
    return values.empty() ? std::string_view{} : values.front();
}

bool contains(const std::vector<std::string_view>& elements, std::string_view name)
{
    return std::any_of(elements.begin(), elements.end(),
                       [&](std::string_view e) { return equal_ignoring_case(e, name); });
}

std::string quote(std::string_view text, const Secrets& secrets)
{
    // A secret that the cut goes through is masked as far as it stands there.
    return shown(secrets.hide(std::string{text.substr(0, 4 * shown_bytes)}), shown_bytes);
}

std::string describe(const HttpHead& head, std::string_view body, const Secrets& secrets)
{
    const auto details = details_of(head);
    auto text = fmt::format("HTTP {}", head.status);
    if (!head.reason.empty())
        text += " " + printable(secrets.hide(head.reason), shown_bytes);
    if (!details.location.empty())
        text += ", Location: " + printable(secrets.hide(masked(details.location)), shown_bytes);
    if (details.retry_after)
        text += fmt::format(", Retry-After: {} s", details.retry_after->count());
    if (const auto readable = readable_body(head, body);
        !readable.empty() && head.status / 100 != 3)
        text += ": " + quote(readable, secrets);
    return text;
}

FailureDetails details_of(const HttpHead& head)
{
    const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    return {.http_status = static_cast<std::uint16_t>(head.status),
            .location = std::string{first_value(head, "Location")},
            .retry_after = parse_retry_after(first_value(head, "Retry-After"),
                                             first_value(head, "Date"), now)};
}

std::string describe_not_http(std::string_view first, std::string_view rest, const Secrets& secrets,
                              std::string_view hint_for_tls)
{
    auto bytes = std::string{first};
    bytes += rest.substr(0, 4 * shown_rubbish_bytes);
    return fmt::format("it begins with {}{}", shown(secrets.hide(bytes), shown_rubbish_bytes),
                       guess(bytes, hint_for_tls));
}

} // namespace sidecar::http
