// Your transport: datagrams over UDP, one message each.
//   07_custom_transport address port
#include <sidecar/sidecar.hpp>

#include <boost/asio/ip/udp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <optional>
#include <string>

using namespace std::chrono_literals;
using boost::asio::ip::udp, boost::asio::use_awaitable;

/// Sends each message as a datagram, and receives each datagram as a message. UDP may lose some.
class Udp {
public:
    struct Options {
        std::string host{};
        std::uint16_t port = 0;
        std::size_t max_message_bytes = 65507; ///< the largest datagram
    };
    explicit Udp(const Options& options) : options_{options} {}

    sidecar::Task<> connect(sidecar::Context ctx)
    {
        const auto addresses = co_await ctx.resolve(options_.host);
        const udp::endpoint peer{addresses.front(), options_.port};
        socket_.emplace(ctx.executor(), peer.protocol());
        socket_->connect(peer); // only stores the address
        socket_->non_blocking(true);
    }
    sidecar::Task<> read(sidecar::Context, sidecar::Sink& sink)
    {
        co_await socket_->async_wait(udp::socket::wait_read, use_awaitable);
        boost::system::error_code ec;
        const auto size = socket_->receive(boost::asio::buffer(datagram_), 0, ec);
        if (ec && ec != boost::asio::error::would_block)
            throw boost::system::system_error{ec};
        if (!ec)
            (void)sink.put_bytes(std::span{datagram_}.first(size)); // one message always fits
    }
    sidecar::Task<> write(sidecar::Context, sidecar::Batch batch)
    {
        for (const auto& message : batch)
            co_await socket_->async_send(
                boost::asio::buffer(message.bytes().data(), message.size()), use_awaitable);
    }
    sidecar::Task<> close(sidecar::Context, sidecar::CloseReason) { co_return; }
    void abort() noexcept
    {
        boost::system::error_code ec;
        if (socket_)
            socket_->close(ec);
    }

private:
    Options options_;
    std::optional<udp::socket> socket_;
    std::array<std::byte, 65536> datagram_;
};
static_assert(sidecar::Transport<Udp>);

int main(int argc, char** argv)
{
    if (argc != 3)
        return fmt::print(stderr, "usage: 07_custom_transport address port\n"), 64;
    const auto port = static_cast<std::uint16_t>(std::atoi(argv[2]));
    sidecar::Sidecar<Udp> feed{{.host = argv[1], .port = port}};
    feed.start(5s).value();
    feed.send("ping").value();
    fmt::print("{}\n", feed.receive(5s).value().text());
}
