#include <sidecar/transports/tcp_server.hpp>

#include "accepted_tcp.hpp"
#include "text.hpp"

#include <utility>

namespace sidecar::detail {

namespace {

stream::ListenTarget with_name(stream::ListenTarget target)
{
    target.endpoint = stream::listener_name(target);
    return target;
}

} // namespace

std::string tcp_listener_endpoint(const stream::ListenTarget& target)
{
    return stream::listener_name(target);
}

Result<void> validate(const stream::ListenTarget& target,
                      const std::optional<TlsServerOptions>& tls, std::size_t max_message_bytes)
{
    const auto named = with_name(target);
    if (max_message_bytes == 0)
        return http::refuse(Error::bad_options, "the message limit is 0 bytes")
            .with_attempt("listen", named.endpoint);
    if (auto valid = stream::validate(named); !valid || !tls)
        return valid;
    const auto prepared = stream::prepare_tls_server(*tls, named.endpoint);
    return prepared ? Result<void>{} : prepared.error();
}

std::string tcp_peer(const AcceptedTcp& accepted) { return accepted.socket.peer; }

struct TcpListener::Impl {
    const std::string endpoint;                // sidecar side
    const std::optional<TlsServerOptions> tls; // sidecar side
    const TcpClose close;                      // sidecar side
    stream::SocketAcceptor acceptor;           // sidecar side
    stream::TlsServerContextPtr context{};     // sidecar side; null: not bound yet, or no TLS
};

TcpListener::TcpListener(stream::ListenTarget target, std::optional<TlsServerOptions> tls,
                         TcpClose close)
    : impl_{new Impl{.endpoint = stream::listener_name(target),
                     .tls = std::move(tls),
                     .close = close,
                     .acceptor = stream::SocketAcceptor{with_name(target)}}}
{
}

TcpListener::~TcpListener() = default;

Task<> TcpListener::bind(Context ctx)
{
    if (impl_->tls)
        impl_->context = stream::prepare_tls_server(*impl_->tls, impl_->endpoint).value();
    co_await impl_->acceptor.bind(ctx);
}

Task<std::shared_ptr<AcceptedTcp>> TcpListener::accept(Context ctx)
{
    auto socket = co_await impl_->acceptor.accept(ctx);
    co_return std::shared_ptr<AcceptedTcp>{
        new AcceptedTcp{std::move(socket), impl_->context, impl_->close}};
}

void TcpListener::close() noexcept { impl_->acceptor.close(); }

std::string TcpListener::local() const { return impl_->acceptor.local(); }

} // namespace sidecar::detail
