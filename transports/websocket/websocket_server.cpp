#include <sidecar/transports/websocket_server.hpp>

#include "connection.hpp"
#include "faulty_stream.hpp"
#include "server_handshake.hpp"
#include "socket_acceptor.hpp"
#include "text.hpp"
#include "tls/tls.hpp"
#include "uri.hpp"

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <span>
#include <utility>

namespace sidecar {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

stream::ListenTarget target_of(const WebSocket::Acceptor::Options& options)
{
    auto target = stream::listen_target(options);
    target.endpoint = WebSocket::Acceptor::endpoint(options);
    return target;
}

/// The answer to a connection that a limit refuses.
websocket::HttpAnswer refusal_of(stream::Admission admission)
{
    switch (admission) {
    case stream::Admission::too_fast:
        return websocket::unavailable(1s, "too many connections at once");
    case stream::Admission::too_many_of_address:
        return websocket::unavailable(5s, "there are too many clients of this address");
    default: return websocket::unavailable(5s, "there are too many clients");
    }
}

/// Whether this is the end of a cancelled coroutine.
bool is_cancellation(const std::exception_ptr& exception)
{
    try {
        std::rethrow_exception(exception);
    } catch (const boost::system::system_error& e) {
        return e.code() == asio::error::operation_aborted;
    } catch (...) {
        return false;
    }
}

} // namespace

/// A connection on its way from the acceptor to its client, which takes the socket.
class WebSocket::Acceptor::Client::Accepted {
public:
    std::shared_ptr<const WebSocket::Acceptor::Options> options; // both: constant
    stream::TlsServerContextPtr tls;                             // sidecar side; null: no TLS
    stream::AcceptedSocket socket; // sidecar side, except its addresses: both, constant
};

// --- the client

/// One client: the server's handshake judges its request, the Connection does the rest. Side: the
/// loop's thread.
class WebSocket::Acceptor::Client::Impl {
public:
    explicit Impl(std::shared_ptr<Accepted> accepted)
        : accepted_{std::move(accepted)},
          connection_{websocket::Role::server, accepted_->options->max_message_bytes,
                      accepted_->socket.peer}
    {
        request_->peer = accepted_->socket.peer;
        request_->local = accepted_->socket.local;
        request_->http_status = http::switching_protocols;
    }

    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    /// No longer counts the client: the link keeps its options for longer.
    ~Impl() { accepted_->socket.ticket.reset(); }

    Task<> connect(Context ctx);
    void abort() noexcept
    {
        if (stream_)
            stream_->abort();
        connection_.on_abort();
    }
    [[nodiscard]] websocket::Connection& connection() noexcept { return connection_; }
    [[nodiscard]] ConnectionInfo connection_info()
    {
        const auto request = std::move(request_);
        return std::move(*request);
    }
    [[nodiscard]] std::string failure_note() const
    {
        const auto& faults = accepted_->socket.faults;
        return faults ? faults->note() : std::string{};
    }

private:
    Task<> secure(Context ctx);
    Task<std::span<const std::byte>> read_head(http::HeadReader& reader, std::span<std::byte> room);
    Task<websocket::Decision> decide(Context ctx, const http::HeadReader& reader);
    Task<> finish(Context ctx, websocket::HttpAnswer answer);
    [[nodiscard]] Failure failure(Error error, FailureDetails details) const;

    const std::shared_ptr<Accepted> accepted_; // sidecar side
    std::shared_ptr<stream::Stream> stream_;   // sidecar side; null until connect()
    websocket::Connection connection_;         // sidecar side
    std::unique_ptr<Request> request_ =
        std::make_unique<Request>(); // sidecar side; while connecting
};

Failure WebSocket::Acceptor::Client::Impl::failure(Error error, FailureDetails details) const
{
    details.attempted = "open a WebSocket";
    details.endpoint = request_->peer;
    return {error, std::move(details)};
}

Task<> WebSocket::Acceptor::Client::Impl::connect(Context ctx)
{
    const auto admission = accepted_->socket.admission;
    if (admission == stream::Admission::too_fast && accepted_->tls)
        throw Exception{failure(Error::handshake_refused, // a handshake would cost too much
                                {.explanation = "too many connections at once"})};
    stream_ = accepted_->socket.open(ctx);
    if (accepted_->tls)
        co_await secure(ctx);
    if (admission != stream::Admission::admitted)
        co_await finish(ctx, refusal_of(admission));
    ctx.phase(Phase::handshaking, "of WebSocket with " + request_->peer);
    http::HeadReader reader{accepted_->options->max_head_bytes, http::HeadReader::Kind::request};
    // In this frame, which Asio then does not reuse for a coroutine that waits for long
    std::array<std::byte, 4096> room;
    const auto early = co_await read_head(reader, room);
    auto decision = co_await decide(ctx, reader);
    if (!decision.opening)
        co_await finish(ctx, std::move(decision.answer));
    const auto& opening = *decision.opening;
    if (!opening.subprotocol.empty())
        ctx.negotiated(opening.subprotocol);
    std::optional<websocket::Deflation> deflation;
    if (opening.deflation)
        deflation = opening.deflation->deflation;
    connection_.open(stream_, early, deflation);
    connection_.send_head(websocket::bytes_of(opening));
}

