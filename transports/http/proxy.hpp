// Which proxy a connection goes through, from options and environment. Without I/O.
#pragma once

#include <sidecar/error.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar::http {

/// A proxy's URL taken apart.
struct Proxy {
    std::string host; ///< as the resolver wants it
    std::uint16_t port = 80;
    bool is_secure = false; ///< TLS to the proxy
    std::string user{};     ///< both percent-decoded
    std::string password{};
    bool has_user = false;
    std::string shown{}; ///< its URL for texts, without secrets
};

/// Errors: bad_options; its explanation has nothing in it that masked() would hide. `origin` is what
/// the text came from, for that explanation: "proxy.url", "the variable http_proxy".
[[nodiscard]] Result<Proxy> parse_proxy(std::string_view text, std::string_view origin);

/// What the environment says of proxies; empty: nothing.
struct ProxyEnvironment {
    /// A variable and the name under which it was found.
    struct Variable {
        std::string name{};
        std::string value{};
    };
    Variable http{};
    Variable https{};
    Variable all{};
    std::string none{}; ///< no_proxy

    /// Reads it with `get(name)`, which is getenv but for tests. Not for signal handlers.
    [[nodiscard]] static ProxyEnvironment read(const char* (*get)(const char*));
};

/// The variable that names the proxy for this destination; its value is empty if there is none, or
/// if no_proxy exempts the host.
[[nodiscard]] ProxyEnvironment::Variable proxy_for(const ProxyEnvironment& environment,
                                                   std::string_view host, std::uint16_t port,
                                                   bool is_secure);

} // namespace sidecar::http
