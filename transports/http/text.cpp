#include "text.hpp"

#include "uri.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sidecar::http {
namespace {

constexpr std::string_view redacted = "***";
constexpr std::size_t min_secret_bytes = 4;
constexpr std::size_t min_word_bytes = 8;

bool is_printable(char c) { return c >= 0x20 && c < 0x7f; }

/// Whether this is a URL of any scheme whose parts are where they seem to be.
bool is_well_formed(const Components& url)
{
    if (!is_resource(url.path, url.query.value_or("")))
        return false;
    if (url.is_unix)
        return (url.socket.starts_with('/') || url.socket.starts_with('@'))
               && (url.path.empty() || url.path.starts_with('/')) && is_resource(url.socket, "");
    return !url.scheme.empty() && !url.host.empty()
           && (!url.port || url.port->empty() || parse_port(*url.port)) && parse_host(url.host);
}

std::string redact_query(std::string_view query)
{
    std::string result;
    for (;;) {
        const auto parameter = cut(query, "&");
        // A parameter without '=' may be a value as well as a name.
        if (const auto equals = parameter.find('='); equals != npos)
            result += parameter.substr(0, equals + 1);
        if (!parameter.empty())
            result += redacted;
        if (query.empty())
            return result;
        result += '&';
        query.remove_prefix(1);
    }
}

/// Returns the offset of the '@' or the end of the "%40" behind user information; npos: there is
/// none.
std::size_t end_of_user_info(std::string_view in)
{
    const auto plain = in.rfind('@');
    const auto encoded = in.rfind("%40");
    return encoded == npos ? plain : plain == npos ? encoded + 3 : std::max(plain, encoded + 3);
}

} // namespace

std::string escape(std::string_view bytes, std::size_t max_bytes)
{
    std::string text;
    for (const char c : bytes.substr(0, max_bytes)) {
        if (is_printable(c))
            text += c;
        else if (c == '\r')
            text += "\\r";
        else if (c == '\n')
            text += "\\n";
        else if (c == '\t')
            text += "\\t";
        else
            text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
    if (bytes.size() > max_bytes)
        text += "...";
    return text;
}

std::string quote(std::string_view bytes, std::size_t max_bytes)
{
    const auto is_strange = [](char c) {
        return !(is_printable(c) || c == '\r' || c == '\n' || c == '\t');
    };
    const auto begin = bytes.substr(0, max_bytes);
    const auto strange = std::count_if(begin.begin(), begin.end(), is_strange);
    // A word in another script leaves a text readable
    if (static_cast<std::size_t>(strange) <= begin.size() / 4)
        return '"' + escape(bytes, max_bytes) + '"';
    std::string hex;
    for (const char c : begin)
        hex += fmt::format("{}{:02x}", hex.empty() ? "" : " ", static_cast<unsigned char>(c));
    return bytes.size() > max_bytes ? hex + " ..." : hex;
}

std::string quote_name(std::string_view bytes, std::size_t max_bytes)
{
    std::string text;
    for (const char c : bytes.substr(0, max_bytes))
        text += (c == '"' || c == '\\' ? "\\" : "") + escape({&c, 1});
    return fmt::format("\"{}\"{}", text, bytes.size() > max_bytes ? "..." : "");
}

std::string redact_text(std::string_view text)
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
    return escape(result); // comes from the application, so it needs no bound
}

std::string redact_url(std::string_view text)
{
    if (!std::all_of(text.begin(), text.end(), is_visible))
        return redact_text(text);
    const auto url = split(text);
    if (!is_well_formed(url))
        return redact_text(text);
    auto result = url.is_unix
                      ? fmt::format("{}:{}{}", url.scheme, url.socket, url.path.empty() ? "" : ":")
                      : fmt::format("{}://{}{}{}{}", url.scheme, url.user_info ? "***@" : "",
                                    url.host, url.port ? ":" : "", url.port.value_or(""));
    result += url.path;
    if (url.query)
        result += "?" + redact_query(*url.query);
    if (url.fragment)
        result += "#***";
    return result;
}

void Secrets::insert(std::string secret)
{
    if (secret.size() < min_secret_bytes
        || std::find(secrets_.begin(), secrets_.end(), secret) != secrets_.end())
        return;
    const auto at = std::find_if(secrets_.begin(), secrets_.end(), [&](const std::string& other) {
        return other.size() <= secret.size();
    });
    secrets_.insert(at, std::move(secret));
}

void Secrets::add(std::string_view secret)
{
    insert(std::string{secret});
    insert(percent_decoded(secret));
    std::string upper, lower;
    for (const char c : percent_decoded(secret)) {
        const auto byte = static_cast<unsigned char>(c);
        upper += is_unreserved(c) ? std::string(1, c) : fmt::format("%{:02X}", byte);
        lower += is_unreserved(c) ? std::string(1, c) : fmt::format("%{:02x}", byte);
    }
    insert(std::move(upper));
    insert(std::move(lower));
}

void Secrets::add_field(std::string_view value)
{
    add(value);
    constexpr std::string_view separators = " \t,;=\"";
    for (auto begin = value.find_first_not_of(separators); begin != npos;) {
        const auto end = std::min(value.find_first_of(separators, begin), value.size());
        if (end - begin >= min_word_bytes)
            add(value.substr(begin, end - begin));
        begin = value.find_first_not_of(separators, end);
    }
}

Secrets& Secrets::add(const Secrets& other)
{
    for (const auto& secret : other.secrets_)
        insert(secret);
    return *this;
}

std::string Secrets::redact(std::string text) const
{
    for (const auto& secret : secrets_) {
        for (auto at = text.find(secret); at != npos; at = text.find(secret, at + redacted.size()))
            text.replace(at, secret.size(), redacted);
    }
    for (const auto& secret : secrets_) {
        for (auto length = std::min(secret.size(), text.size()); length >= min_secret_bytes;
             --length) {
            if (text.ends_with(std::string_view{secret}.substr(0, length))) {
                text.replace(text.size() - length, length, redacted);
                break;
            }
        }
    }
    return text;
}

Failure refuse(Error error, std::string why) { return {error, {.explanation = std::move(why)}}; }

} // namespace sidecar::http
