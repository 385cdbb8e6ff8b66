#include "credentials.hpp"

#include "request.hpp"
#include "uri.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace sidecar::websocket {
namespace {

void add_query(std::string_view url, http::Secrets& to)
{
    (void)http::cut(url, "?");
    while (!url.empty()) {
        url.remove_prefix(1);
        auto value = http::cut(url, "&");
        const auto name = http::cut(value, "=");
        if (value.empty() || !is_credential(name))
            continue;
        value.remove_prefix(1);
        to.add(value);
        to.add(http::percent_decoded(value));
    }
}

} // namespace

bool is_credential(std::string_view name)
{
    constexpr std::array<std::string_view, 8> words{"auth",     "cookie", "token",      "secret",
                                                    "password", "key",    "credential", "session"};
    const auto text = http::lower(name);
    return std::any_of(words.begin(), words.end(),
                       [&](std::string_view word) { return text.find(word) != std::string::npos; });
}

http::Secrets credentials_of(const WebSocket::Options& options)
{
    http::Secrets secrets;
    if (const auto value = authorization(options); !value.empty())
        secrets.add_field(value);
    if (options.basic_auth)
        secrets.add(options.basic_auth->password);
    for (const auto& [name, value] : options.headers)
        if (is_credential(name))
            secrets.add_field(value);
    add_query(options.url, secrets);
    return secrets;
}

} // namespace sidecar::websocket
