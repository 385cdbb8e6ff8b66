#include <sidecar/transports/websocket.hpp>

#include "connection.hpp"
#include "connector.hpp"
#include "handshake.hpp"
#include "options.hpp"
#include "redirect.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>

namespace sidecar {

namespace {

Failure bad_options(const WebSocket::Options& options, const char* attempted, std::string why)
{
    return {Error::bad_options,
            {.attempted = attempted,
             .endpoint = WebSocket::endpoint(options),
             .explanation = std::move(why)}};
}

} // namespace

/// One connection, owned by its WebSocket. The Connector connects, the Handshake judges the answer,
/// the Connection does the rest. Side: the loop's thread.
class WebSocket::Impl final {
public:
    Impl(const Options& options, const Attempt& attempt)
        : options_{std::make_unique<const Options>(options)},
          connector_{attempt},
          connection_{websocket::Role::client, options.max_message_bytes,
                      websocket::redact_url(options.url)}
    {
    }

    Task<> connect(Context ctx);
    void abort() noexcept;
    [[nodiscard]] websocket::Connection& connection() noexcept { return connection_; }
    std::string failure_note() const { return connector_.failure_note(); }
    ConnectionInfo connection_info()
    {
        return {.peer = stream_->peer(),
                .http_status = http::switching_protocols,
                .headers = std::exchange(headers_, {}),
                .tls = stream_->tls_info()};
    }

private:
    Task<Result<void>> connect_to(Context ctx, const websocket::Redirects& redirects);

    std::unique_ptr<const Options> options_; // sidecar side; null once connected, to save a KiB
    stream::Connector connector_;            // sidecar side
    std::shared_ptr<stream::Stream> stream_; // sidecar side; null until connected
    websocket::Connection connection_;       // sidecar side
    std::vector<std::pair<std::string, std::string>> headers_; // sidecar side; of the answer
};

Task<> WebSocket::Impl::connect(Context ctx)
{
    websocket::Redirects redirects{*options_};
    for (;;) {
        const auto connected = co_await connect_to(ctx, redirects);
        if (connected)
            break;
        if (!redirects.follow(connected.error()).value())
            throw Exception{connected.error()};
        std::exchange(stream_, nullptr)->abort();
        ctx.log(LogLevel::info, fmt::format("{} redirects to {}", connected.error().endpoint(),
                                            redirects.endpoint()));
    }
    options_.reset();
}

/// Returns the handshake's refusal; throws all other failures. Lifetime: `redirects` outlives it.
Task<Result<void>> WebSocket::Impl::connect_to(Context ctx, const websocket::Redirects& redirects)
{
    const auto& options = redirects.options();
    const auto& endpoint = redirects.endpoint();
    const auto url = websocket::parse_url(options.url).value();
    auto target = websocket::target_of(url, options, endpoint);
    auto connected = co_await connector_.connect(ctx, std::move(target));
    stream_ = std::move(connected.stream);
    ctx.phase(Phase::handshaking, "of WebSocket with " + stream_->peer());
    websocket::Handshake handshake{url, options, redirects.secrets(), endpoint};
    const auto frames = co_await run_exchange(*stream_, handshake, std::move(connected.early),
                                              connection_.endpoint());
    if (!frames)
        co_return frames.error();
    if (!handshake.subprotocol().empty())
        ctx.negotiated(handshake.subprotocol());
    headers_ = handshake.take_headers();
    connection_.open(stream_, *frames, handshake.deflation(), redirects.secrets());
    co_return Result<void>{};
}

void WebSocket::Impl::abort() noexcept
{
    connector_.abort();
    if (stream_)
        stream_->abort();
    connection_.on_abort();
}

// --- the transport

std::string WebSocket::endpoint(const Options& options)
{
    return websocket::redact_url(options.url);
}

Result<void> WebSocket::check(const Options& options)
{
    const auto url = websocket::parse_url(options.url);
    if (!url)
        return url.error();
    if (options.compression)
        if (auto valid = websocket::validate(*options.compression); !valid)
            return bad_options(options, "offer compression", valid.error().explanation());
    if (!url->is_secure && options.max_redirects == 0 && options.tls != TlsOptions{})
        return bad_options(options, "connect",
                           "the option tls has no meaning for ws://; use wss://");
    if (auto valid = stream::validate(websocket::target_of(*url, options, endpoint(options)));
        !valid)
        return valid;
    return websocket::validate_request(options);
}

Result<void> WebSocket::check_send(const Options& options, MessageKind kind,
                                   std::span<const std::byte> payload)
{
    return websocket::check_text(kind, payload, [&] { return endpoint(options); });
}

WebSocket::WebSocket(const Options& options, const Attempt& attempt)
    : impl_{std::make_unique<Impl>(options, attempt)}
{
}
WebSocket::~WebSocket() = default;

Task<> WebSocket::connect(Context ctx) { return impl_->connect(ctx); }
Task<> WebSocket::read(Context ctx, Sink& sink) { return impl_->connection().read(ctx, sink); }
Task<> WebSocket::write(Context, Batch batch) { return impl_->connection().write(batch); }
Task<> WebSocket::ping(Context ctx, std::span<const std::byte> payload)
{
    return impl_->connection().ping(ctx, payload);
}
Task<> WebSocket::close(Context, CloseReason reason)
{
    return impl_->connection().close(std::move(reason));
}
void WebSocket::abort() noexcept { impl_->abort(); }
ConnectionInfo WebSocket::connection_info() { return impl_->connection_info(); }
std::string WebSocket::failure_note() const { return impl_->failure_note(); }

} // namespace sidecar
