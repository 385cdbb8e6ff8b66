// Your acceptor: a server of packets on a Unix-domain socket, one message each. It passes each
// message of a client to all, until one says "bye".
//   13_custom_acceptor path
#include <sidecar/server.hpp>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/seq_packet_protocol.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <unistd.h>

using namespace std::chrono_literals;
using boost::asio::use_awaitable, boost::asio::local::stream_protocol;
/// SOCK_SEQPACKET: a receive returns one packet.
using Protocol = boost::asio::generic::seq_packet_protocol;

class Packets {
public:
    struct Options {
        std::string path{};
        sidecar::ClientOverflow overflow{}; // the library reads it
    };

    /// Options may outlive the loop, so a socket of Asio must not be in them.
    struct Descriptor {
        explicit Descriptor(int its_number) : number{its_number} {}
        Descriptor(const Descriptor&) = delete;
        Descriptor& operator=(const Descriptor&) = delete;
        ~Descriptor() { number < 0 ? 0 : ::close(number); }
        int number;
    };

    /// The transport of a client that was accepted.
    class Client {
    public:
        struct Options {
            std::shared_ptr<Descriptor> descriptor{};
        };
        explicit Client(const Options& options) : descriptor_{options.descriptor} {}

        sidecar::Task<> connect(sidecar::Context ctx) // the place for a handshake
        {
            socket_.emplace(ctx.executor());
            socket_->assign({AF_UNIX, 0}, descriptor_->number);
            descriptor_->number = -1; // it is the socket's now
            socket_->non_blocking(true);
            co_return;
        }
        sidecar::Task<> read(sidecar::Context, sidecar::Sink& sink)
        {
            co_await socket_->async_wait(Protocol::socket::wait_read, use_awaitable);
            boost::asio::socket_base::message_flags flags = 0;
            boost::system::error_code ec;
            const auto size = socket_->receive(boost::asio::buffer(packet_), 0, flags, ec);
            if (ec == boost::asio::error::would_block)
                co_return;
            if (ec || size == 0)
                throw boost::system::system_error{ec ? ec : boost::asio::error::eof};
            (void)sink.put_text({packet_.data(), size}); // one message always fits
        }
        sidecar::Task<> write(sidecar::Context, sidecar::Batch batch)
        {
            for (const auto& message : batch)
                co_await socket_->async_send(
                    boost::asio::buffer(message.bytes().data(), message.size()), 0, use_awaitable);
        }
        sidecar::Task<> close(sidecar::Context, sidecar::CloseReason) { co_return; }
        void abort() noexcept
        {
            boost::system::error_code ec;
            if (socket_)
                socket_->close(ec);
        }

    private:
        std::shared_ptr<Descriptor> descriptor_;
        std::optional<Protocol::socket> socket_;
        std::array<char, 65536> packet_;
    };

    explicit Packets(const Options& options) : options_{options} {}

    sidecar::Task<> bind(sidecar::Context ctx)
    {
        const stream_protocol::endpoint path{options_.path};
        acceptor_.emplace(ctx.executor(), Protocol{AF_UNIX, 0});
        acceptor_->bind({path.data(), path.size()});
        acceptor_->listen();
        co_return;
    }
    sidecar::Task<Client::Options> accept(sidecar::Context)
    {
        auto socket = co_await acceptor_->async_accept(use_awaitable);
        co_return Client::Options{std::make_shared<Descriptor>(socket.release())};
    }
    void close() noexcept
    {
        if (!acceptor_ || !acceptor_->is_open())
            return;
        boost::system::error_code ec;
        acceptor_->close(ec);
        ::unlink(options_.path.c_str());
    }
    void abort() noexcept { close(); }

private:
    Options options_;
    std::optional<boost::asio::basic_socket_acceptor<Protocol>> acceptor_;
};
static_assert(sidecar::Acceptor<Packets>);

int main(int argc, char** argv)
{
    sidecar::Server<Packets> server{{.path = argc == 2 ? argv[1] : "/tmp/packets.sock"}};
    server.start(1s).value();
    fmt::print("listening\n"), std::fflush(stdout);
    for (std::string said; said != "bye";) {
        const auto message = server.receive(60s).value();
        said = message.text();
        const auto count = server.broadcast(said).value();
        fmt::print("\"{}\" goes to {}\n", said, count), std::fflush(stdout);
    }
    return server.stop().clean() ? 0 : 1;
}
