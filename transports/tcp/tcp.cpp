#include <sidecar/transports/tcp.hpp>

#include "accepted_tcp.hpp"
#include "connector.hpp"
#include "faulty_stream.hpp"
#include "reader.hpp"
#include "text.hpp"
#include "tls/tls.hpp"
#include "uri.hpp"
#include "writer.hpp"

#include <sidecar/loop_event.hpp>

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace sidecar {

namespace asio = boost::asio;

namespace {

/// A peer that has ended its half and takes none of our bytes for this long takes no answer either.
constexpr Duration blocked_time = std::chrono::milliseconds{10};

constexpr std::string_view unix_prefix = "unix:";

bool is_unix(std::string_view host) { return host.starts_with(unix_prefix); }
std::string_view socket_path(std::string_view host) { return host.substr(unix_prefix.size()); }

bool is_strange(unsigned char c) { return c < 0x20 || c >= 0x7f; }

constexpr std::size_t max_shown_bytes = 48;

std::string describe_unfinished(std::span<const std::byte> bytes)
{
    if (bytes.empty())
        return {};
    return fmt::format(
        "in the middle of a message, {} bytes of it arrived: {}", bytes.size(),
        http::quote({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, max_shown_bytes));
}

/// Marks a cut TLS stream as truncated: nothing says that the peer had sent all.
std::string describe_end(error_code ec, std::span<const std::byte> unfinished)
{
    auto text = describe_unfinished(unfinished);
    if (stream::is_truncated(ec))
        return text.empty() ? "truncated" : "truncated " + text;
    return text;
}

} // namespace

namespace detail {

void throw_too_big(std::uint64_t bytes, std::size_t limit)
{
    throw Exception{
        Failure{Error::too_big,
                {.attempted = "read",
                 .explanation = fmt::format(
                     "a message of {} bytes; the option max_message_bytes is {}", bytes, limit)}}};
}

void throw_no_end(std::size_t bytes, std::size_t limit)
{
    throw Exception{Failure{
        Error::too_big,
        {.attempted = "read",
         .explanation =
             fmt::format("no end of a message in {} bytes; the option max_message_bytes is {}",
                         bytes, limit)}}};
}

Failure cannot_send(Error error, std::string why)
{
    return {error, {.attempted = "send", .explanation = std::move(why)}};
}

Failure bad_framing(std::string why)
{
    return {Error::bad_options, {.attempted = "frame messages", .explanation = std::move(why)}};
}

std::string tcp_endpoint(const std::string& host, std::uint16_t port)
{
    if (is_unix(host))
        return "unix:" + http::escape(socket_path(host));
    if (std::any_of(host.begin(), host.end(), is_strange)) // refused by validate(), but printed
        return fmt::format("\"{}\":{}", http::escape(host, max_shown_bytes), port);
    return host.find(':') == host.npos ? fmt::format("{}:{}", host, port)
                                       : fmt::format("[{}]:{}", host, port);
}

namespace {

stream::Target stream_target(const TcpTarget& target)
{
    stream::Target result{.host = target.host,
                          .port = target.port,
                          .socket = {.no_delay = target.no_delay,
                                     .tcp_keepalive = target.tcp_keepalive,
                                     .options = target.socket},
                          .proxy = target.proxy,
                          .tls = target.tls,
                          .without_tls = "is the option tls right for this port?",
                          .endpoint = tcp_endpoint(target.host, target.port),
                          .faults = target.faults,
                          .faults_from_environment = target.faults_from_environment};
    if (is_unix(target.host)) {
        result.unix_path = socket_path(target.host);
        result.host = "localhost"; // there is no better name for TLS to verify
    }
    return result;
}

Result<void> validate_address(const std::string& host, std::uint16_t port)
{
    const auto refuse = [](std::string why) {
        return http::refuse(Error::bad_address, std::move(why));
    };
    if (is_unix(host)) {
        auto valid = http::validate_socket_path(socket_path(host));
        return valid && port != 0 ? refuse("a Unix-domain socket has no port") : valid;
    }
    if (auto valid = http::validate_host(host, "host"); !valid)
        return valid;
    return port == 0 ? refuse("the port is 0") : Result<void>{};
}

} // namespace

Result<void> validate(const TcpTarget& target, std::size_t max_message_bytes)
{
    auto valid = validate_address(target.host, target.port);
    if (valid && max_message_bytes == 0)
        valid = http::refuse(Error::bad_options, "the message limit is 0 bytes");
    if (!valid)
        return valid.error().with_attempt("connect", tcp_endpoint(target.host, target.port));
    return stream::validate(stream_target(target));
}

/// Invariant: no read succeeds once `end` is set.
struct TcpConnection::Impl {
    /// The way to a server.
    struct Way {
        const TcpTarget target;
        stream::Connector connector;
    };

    [[nodiscard]] Failure read_failure(std::exception_ptr exception) const;
    Task<> dial(Context ctx);
    Task<> welcome(Context ctx);
    Task<> end_our_half(Context ctx);

    const std::string endpoint;               // sidecar side
    const TcpClose close;                     // sidecar side
    std::unique_ptr<Way> way{};               // sidecar side; null: accepted
    std::optional<AcceptedTcp> accepted{};    // sidecar side; empty: not accepted
    std::shared_ptr<stream::Stream> below{};  // sidecar side; null until connected
    stream::Reader reader{};                  // sidecar side
    std::shared_ptr<stream::Writer> writer{}; // sidecar side; null until connected
    std::optional<Failure> end{};             // sidecar side; why reads fail from now on
    LoopEvent over{};                         // sidecar side; close() waits for it
};

TcpConnection::TcpConnection(TcpTarget target, const Attempt& attempt)
    : impl_{new Impl{.endpoint = tcp_endpoint(target.host, target.port), .close = target.close}}
{
    impl_->way.reset(new Impl::Way{std::move(target), stream::Connector{attempt}});
}

TcpConnection::TcpConnection(AcceptedTcp& accepted)
    : impl_{new Impl{.endpoint = accepted.socket.peer, .close = accepted.close}}
{
    impl_->accepted = accepted;
    // The link's options keep `accepted`; the client counts until this connection ends
    accepted.socket.ticket.reset();
}

TcpConnection::~TcpConnection() = default;

Task<> TcpConnection::connect(Context ctx)
{
    if (impl_->way)
        co_await impl_->dial(ctx);
    else
        co_await impl_->welcome(ctx);
    impl_->writer = std::make_shared<stream::Writer>(impl_->below);
    if (const auto protocol = impl_->below->application_protocol(); !protocol.empty())
        ctx.negotiated(protocol);
}

Task<> TcpConnection::Impl::dial(Context ctx)
{
    auto connected = co_await way->connector.connect(ctx, stream_target(way->target));
    below = std::move(connected.stream);
    reader.push(connected.early);
}

Task<> TcpConnection::Impl::welcome(Context ctx)
{
    const auto& [socket, tls, how_to_close] = *accepted;
    if (const auto option = stream::option_of(socket.admission); !option.empty())
        throw Exception{
            Failure{Error::connect_failed,
                    {.attempted = "accept",
                     .endpoint = endpoint,
                     .explanation = fmt::format("the option {} allows no more", option)}}};
    below = socket.open(ctx);
    if (!tls)
        co_return;
    ctx.phase(Phase::securing, "with " + endpoint);
    below = co_await stream::secure_server(ctx, below, tls, endpoint);
}

Task<> TcpConnection::read(Context ctx, Sink& sink, stream::Decoder& decoder)
{
    std::exception_ptr exception;
    try {
        co_await impl_->reader.read(*impl_->below, sink, decoder);
    } catch (...) {
        exception = std::current_exception();
    }
    if (!exception)
        co_return;
    const auto failure = impl_->read_failure(std::move(exception));
    if (failure.cause() == asio::error::eof)
        co_await impl_->end_our_half(ctx);
    impl_->end = failure;
    impl_->over.set();
    throw Exception{*impl_->end};
}

/// Ends our half in answer to the peer's orderly end, after the message that is being written.
Task<> TcpConnection::Impl::end_our_half(Context ctx)
{
    writer->finish({});
    const auto until = deadline_after(ctx.now(), stream::Writer::end_answer_time);
    try {
        for (;;) {
            const auto taken = writer->taken_bytes();
            if (co_await writer->wait_written(
                    ctx, std::min(until, deadline_after(ctx.now(), blocked_time))))
                break;
            if (writer->taken_bytes() == taken || ctx.now() >= until)
                co_return;
        }
        (void)co_await writer->shut_down(ctx, until);
    } catch (const boost::system::system_error&) { // the stream's end explains more
    }
}

Failure TcpConnection::Impl::read_failure(std::exception_ptr exception) const
{
    try {
        std::rethrow_exception(exception);
    } catch (const Exception& e) {
        return e.failure().endpoint().empty()
                   ? e.failure().with_attempt(e.failure().attempted(), endpoint)
                   : e.failure();
    } catch (const boost::system::system_error& e) {
        if (e.code() == asio::error::operation_aborted)
            return {Error::cancelled,
                    {.attempted = "read", .endpoint = endpoint, .cause = e.code()}};
        if (auto refusal = stream::tls_refusal(e.code(), endpoint))
            return *refusal;
        return {Error::disconnected,
                {.attempted = "read",
                 .endpoint = endpoint,
                 .cause = e.code(),
                 .explanation = describe_end(e.code(), reader.unfinished())}};
    } catch (...) {
        return to_failure(std::current_exception(), Error::protocol_violation, "read", endpoint);
    }
}

Task<> TcpConnection::write(Batch batch, stream::Encoder& encoder)
{
    return impl_->writer->write(batch, encoder);
}

Task<> TcpConnection::close(Context ctx)
{
    impl_->writer->finish({});
    bool is_written = false;
    try {
        is_written = co_await impl_->writer->shut_down(ctx, ctx.deadline());
    } catch (const boost::system::system_error&) { // the stream's end explains more
    }
    if (impl_->close == TcpClose::at_once && is_written)
        co_return; // the link aborts the stream now
    while (!impl_->end && !impl_->below->is_aborted())
        co_await impl_->over.wait();
    if (!impl_->end)
        throw boost::system::system_error{asio::error::operation_aborted};
    if (impl_->end->cause() != asio::error::eof)
        throw Exception{*impl_->end};
}

ConnectionInfo TcpConnection::connection_info() const
{
    ConnectionInfo info{.peer = impl_->below->peer(), .tls = impl_->below->tls_info()};
    if (impl_->accepted)
        info.local = impl_->accepted->socket.local;
    return info;
}

std::string TcpConnection::failure_note() const
{
    if (impl_->way)
        return impl_->way->connector.failure_note();
    const auto& faults = impl_->accepted->socket.faults;
    return faults ? faults->note() : std::string{};
}

void TcpConnection::abort() noexcept
{
    if (impl_->way)
        impl_->way->connector.abort();
    if (impl_->below)
        impl_->below->abort();
    impl_->over.set();
}

} // namespace detail

Result<void> LengthPrefix::check(std::size_t) const
{
    if (width != 1 && width != 2 && width != 4 && width != 8)
        return detail::bad_framing(
            fmt::format("a length prefix of {} bytes; it must have 1, 2, 4 or 8", width));
    return {};
}

Result<void> LengthPrefix::check_send(std::span<const std::byte> payload) const
{
    if (width < 8 && payload.size() >> (8 * width) != 0)
        return detail::cannot_send(
            Error::too_big,
            fmt::format("{} bytes do not fit a length prefix of {}: raise LengthPrefix::width",
                        payload.size(), width));
    return {};
}

Result<void> Lines::check_send(std::span<const std::byte> payload) const
{
    if (delimiter_ == '\n' && !payload.empty() && payload.back() == std::byte{'\r'})
        return detail::cannot_send(
            Error::bad_message, "the line ends in 0x0d, which the receiver would take for a part "
                                "of the line's end");
    if (!payload.empty() && std::memchr(payload.data(), delimiter_, payload.size()))
        return detail::cannot_send(Error::bad_message,
                                   fmt::format("the line contains the delimiter, 0x{:02x}",
                                               static_cast<unsigned char>(delimiter_)));
    return {};
}

} // namespace sidecar
