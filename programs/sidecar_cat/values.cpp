#include "values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace sidecar_cat {
namespace {

constexpr auto npos = std::string_view::npos;
constexpr std::size_t most_bytes = std::size_t{1} << 30;
constexpr double most_seconds = 1e8;

/// The whole text as a number; empty: it is none, or too large for T.
template <class T>
std::optional<T> to_number(std::string_view text)
{
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

std::string_view trimmed(std::string_view text)
{
    constexpr std::string_view blank = " \t\r\n";
    const auto begin = text.find_first_not_of(blank);
    if (begin == npos)
        return {};
    return text.substr(begin, text.find_last_not_of(blank) - begin + 1);
}

/// Letters, digits and what else a token may have (RFC 9110 section 5.6.2).
bool is_token(std::string_view text)
{
    for (const char c : text) {
        const bool is_alphanumeric =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_alphanumeric && std::string_view{"!#$%&'*+-.^_`|~"}.find(c) == npos)
            return false;
    }
    return !text.empty();
}

bool has_control(std::string_view text)
{
    for (const char c : text)
        if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f)
            return true;
    return false;
}

Parsed<HeaderField> parse_field(std::string_view line)
{
    const auto colon = line.find(':');
    const auto name = trimmed(line.substr(0, colon));
    if (colon == npos || !is_token(name) || line.substr(0, colon) != name)
        return because("a header is written 'Name: value'");
    const auto value = trimmed(line.substr(colon + 1));
    if (has_control(value))
        return because(fmt::format("the value of the header '{}' has control characters", name));
    return HeaderField{name, value};
}

/// The text that stands for `given`, after @file and env:NAME. May hold secrets.
Parsed<std::string> resolve_secret(std::string_view given, const SecretSources& sources)
{
    if (given.starts_with('@')) {
        const std::string path{given.substr(1)};
        auto text = sources.file(path);
        if (!text)
            return because(fmt::format("the file {} cannot be read", path));
        return std::string{trimmed(*text)};
    }
    if (given.starts_with("env:")) {
        const std::string name{given.substr(4)};
        auto text = sources.environment(name);
        if (!text)
            return because(fmt::format("the environment has no {}", name));
        return std::move(*text);
    }
    return std::string{given};
}

} // namespace

Parsed<std::uint64_t> parse_count(std::string_view text)
{
    const auto number = to_number<std::uint64_t>(text);
    if (!number || *number == 0)
        return because("it must be a whole number from 1 on");
    return *number;
}

Parsed<std::size_t> parse_size(std::string_view text)
{
    const Wrong wrong =
        because("it must be a number of bytes from 1 to 1G; k, M and G count in steps of "
                "1024");
    unsigned shift = 0;
    if (!text.empty()) {
        switch (text.back()) {
        case 'k':
        case 'K': shift = 10; break;
        case 'm':
        case 'M': shift = 20; break;
        case 'g':
        case 'G': shift = 30; break;
        default: break;
        }
    }
    if (shift != 0)
        text.remove_suffix(1);
    const auto number = to_number<std::size_t>(text);
    if (!number || *number == 0 || *number > most_bytes >> shift)
        return wrong;
    return *number << shift;
}

Parsed<sidecar::Duration> parse_seconds(std::string_view text)
{
    const Wrong wrong = because("it must be a number of seconds, such as 10 or 0.5");
    if (text.find_first_not_of("0123456789.") != npos) // neither inf, nan nor an exponent
        return wrong;
    const auto number = to_number<double>(text);
    if (!number || *number > most_seconds)
        return wrong;
    return sidecar::Duration{std::llround(*number * 1e9)};
}

Parsed<FramingChoice> parse_framing(std::string_view text)
{
    using Kind = FramingChoice::Kind;
    if (text == "lines")
        return FramingChoice{Kind::lines, 0};
    if (text == "raw")
        return FramingChoice{Kind::raw, 0};
    for (const std::size_t width : {1, 2, 4, 8})
        if (text == fmt::format("length{}", width))
            return FramingChoice{Kind::length_prefix, width};
    constexpr std::string_view fixed = "fixed:";
    if (text.starts_with(fixed)) {
        const auto size = parse_size(text.substr(fixed.size()));
        if (!size)
            return because("of the N in fixed:N: " + size.error().why());
        return FramingChoice{Kind::fixed_size, *size};
    }
    return because("it must be lines, raw, length1, length2, length4, length8 or fixed:N");
}

Parsed<BinaryFormat> parse_binary(std::string_view text)
{
    if (text == "hex")
        return BinaryFormat::hex;
    if (text == "base64")
        return BinaryFormat::base64;
    if (text == "raw")
        return BinaryFormat::raw;
    return because("it must be hex, base64 or raw");
}

Parsed<std::vector<HeaderField>> parse_header(std::string_view text, const SecretSources& sources)
{
    if (!text.starts_with('@')) {
        auto field = parse_field(text);
        if (!field)
            return field.error();
        return std::vector<HeaderField>{std::move(*field)};
    }
    auto lines = resolve_secret(text, sources);
    if (!lines)
        return lines.error();
    std::vector<HeaderField> fields;
    std::string_view rest = *lines;
    while (!rest.empty()) {
        const auto line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(rest.size(), line.size() + 1));
        if (trimmed(line).empty())
            continue;
        auto field = parse_field(line.ends_with('\r') ? line.substr(0, line.size() - 1) : line);
        if (!field)
            return field.error();
        fields.push_back(std::move(*field));
    }
    return fields;
}

Parsed<Credentials> parse_credentials(std::string_view text, const SecretSources& sources)
{
    auto secret = resolve_secret(text, sources);
    if (!secret)
        return secret.error();
    if (has_control(*secret))
        return because("what authorizes has control characters");
    constexpr std::string_view bearer = "bearer:";
    if (secret->starts_with(bearer)) {
        if (secret->size() == bearer.size())
            return because("there is no token behind bearer:");
        return Credentials{.bearer = secret->substr(bearer.size())};
    }
    const auto colon = secret->find(':');
    if (colon == npos)
        return because("it must be user:password or bearer:token, or @file or env:NAME that hold "
                       "one of them");
    return Credentials{.user = secret->substr(0, colon), .password = secret->substr(colon + 1)};
}

Parsed<std::string> parse_proxy(std::string_view text, const SecretSources& sources)
{
    if (text == "env")
        return std::string{text};
    Parsed<std::string> url = std::string{text};
    if (text.starts_with('@'))
        url = resolve_secret(text, sources);
    if (url && url->empty())
        return because("it must be http://host:port, env, or @file that holds a URL");
    return url;
}

Parsed<std::vector<std::string>> append_names(std::vector<std::string> names, std::string_view text)
{
    while (true) {
        const auto comma = text.find(',');
        const auto name = trimmed(text.substr(0, comma));
        if (!is_token(name))
            return because("a name has letters, digits and !#$%&'*+-.^_`|~ only");
        names.emplace_back(name);
        if (comma == npos)
            return names;
        text.remove_prefix(comma + 1);
    }
}

Parsed<unsigned> parse_redirects(std::string_view text)
{
    const auto number = to_number<unsigned>(text);
    if (!number || *number > 100)
        return because("it must be a whole number from 0 to 100");
    return *number;
}

bool is_authorization(std::string_view name)
{
    constexpr std::string_view expected = "authorization";
    return std::equal(name.begin(), name.end(), expected.begin(), expected.end(),
                      [](char a, char b) { return (a | 0x20) == b; });
}

} // namespace sidecar_cat
