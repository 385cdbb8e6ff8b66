// What can be said about the options before there is a socket.
#include "extensions.hpp"
#include "request.hpp"
#include "target_of.hpp"
#include "url.hpp"
#include "utf8.hpp"

#include <sidecar/transports/websocket.hpp>

namespace sidecar {
namespace websocket {

stream::Target target_of(const Url& url, const WebSocket::Options& options)
{
    stream::Target target{.host = url.host,
                          .port = url.port,
                          .unix_path = url.unix_path,
                          .socket = {.no_delay = options.no_delay,
                                     .keep_alive = options.keep_alive,
                                     .options = options.socket},
                          .proxy = options.proxy,
                          .endpoint = masked(options.url)};
    if (url.is_secure)
        target.tls = options.tls;
    return target;
}

} // namespace websocket

std::string WebSocket::endpoint(const Options& options) { return websocket::masked(options.url); }

Result<void> WebSocket::check(const Options& options)
{
    const auto url = websocket::parse_url(options.url);
    if (!url)
        return url.error();
    if (auto why = options.compression ? websocket::judge_compression(*options.compression) : "";
        !why.empty())
        return Failure{Error::bad_options,
                       {.attempted = "offer compression",
                        .endpoint = endpoint(options),
                        .explanation = std::move(why)}};
    if (auto checked = stream::check(websocket::target_of(*url, options)); !checked)
        return checked;
    return websocket::check_request(options);
}

Result<void> WebSocket::check_send(const Options& options, MessageKind kind,
                                   std::span<const std::byte> payload)
{
    if (kind == MessageKind::text && !websocket::is_utf8(payload))
        return Failure{Error::bad_message,
                       {.attempted = "send",
                        .endpoint = endpoint(options),
                        .explanation = "the text is not UTF-8; send it as bytes"}};
    return {};
}

} // namespace sidecar
