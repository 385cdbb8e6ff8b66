#include "connection.hpp"

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace sidecar::stream {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

std::string describe(const tcp::endpoint& endpoint)
{
    return endpoint.address().is_v6()
               ? fmt::format("[{}]:{}", endpoint.address().to_string(), endpoint.port())
               : fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port());
}

/// The next head is mostly among them, and little that would have to be copied.
constexpr std::size_t beyond_bytes = 4096;

/// Less room than this is not worth a system call.
constexpr std::size_t least_in_inbox = 16u << 10;

/// To move more than this, each time that some more of a message has come, would cost more than to
/// receive it did.
constexpr std::size_t most_moved = 32u << 10;

/// What a read that has to wait makes room for, at most. If more has come, receive() takes it.
constexpr std::size_t most_waited_for = 4096;

} // namespace

Task<> Connection::connect(Context ctx, std::string host, std::uint16_t port, SocketOptions options,
                           std::string endpoint)
{
    const auto addresses = co_await ctx.resolve(host);
    ctx.phase(Phase::connecting);
    std::string attempts;
    error_code ec = asio::error::host_not_found;
    for (const auto& address : addresses) {
        if (is_aborted_)
            throw boost::system::system_error{asio::error::operation_aborted};
        const tcp::endpoint target{address, port};
        socket_.emplace(ctx.executor());
        co_await socket_->async_connect(target, asio::redirect_error(asio::use_awaitable, ec));
        if (is_aborted_) // while the success was on its way here
            ec = asio::error::operation_aborted;
        if (!ec) {
            socket_->non_blocking(true); // for receive() and try_fill_into()
            socket_->set_option(tcp::no_delay{options.no_delay}, ec);
            socket_->set_option(asio::socket_base::keep_alive{options.keep_alive}, ec);
            co_return;
        }
        if (ec == asio::error::operation_aborted)
            throw boost::system::system_error{ec};
        attempts +=
            fmt::format("{}{}: {}", attempts.empty() ? "" : "; ", describe(target), ec.message());
    }
    throw Exception{
        Failure{Error::connect_failed,
                {.attempted = "connect",
                 .endpoint = std::move(endpoint),
                 .cause = addresses.size() == 1 ? ec : error_code{},
                 .explanation = addresses.size() == 1 ? std::string{} : std::move(attempts)}}};
}

Task<std::size_t> Connection::read_some(asio::mutable_buffer room, error_code& ec)
{
    return socket_->async_read_some(
        room, asio::bind_allocator(OpAllocator<void>{read_memory_},
                                   asio::redirect_error(asio::use_awaitable, ec)));
}

std::size_t Connection::receive(Sink& sink, std::size_t missing_bytes, error_code& ec)
{
    if (is_aborted_) {
        ec = asio::error::operation_aborted;
        return 0;
    }
    if (is_drained_) // to ask again would be in vain
        return 0;
    give_back_memory();
    const auto rest = unread();
    std::span<std::byte> room;
    // A larger message is collected where it grows
    if (rest.size() <= most_moved && missing_bytes <= most_moved)
        room = sink.receive_buffer(
            std::max(rest.size() + std::max(missing_bytes, beyond_bytes), least_in_inbox));
    const auto into = room.empty() ? prepare_fill(missing_bytes)
                                   : asio::buffer(room.data(), room.size()) + rest.size();
    const auto got = socket_->read_some(into, ec);
    if (ec == asio::error::would_block)
        ec = {};
    is_drained_ = got < into.size();
    if (got == 0)
        return 0;
    if (room.empty()) {
        commit_fill(got);
    } else {
        std::copy(rest.begin(), rest.end(), room.begin());
        buffer_.consume(rest.size());
        in_inbox_ = room.first(rest.size() + got);
    }
    return got;
}

void Connection::consume(std::size_t bytes)
{
    if (in_inbox_.empty()) {
        buffer_.consume(bytes);
        return;
    }
    const auto rest = std::exchange(in_inbox_, {}).subspan(bytes);
    if (!rest.empty())
        buffer_.commit(asio::buffer_copy(buffer_.prepare(rest.size()),
                                         asio::buffer(rest.data(), rest.size())));
}

asio::mutable_buffer Connection::prepare_wait()
{
    asked_bytes_ = std::min(read_bytes_, most_waited_for);
    return buffer_.prepare(asked_bytes_);
}

asio::mutable_buffer Connection::prepare_fill(std::size_t missing_bytes)
{
    give_back_memory();
    asked_bytes_ = std::max(read_bytes_, std::min(missing_bytes, buffer_.size()));
    return buffer_.prepare(asked_bytes_);
}

Task<std::size_t> Connection::fill_into(std::span<std::byte> rest)
{
    give_back_memory();
    co_return divide(rest, co_await socket_->async_read_some(
                               scatter(rest), asio::bind_allocator(OpAllocator<void>{read_memory_},
                                                                   asio::use_awaitable)));
}

std::size_t Connection::try_fill_into(std::span<std::byte> rest)
{
    error_code ec;
    const auto got = socket_->read_some(scatter(rest), ec);
    if (ec == asio::error::would_block)
        return 0;
    if (ec)
        throw boost::system::system_error{ec};
    return divide(rest, got);
}

std::array<asio::mutable_buffer, 2> Connection::scatter(std::span<std::byte> rest)
{
    return {asio::buffer(rest.data(), rest.size()),
            asio::mutable_buffer{buffer_.prepare(beyond_bytes)}};
}

std::size_t Connection::divide(std::span<std::byte> rest, std::size_t got)
{
    const auto inside = std::min(got, rest.size());
    is_drained_ = false; // not known
    if (!is_aborted_)
        buffer_.commit(got - inside);
    return inside;
}

void Connection::commit_fill(std::size_t read_bytes)
{
    buffer_.commit(read_bytes);
    is_drained_ = read_bytes < asked_bytes_;
    if (!is_drained_)
        read_bytes_ = std::min(read_bytes_ * 2, read_ahead_bytes);
}

void Connection::give_back_memory()
{
    // Not at once: a stream of large messages would pay for fresh pages with each of them.
    constexpr unsigned patience = 64;
    if (buffer_.size() > 2 * read_ahead_bytes || buffer_.capacity() <= 4 * read_ahead_bytes)
        idle_fills_ = 0;
    else if (++idle_fills_ > patience)
        buffer_.shrink_to_fit();
}

Task<std::size_t> Connection::write_some(asio::const_buffer bytes)
{
    // Not async_write: it hands over at most 64 KiB with each call.
    return socket_->async_write_some(bytes, asio::use_awaitable);
}

void Connection::shutdown_send()
{
    error_code ec; // a connection that is gone already has nobody to tell
    socket_->shutdown(tcp::socket::shutdown_send, ec);
}

void Connection::abort() noexcept
{
    is_aborted_ = true;
    in_inbox_ = {};
    // Or who reads on would go on with it, for as long as it lasts
    buffer_.consume(buffer_.size());
    if (socket_) {
        error_code ec;
        socket_->close(ec);
    }
}

} // namespace sidecar::stream
