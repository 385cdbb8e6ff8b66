// What can be said about the options before there is a socket.
#include "extensions.hpp"
#include "request.hpp"
#include "url.hpp"

#include <sidecar/transports/websocket.hpp>

namespace sidecar {

std::string WebSocket::endpoint(const Options& options) { return websocket::masked(options.url); }

Result<void> WebSocket::check(const Options& options)
{
    if (const auto url = websocket::parse_url(options.url); !url)
        return url.error();
    if (auto why = options.compression ? websocket::judge_compression(*options.compression) : "";
        !why.empty())
        return Failure{Error::bad_options,
                       {.attempted = "offer compression",
                        .endpoint = endpoint(options),
                        .explanation = std::move(why)}};
    return websocket::check_request(options);
}

} // namespace sidecar