Task<> WebSocket::Acceptor::Client::Impl::secure(Context ctx)
{
    ctx.phase(Phase::securing, "with " + request_->peer);
    stream_ = co_await stream::secure_server(ctx, stream_, accepted_->tls, request_->peer);
    request_->tls = stream_->tls_info();
}

/// Returns the bytes behind the request's head, in `room`.
Task<std::span<const std::byte>> WebSocket::Acceptor::Client::Impl::read_head(
    http::HeadReader& reader, std::span<std::byte> room)
{
    std::span<const std::byte> rest;
    while (reader.state() == http::HeadReader::State::incomplete) {
        error_code ec;
        const stream::ReadBuffers into{asio::buffer(room.data(), room.size())};
        rest = room.first(co_await stream_->read_some(into, ec));
        if (stream_->is_aborted())
            ec = asio::error::operation_aborted;
        if (ec == asio::error::operation_aborted)
            throw boost::system::system_error{ec};
        if (ec)
            throw Exception{failure(
                Error::connect_failed,
                {.cause = ec == asio::error::eof ? error_code{} : ec,
                 .explanation = fmt::format("the client ended the connection {} its request",
                                            reader.has_begun() ? "in the middle of" : "before")})};
        rest = rest.subspan(reader.take({reinterpret_cast<const char*>(rest.data()), rest.size()}));
    }
    co_return rest;
}

/// Code of the application may fail here: then the answer is 500.
Task<websocket::Decision> WebSocket::Acceptor::Client::Impl::decide(Context ctx,
                                                                    const http::HeadReader& reader)
{
    const auto& options = *accepted_->options;
    websocket::Decision decision;
    if (reader.state() != http::HeadReader::State::complete) {
        decision.answer = websocket::refuse_head(reader, options);
        co_return decision;
    }
    std::exception_ptr exception;
    try {
        decision = websocket::decide(reader.parse(), *request_, options, accepted_->tls != nullptr);
        if (decision.opening && options.on_request) {
            ctx.waiting_for("on_request");
            const auto answer = co_await options.on_request(ctx, *request_);
            websocket::apply(answer, *request_, decision);
        }
    } catch (...) {
        exception = std::current_exception();
    }
    if (!exception)
        co_return decision;
    if (is_cancellation(exception))
        std::rethrow_exception(exception);
    const auto why =
        to_failure(exception, Error::callback_failed, "decide about a request", request_->peer);
    ctx.log(LogLevel::error, why.message());
    decision = {.answer = {.status = 500, .why = "the application's code failed"}};
    co_return decision;
}

/// Answers and ends the connection; always throws.
Task<> WebSocket::Acceptor::Client::Impl::finish(Context ctx, websocket::HttpAnswer answer)
{
    const auto writer = std::make_shared<stream::Writer>(stream_);
    const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    const auto bytes = websocket::bytes_of(answer, now);
    writer->finish(std::as_bytes(std::span{bytes}));
    if (answer.why.empty()) // a page may be large
        (void)co_await writer->wait_written(ctx, ctx.deadline());
    co_await websocket::lingering_close(ctx, stream_, writer);
    stream_->abort();
    if (answer.why.empty())
        throw Exception{failure(Error::link_closed, {.explanation = "the client got a page"})};
    throw Exception{
        failure(Error::handshake_refused,
                {.explanation = fmt::format("the answer was {}: {}",
                                            websocket::status_text(answer.status), answer.why),
                 .http_status = static_cast<std::uint16_t>(answer.status)})};
}

WebSocket::Acceptor::Client::Client(const Options& options)
    : impl_{std::make_unique<Impl>(options.accepted)}
{
}
WebSocket::Acceptor::Client::~Client() = default;

std::string WebSocket::Acceptor::Client::endpoint(const Options& options)
{
    return options.accepted->socket.peer;
}

Result<void> WebSocket::Acceptor::Client::check_send(const Options& options, MessageKind kind,
                                                     std::span<const std::byte> payload)
{
    return websocket::check_text(kind, payload, [&] { return endpoint(options); });
}

