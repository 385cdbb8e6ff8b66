#include "websocketpp_link.hpp"

#include <websocketpp/client.hpp>
#include <websocketpp/config/asio_no_tls_client.hpp>

#include <future>
#include <thread>

namespace bench {

using Client = websocketpp::client<websocketpp::config::asio_client>;

struct WebSocketPpLink::Impl {
    Client client;
    Client::connection_ptr connection;
    std::thread thread;
};

WebSocketPpLink::WebSocketPpLink(const std::string& url,
                                 std::function<void(std::string)> on_message)
    : impl_{new Impl}
{
    auto& client = impl_->client;
    std::promise<void> opened;
    client.clear_access_channels(websocketpp::log::alevel::all);
    client.clear_error_channels(websocketpp::log::elevel::all);
    client.init_asio();
    client.set_open_handler([&](websocketpp::connection_hdl) {
        impl_->connection->get_raw_socket().set_option(boost::asio::ip::tcp::no_delay{true});
        opened.set_value();
    });
    client.set_message_handler(
        [on_message](websocketpp::connection_hdl, Client::message_ptr message) {
            on_message(std::move(message->get_raw_payload()));
        });
    websocketpp::lib::error_code ec;
    impl_->connection = client.get_connection(url, ec);
    client.connect(impl_->connection);
    impl_->thread = std::thread{[&client] { client.run(); }};
    opened.get_future().get();
}

WebSocketPpLink::~WebSocketPpLink()
{
    impl_->client.stop();
    if (impl_->thread.joinable())
        impl_->thread.join();
}

void WebSocketPpLink::send(const void* data, std::size_t bytes)
{
    (void)impl_->connection->send(data, bytes, websocketpp::frame::opcode::binary);
}

void WebSocketPpLink::close()
{
    websocketpp::lib::error_code ec;
    impl_->client.close(impl_->connection, websocketpp::close::status::normal, "", ec);
    impl_->thread.join(); // run() ends with its last connection
}

} // namespace bench
