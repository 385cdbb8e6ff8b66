#include "make_feed.hpp"

#include "fixed_blocks.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <algorithm>
#include <filesystem>
#include <utility>

namespace sidecar_cat {
namespace {

sidecar::Options library_options(const ConnectionSettings& settings, sidecar::LogHook log)
{
    sidecar::Options options;
    options.inbox = {.bytes = std::max(options.inbox.bytes, 4 * settings.max_message_bytes)};
    options.outbox = {.bytes = std::max(options.outbox.bytes, 2 * settings.max_message_bytes)};
    options.log = std::move(log);
    if (settings.target.kind == Target::Kind::websocket) {
        auto& liveness = options.link.liveness.emplace();
        liveness.interval = liveness.timeout = settings.heartbeat; // zero: never
    }
    if (settings.reconnects)
        options.link.reconnect = sidecar::Reconnect{.queued = sidecar::QueuedSends::keep};
    return options;
}

sidecar::TlsOptions tls_options(const TlsSettings& settings)
{
    sidecar::TlsOptions options;
    std::error_code ignored;
    if (std::filesystem::is_directory(settings.ca, ignored))
        options.ca_directory = settings.ca;
    else
        options.ca_file = settings.ca;
    options.certificate_file = settings.certificate;
    options.key_file = settings.key;
    options.insecure_skip_verification = settings.is_insecure;
    return options;
}

sidecar::ProxyOptions proxy_options(const std::string& proxy)
{
    if (proxy == "env")
        return {.url = {}, .from_environment = true};
    return {.url = proxy};
}

sidecar::WebSocket::Options websocket_options(const ConnectionSettings& settings)
{
    const auto& handshake = settings.handshake;
    sidecar::WebSocket::Options options;
    options.url = settings.target.url;
    options.max_message_bytes = settings.max_message_bytes;
    options.headers = handshake.headers;
    options.origin = handshake.origin;
    options.max_redirects = handshake.max_redirects;
    if (const auto& credentials = handshake.credentials; credentials && credentials->bearer.empty())
        options.basic_auth = {.user = credentials->user, .password = credentials->password};
    else if (credentials)
        options.bearer = credentials->bearer;
    options.subprotocols = handshake.subprotocols;
    if (handshake.is_compressed)
        options.compression = sidecar::CompressionOptions{};
    options.proxy = proxy_options(settings.proxy);
    options.tls = tls_options(settings.tls);
    return options;
}

template <class Framing>
MadeFeed make_tcp(const ConnectionSettings& settings, Framing framing, sidecar::LogHook log)
{
    using Tcp = sidecar::Tcp<Framing>;
    typename Tcp::Options options;
    const auto& target = settings.target;
    options.host = target.kind == Target::Kind::unix_socket ? "unix:" + target.path : target.host;
    options.port = target.port;
    options.framing = framing;
    options.max_message_bytes = settings.max_message_bytes;
    options.proxy = proxy_options(settings.proxy);
    if (target.is_secure)
        options.tls = tls_options(settings.tls);
    auto endpoint = Tcp::endpoint(options);
    return {std::make_unique<sidecar::Sidecar<Tcp>>(std::move(options),
                                                    library_options(settings, std::move(log))),
            std::move(endpoint)};
}

} // namespace

MadeFeed make_feed(const ConnectionSettings& settings, sidecar::LogHook log)
{
    if (settings.target.kind == Target::Kind::websocket) {
        auto options = websocket_options(settings);
        auto endpoint = sidecar::WebSocket::endpoint(options);
        return {std::make_unique<sidecar::Sidecar<sidecar::WebSocket>>(
                    std::move(options), library_options(settings, std::move(log))),
                std::move(endpoint)};
    }
    const auto size = settings.framing.size;
    switch (settings.framing.kind) {
    case FramingChoice::Kind::raw: return make_tcp(settings, sidecar::Raw{}, std::move(log));
    case FramingChoice::Kind::length_prefix:
        return make_tcp(settings, sidecar::LengthPrefix{.width = static_cast<unsigned>(size)},
                        std::move(log));
    case FramingChoice::Kind::fixed_size:
        return make_tcp(settings, FixedBlocks{size}, std::move(log));
    case FramingChoice::Kind::lines: break;
    }
    return make_tcp(settings, sidecar::Lines{}, std::move(log));
}

} // namespace sidecar_cat
