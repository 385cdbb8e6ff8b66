// Blocking Beast (WebSocket) and blocking Asio (TCP) on the application's thread.
#include "../cases.hpp"
#include "../frames.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/stream_traits.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <boost/beast/websocket/stream.hpp>

#include <algorithm>
#include <array>

namespace bench {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;

tcp::endpoint endpoint_of(const Job& job) { return {asio::ip::address_v4::loopback(), job.port}; }

/// The stream below the frames: a socket.
class Plain {
public:
    using Layer = tcp::socket;
    [[nodiscard]] beast::websocket::stream<Layer> make()
    {
        return beast::websocket::stream<Layer>{io_};
    }
    static void begin(Layer&) {}

private:
    asio::io_context io_;
};

class Secure {
public:
    using Layer = asio::ssl::stream<tcp::socket>;
    Secure()
    {
        context_.add_certificate_authority(
            asio::buffer(certificate().pem.data(), certificate().pem.size()));
        context_.set_verify_mode(asio::ssl::verify_peer);
    }
    [[nodiscard]] beast::websocket::stream<Layer> make()
    {
        return beast::websocket::stream<Layer>{io_, context_};
    }
    static void begin(Layer& layer) { layer.handshake(asio::ssl::stream_base::client); }

private:
    asio::io_context io_;
    asio::ssl::context context_{asio::ssl::context::tls_client};
};

template <class Below>
class Beast {
public:
    explicit Beast(const Job& job)
    {
        auto& socket = beast::get_lowest_layer(stream_);
        socket.connect(endpoint_of(job));
        socket.set_option(tcp::no_delay{true});
        Below::begin(stream_.next_layer());
        if (job.is_compressed) {
            beast::websocket::permessage_deflate deflate;
            deflate.client_enable = true;
            deflate.compLevel = 6;
            deflate.memLevel = 8;
            stream_.set_option(deflate);
        }
        stream_.handshake("127.0.0.1", "/");
        stream_.binary(true);
        stream_.read_message_max(std::max<std::size_t>(16u << 20, job.payload_bytes));
    }
    template <class Handler>
    void receive_while(Handler&& handler)
    {
        for (bool go_on = true; go_on;) {
            stream_.read(buffer_);
            const auto data = buffer_.cdata();
            go_on = handler(Bytes{static_cast<const std::byte*>(data.data()), data.size()});
            buffer_.clear();
        }
    }
    void send(Bytes message) { stream_.write(asio::buffer(message.data(), message.size())); }
    void stop() { stream_.close(beast::websocket::close_code::normal); }

private:
    Below below_;
    beast::websocket::stream<typename Below::Layer> stream_{below_.make()};
    beast::flat_buffer buffer_;
};

class BlockingAsio {
public:
    explicit BlockingAsio(const Job& job)
    {
        socket_.connect(endpoint_of(job));
        socket_.set_option(tcp::no_delay{true});
    }
    template <class Handler>
    void receive_while(Handler&& handler)
    {
        for (bool go_on = true; go_on;) {
            need(4);
            const auto size = static_cast<std::size_t>(big_endian(front(), 4));
            need(4 + size);
            go_on = handler(Bytes{front() + 4, size});
            buffer_.consume(4 + size);
        }
    }
    void send(Bytes message)
    {
        const auto head = make_head(Protocol::tcp, message.size());
        asio::write(socket_,
                    std::array{asio::buffer(head), asio::buffer(message.data(), message.size())});
    }
    void stop()
    {
        socket_.shutdown(tcp::socket::shutdown_send);
        boost::system::error_code ec;
        std::array<char, 4096> rest;
        while (!ec)
            socket_.read_some(asio::buffer(rest), ec);
    }

private:
    [[nodiscard]] const std::byte* front() const
    {
        return static_cast<const std::byte*>(buffer_.cdata().data());
    }
    void need(std::size_t bytes)
    {
        constexpr std::size_t at_once = 64u << 10;
        while (buffer_.size() < bytes)
            buffer_.commit(
                socket_.read_some(buffer_.prepare(std::max(at_once, bytes - buffer_.size()))));
    }

    asio::io_context io_;
    tcp::socket socket_{io_};
    beast::flat_buffer buffer_;
};

const Registration<Beast<Plain>> websocket{Protocol::websocket, "blocking beast"};
const WebSocketRegistration<Beast<Plain>> websocket_only{"blocking beast"};
const DeflateRegistration<Beast<Plain>> websocket_deflate{"blocking beast"};
const SecureRegistration<Beast<Secure>> secure{"blocking beast"};
const Registration<BlockingAsio> tcp_entry{Protocol::tcp, "blocking asio"};

} // namespace
} // namespace bench