Task<> WebSocket::Acceptor::Client::connect(Context ctx) { return impl_->connect(ctx); }
Task<> WebSocket::Acceptor::Client::read(Context ctx, Sink& sink)
{
    return impl_->connection().read(ctx, sink);
}
Task<> WebSocket::Acceptor::Client::write(Context, Batch batch)
{
    return impl_->connection().write(batch);
}
Task<> WebSocket::Acceptor::Client::ping(Context ctx, std::span<const std::byte> payload)
{
    return impl_->connection().ping(ctx, payload);
}
Task<> WebSocket::Acceptor::Client::close(Context, CloseReason reason)
{
    return impl_->connection().close(std::move(reason));
}
void WebSocket::Acceptor::Client::abort() noexcept { impl_->abort(); }
ConnectionInfo WebSocket::Acceptor::Client::connection_info() { return impl_->connection_info(); }
std::string WebSocket::Acceptor::Client::failure_note() const { return impl_->failure_note(); }

// --- the acceptor

/// Side: the loop's thread.
class WebSocket::Acceptor::Impl {
public:
    explicit Impl(const Options& given)
        : options{std::make_shared<const Options>(given)}, sockets{target_of(given)}
    {
    }

    const std::shared_ptr<const Options> options; // both: constant
    stream::SocketAcceptor sockets;               // sidecar side
    stream::TlsServerContextPtr tls;              // sidecar side; null: not bound yet, or no TLS
};

WebSocket::Acceptor::Acceptor(const Options& options) : impl_{std::make_unique<Impl>(options)} {}
WebSocket::Acceptor::~Acceptor() = default;

std::string WebSocket::Acceptor::endpoint(const Options& options)
{
    auto name = stream::listener_name(stream::listen_target(options));
    if (!options.activated.empty())
        return name;
    return fmt::format("{}{}{}", options.tls ? "wss" : "ws",
                       options.unix_path.empty() ? "://" : "+", name);
}

Result<void> WebSocket::Acceptor::check(const Options& options)
{
    const auto target = target_of(options);
    if (const auto valid = websocket::validate(options); !valid)
        return valid.error().with_attempt("listen", target.endpoint);
    if (auto valid = stream::validate(target); !valid || !options.tls)
        return valid;
    const auto prepared = stream::prepare_tls_server(*options.tls, target.endpoint);
    return prepared ? Result<void>{} : prepared.error();
}

Result<void> WebSocket::Acceptor::check_send(const Options& options, MessageKind kind,
                                             std::span<const std::byte> payload)
{
    return websocket::check_text(kind, payload, [&] { return endpoint(options); });
}

Task<> WebSocket::Acceptor::bind(Context ctx)
{
    if (impl_->options->tls)
        impl_->tls =
            stream::prepare_tls_server(*impl_->options->tls, endpoint(*impl_->options)).value();
    co_await impl_->sockets.bind(ctx);
}

Task<WebSocket::Acceptor::Client::Options> WebSocket::Acceptor::accept(Context ctx)
{
    auto accepted = std::make_shared<Client::Accepted>();
    accepted->options = impl_->options;
    accepted->tls = impl_->tls;
    accepted->socket = co_await impl_->sockets.accept(ctx);
    co_return Client::Options{.accepted = std::move(accepted),
                              .max_message_bytes = impl_->options->max_message_bytes};
}

void WebSocket::Acceptor::close() noexcept { impl_->sockets.close(); }

ConnectionInfo WebSocket::Acceptor::connection_info() const
{
    return {.local = impl_->sockets.local()};
}

WebSocket::Acceptor::OnRequest require_bearer(std::string token)
{
    using Acceptor = WebSocket::Acceptor;
    struct Check { // a coroutine's captures must outlive it; its parameters do
        static Task<Acceptor::RequestAnswer> run(std::shared_ptr<const std::string> token,
                                                 std::string given)
        {
            constexpr std::string_view scheme = "bearer ";
            const auto has_scheme = http::lower(given.substr(0, scheme.size())) == scheme;
            if (has_scheme && !token->empty()
                && websocket::equal_in_constant_time(given.substr(scheme.size()), *token))
                co_return Acceptor::RequestAnswer{};
            co_return Acceptor::RequestAnswer{
                .status = 401,
                .headers = {{"WWW-Authenticate",
                             has_scheme ? "Bearer error=\"invalid_token\"" : "Bearer"}}};
        }
    };
    return [token = std::make_shared<const std::string>(std::move(token))](
               Context, const Acceptor::Request& request) {
        return Check::run(token, std::string{request.header("Authorization")});
    };
}

} // namespace sidecar
