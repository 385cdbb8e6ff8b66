#include <sidecar/transports/tcp.hpp>

#include "connection.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

namespace sidecar {

namespace asio = boost::asio;

namespace detail {

void throw_too_big(std::uint64_t bytes, std::size_t limit)
{
    throw Exception{Failure{Error::too_big,
                            {.attempted = "read", .explanation = fmt::format("a message of {} bytes or more, the limit is {}", bytes, limit)}}};
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
    return host.find(':') == host.npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

Result<void> check_tcp(const std::string& host, std::uint16_t port)
{
    const auto refuse = [&](const char* why) -> Result<void> {
        return Failure{Error::bad_address, {.attempted = "connect", .endpoint = tcp_endpoint(host, port), .explanation = why}};
    };
    if (host.empty())
        return refuse("there is no host");
    if (port == 0)
        return refuse("the port is 0");
    return {};
}

Failure tcp_too_big(const std::string& endpoint, std::size_t bytes, std::size_t limit)
{
    return {Error::too_big,
            {.attempted = "send", .endpoint = endpoint, .explanation = fmt::format("{} bytes, the limit is {}", bytes, limit)}};
}

class TcpStream::Impl {
public:
    /// Memory that a batch of unusual size took is given back.
    static constexpr std::size_t kept_bytes = 2 * chunk_bytes;

    TcpTarget target;
    net::Connection connection;
    std::vector<std::byte> out;
    bool is_closing = false;
    bool is_over = false; // no read will succeed any more
    LoopEvent over;
};

TcpStream::TcpStream(TcpTarget target) : impl_{std::make_unique<Impl>()}
{
    impl_->target = std::move(target);
}
TcpStream::~TcpStream() = default;

Task<> TcpStream::connect(Context ctx)
{
    const auto& t = impl_->target;
    return impl_->connection.connect(ctx, t.host, t.port, {.no_delay = t.no_delay, .keep_alive = t.keep_alive},
                                     tcp_endpoint(t.host, t.port));
}

Task<> TcpStream::fill(std::size_t missing_bytes, std::size_t limit_bytes)
{
    auto& impl = *impl_;
    const auto have = impl.connection.unread().size();
    if (have > limit_bytes)
        throw_too_big(have, limit_bytes);
    error_code ec;
    const auto room = impl.connection.prepare_fill(missing_bytes);
    const auto got = co_await impl.connection.socket().async_read_some(room, asio::redirect_error(asio::use_awaitable, ec));
    if (!ec) {
        impl.connection.commit_fill(got);
        co_return;
    }
    impl.is_over = true;
    impl.over.set();
    if (ec == asio::error::operation_aborted)
        throw boost::system::system_error{ec};
    FailureDetails details{.attempted = "read", .endpoint = tcp_endpoint(impl.target.host, impl.target.port), .cause = ec};
    if (have != 0)
        details.explanation = fmt::format("in the middle of a message, {} bytes of it had come", have);
    throw Exception{Failure{Error::disconnected, std::move(details)}};
}

std::span<const std::byte> TcpStream::unread() const noexcept
{
    return impl_->connection.unread();
}
void TcpStream::consume(std::size_t bytes) noexcept
{
    impl_->connection.consume(bytes);
}
std::vector<std::byte>& TcpStream::out() noexcept
{
    return impl_->out;
}

Task<> TcpStream::flush()
{
    auto& out = impl_->out;
    co_await impl_->connection.write(asio::buffer(out));
    out.clear();
    if (out.capacity() > Impl::kept_bytes)
        out.shrink_to_fit();
}

void TcpStream::check_may_write() const
{
    if (impl_->is_closing)
        throw boost::system::system_error{asio::error::operation_aborted};
}

Task<> TcpStream::close()
{
    impl_->is_closing = true;
    impl_->connection.shutdown_send();
    while (!impl_->is_over)
        co_await impl_->over.wait();
}

void TcpStream::abort() noexcept
{
    impl_->connection.abort();
}

} // namespace detail

Result<void> LengthPrefix::check() const
{
    if (width != 1 && width != 2 && width != 4 && width != 8)
        return detail::bad_framing(fmt::format("a length prefix of {} bytes; it must have 1, 2, 4 or 8", width));
    return {};
}

Result<void> LengthPrefix::check_send(std::span<const std::byte> payload) const
{
    if (width < 8 && payload.size() >> (8 * width) != 0)
        return detail::cannot_send(Error::too_big, fmt::format("{} bytes do not fit a length prefix of {}", payload.size(), width));
    return {};
}

Result<void> Lines::check_send(std::span<const std::byte> payload) const
{
    if (!payload.empty() && std::memchr(payload.data(), delimiter_, payload.size()))
        return detail::cannot_send(Error::bad_message, "the line contains the delimiter");
    return {};
}

} // namespace sidecar
