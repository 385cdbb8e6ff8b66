#include <sidecar/transports/tcp.hpp>

#include "connection.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <optional>

namespace sidecar {

namespace asio = boost::asio;

namespace detail {

void throw_too_big(std::uint64_t bytes, std::size_t limit)
{
    throw Exception{Failure{
        Error::too_big,
        {.attempted = "read",
         .explanation = fmt::format("a message of {} bytes, the limit is {}", bytes, limit)}}};
}

void throw_no_end(std::size_t bytes, std::size_t limit)
{
    throw Exception{
        Failure{Error::too_big,
                {.attempted = "read",
                 .explanation = fmt::format("no end of a message in {} bytes, the limit is {}",
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
    return host.find(':') == host.npos ? fmt::format("{}:{}", host, port)
                                       : fmt::format("[{}]:{}", host, port);
}

Result<void> check_tcp(const std::string& host, std::uint16_t port, std::size_t max_message_bytes)
{
    const auto refuse = [&](Error error, const char* why) -> Result<void> {
        return Failure{
            error,
            {.attempted = "connect", .endpoint = tcp_endpoint(host, port), .explanation = why}};
    };
    if (host.empty())
        return refuse(Error::bad_address, "there is no host");
    if (host.find_first_of("[]/ ") != host.npos)
        return refuse(
            Error::bad_address,
            "the host is a name or an address: no URL, and no brackets around an IPv6 address");
    if (port == 0)
        return refuse(Error::bad_address, "the port is 0");
    if (max_message_bytes == 0)
        return refuse(Error::bad_options, "the message limit is 0 bytes");
    return {};
}

Failure tcp_too_big(const std::string& endpoint, std::size_t bytes, std::size_t limit)
{
    return {Error::too_big,
            {.attempted = "send",
             .endpoint = endpoint,
             .explanation = fmt::format("{} bytes, the limit is {}", bytes, limit)}};
}

Failure with_endpoint(const Failure& failure, const std::string& endpoint)
{
    return {static_cast<Error>(failure.code().value()),
            {.attempted = failure.attempted(),
             .endpoint = endpoint,
             .cause = failure.cause(),
             .explanation = failure.explanation()}};
}

class TcpStream::Impl {
public:
    [[nodiscard]] std::string endpoint() const { return tcp_endpoint(target.host, target.port); }
    void end_reading(Failure why)
    {
        if (!end)
            end = std::move(why);
        over.set();
    }

    [[noreturn]] void fail_read(error_code ec, std::size_t come_bytes)
    {
        if (ec == asio::error::operation_aborted)
            throw boost::system::system_error{ec};
        FailureDetails details{.attempted = "read", .endpoint = endpoint(), .cause = ec};
        if (come_bytes != 0)
            details.explanation =
                fmt::format("in the middle of a message, {} bytes of it had come", come_bytes);
        end_reading({Error::disconnected, std::move(details)});
        throw Exception{*end};
    }

    TcpTarget target;
    stream::Connection connection;
    bool is_closing = false;
    bool is_aborted = false;
    std::optional<Failure> end; // why no read will succeed any more
    LoopEvent over;             // close() waits for it
};

TcpStream::TcpStream(TcpTarget target) : impl_{std::make_unique<Impl>()}
{
    impl_->target = std::move(target);
}
TcpStream::~TcpStream() = default;

Task<> TcpStream::connect(Context ctx)
{
    const auto& t = impl_->target;
    return impl_->connection.connect(ctx, t.host, t.port,
                                     {.no_delay = t.no_delay, .keep_alive = t.keep_alive},
                                     tcp_endpoint(t.host, t.port));
}

Task<std::size_t> TcpStream::fill(Sink& sink, std::size_t missing_bytes, std::size_t limit_bytes)
{
    auto& impl = *impl_;
    const auto have = impl.connection.unread().size();
    if (have > limit_bytes) {
        try {
            throw_no_end(have, limit_bytes);
        } catch (...) {
            fail_read(std::current_exception());
        }
    }
    error_code ec;
    auto got = impl.connection.receive(sink, missing_bytes, ec);
    if (got == 0 && !ec) {
        const auto room = impl.connection.prepare_wait();
        got = co_await impl.connection.read_some(room, ec);
        if (!ec)
            impl.connection.commit_fill(got);
    }
    if (ec)
        impl.fail_read(ec, have);
    co_return got;
}

Task<std::size_t> TcpStream::fill_into(std::span<std::byte> rest, std::size_t come_bytes)
{
    error_code ec;
    try {
        co_return co_await impl_->connection.fill_into(rest);
    } catch (const boost::system::system_error& e) {
        ec = e.code();
    }
    impl_->fail_read(ec, come_bytes);
}

std::size_t TcpStream::try_fill_into(std::span<std::byte> rest, std::size_t come_bytes)
{
    try {
        return impl_->connection.try_fill_into(rest);
    } catch (const boost::system::system_error& e) {
        impl_->fail_read(e.code(), come_bytes);
    }
}

const std::size_t TcpStream::batch_bytes = stream::Connection::batch_bytes;

std::span<const std::byte> TcpStream::unread() const noexcept { return impl_->connection.unread(); }
void TcpStream::consume(std::size_t bytes) { impl_->connection.consume(bytes); }
void TcpStream::fail_read(std::exception_ptr exception)
{
    auto failure =
        to_failure(std::move(exception), Error::protocol_violation, "read", impl_->endpoint());
    if (failure.endpoint().empty() && failure.code().category() == error_category())
        failure = with_endpoint(failure, impl_->endpoint());
    impl_->end_reading(failure);
    throw Exception{std::move(failure)};
}

Task<std::size_t> TcpStream::write_some(std::span<const std::byte> bytes)
{
    if (impl_->is_closing)
        throw boost::system::system_error{asio::error::operation_aborted};
    return impl_->connection.write_some(asio::buffer(bytes.data(), bytes.size()));
}

Task<> TcpStream::close()
{
    auto& impl = *impl_;
    impl.is_closing = true;
    impl.connection.shutdown_send();
    while (!impl.end && !impl.is_aborted)
        co_await impl.over.wait();
    if (!impl.end)
        throw boost::system::system_error{asio::error::operation_aborted};
    if (impl.end->cause() != asio::error::eof)
        throw Exception{*impl.end};
}

void TcpStream::abort() noexcept
{
    impl_->is_aborted = true;
    impl_->connection.abort();
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
            fmt::format("{} bytes do not fit a length prefix of {}", payload.size(), width));
    return {};
}

Result<void> Lines::check_send(std::span<const std::byte> payload) const
{
    if (!payload.empty() && std::memchr(payload.data(), delimiter_, payload.size()))
        return detail::cannot_send(Error::bad_message,
                                   fmt::format("the line contains the delimiter, 0x{:02x}",
                                               static_cast<unsigned char>(delimiter_)));
    return {};
}

} // namespace sidecar
