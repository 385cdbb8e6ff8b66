#include "authorization.hpp"

#include "text.hpp"
#include "uri.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace sidecar::http {
namespace {

bool is_control(char c) { return (c >= 0 && c < 0x20) || c == 0x7f; }

} // namespace

std::string base64(std::string_view bytes)
{
    constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
        const auto group = bytes.substr(at, 3);
        std::uint32_t bits = 0;
        for (std::size_t i = 0; i < 3; ++i)
            bits = bits << 8 | (i < group.size() ? static_cast<unsigned char>(group[i]) : 0u);
        for (std::size_t i = 0; i < 4; ++i)
            text += i <= group.size() ? digits[bits >> (18 - 6 * i) & 63] : '=';
    }
    return text;
}

std::string basic_authorization(std::string_view user, std::string_view password)
{
    return "Basic " + base64(std::string{user}.append(":").append(password));
}

Result<void> validate_basic(std::string_view user, std::string_view password)
{
    if (user.find(':') != npos)
        return refuse(Error::bad_options,
                      "the user of basic authorization has a ':' in it, behind which a receiver "
                      "would take the rest for the password (RFC 7617 section 2)");
    for (const auto& [name, text] : {std::pair{"user", user}, std::pair{"password", password}})
        if (std::any_of(text.begin(), text.end(), is_control))
            return refuse(
                Error::bad_options,
                fmt::format("the {} of basic authorization has a control character in it", name));
    return {};
}

Result<void> validate_bearer(std::string_view token)
{
    while (token.ends_with('='))
        token.remove_suffix(1);
    if (!token.empty() && std::all_of(token.begin(), token.end(), [](char c) {
            return is_unreserved(c) || c == '+' || c == '/';
        }))
        return {};
    return refuse(Error::bad_options,
                  "the bearer token has a character that no token has (RFC 6750 section 2.1)");
}

} // namespace sidecar::http
