// Two kinds of feed, one place to wait: quotes over WebSocket, orders as lines over TCP.
// Run it without arguments; it serves both feeds to itself on the loopback.
#include "../market_feed/feed_server.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>

#include <string_view>
#include <thread>

using namespace std::chrono_literals;
namespace asio = boost::asio;

namespace {

/// The other side of the orders: takes one connection and acknowledges three orders.
class OrderServer {
public:
    [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
    void run()
    {
        asio::ip::tcp::socket socket = acceptor_.accept();
        asio::write(socket, asio::buffer(std::string_view{"filled 1\nfilled 2\nfilled 3\n"}));
        char byte;
        boost::system::error_code ec;
        socket.read_some(asio::buffer(&byte, 1), ec); // until the client says goodbye
    }

private:
    asio::io_context io_;
    asio::ip::tcp::acceptor acceptor_{io_, {asio::ip::address_v4::loopback(), 0}};
};

/// The application. It knows no transport, so a test may hand in a Sidecar<Mock>.
void show(sidecar::Feed& feed, const sidecar::Link& orders)
{
    int quotes = 0, fills = 0;
    while (quotes < 3 || fills < 3) {
        const auto message = feed.receive(5s).value();
        const bool is_order = message.link() == orders.id();
        if ((is_order ? fills : quotes)++ < 3)
            fmt::print("{}: {}\n", is_order ? "order" : "quote", message.text());
    }
}

} // namespace

int main()
{
    FeedServer quotes{1000};
    OrderServer server;
    std::jthread serving{[&] { server.run(); }};

    sidecar::Sidecar<sidecar::WebSocket> feed{{.url = quotes.url()}};
    feed.start(5s).value();
    const auto orders =
        feed.open<sidecar::Tcp<sidecar::Lines>>({.host = "127.0.0.1", .port = server.port()}, 5s)
            .value();
    show(feed, orders);
    fmt::print("{}\n", feed.stop());
}
