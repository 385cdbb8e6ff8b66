#include "authorization.hpp"

#include "text.hpp"
#include "uri.hpp"

#include <boost/beast/core/detail/base64.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace sidecar::http {
namespace {

bool is_control(char c) { return (c >= 0 && c < 0x20) || c == 0x7f; }

} // namespace

std::string base64(std::string_view bytes)
{
    namespace base64 = boost::beast::detail::base64;
    std::string text(base64::encoded_size(bytes.size()), '=');
    (void)base64::encode(text.data(), bytes.data(), bytes.size());
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
