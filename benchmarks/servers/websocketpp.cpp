// websocketpp as its example of a broadcast server uses it. A program of its own: it needs C++17.
#include "subject.hpp"

#include <websocketpp/config/asio_no_tls.hpp>
#include <websocketpp/server.hpp>

#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include <sys/resource.h>

namespace bench {
namespace {

using Server = websocketpp::server<websocketpp::config::asio>;
using websocketpp::connection_hdl;

class WebSocketPp final : public Subject {
public:
    WebSocketPp()
    {
        rlimit limit{};
        ::getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
        server_.clear_access_channels(websocketpp::log::alevel::all);
        server_.clear_error_channels(websocketpp::log::elevel::all);
        server_.init_asio();
        server_.set_listen_backlog(4096);
        server_.set_open_handler([this](connection_hdl client) {
            std::lock_guard<std::mutex> lock{mutex_};
            server_.get_con_from_hdl(client)->get_raw_socket().set_option(
                boost::asio::ip::tcp::no_delay{true});
            clients_.insert(client);
        });
        server_.set_close_handler([this](connection_hdl client) {
            std::lock_guard<std::mutex> lock{mutex_};
            clients_.erase(client);
        });
        server_.set_message_handler([this](connection_hdl client, Server::message_ptr message) {
            websocketpp::lib::error_code ec;
            server_.send(client, message->get_payload(), message->get_opcode(), ec);
        });
        server_.listen(boost::asio::ip::tcp::endpoint{boost::asio::ip::address_v4::loopback(), 0});
        server_.start_accept();
        std::thread{[this] { server_.run(); }}.detach(); // ends with the process
    }

    std::uint16_t port() override
    {
        boost::system::error_code ec;
        return server_.get_local_endpoint(ec).port();
    }
    std::size_t count() override
    {
        std::lock_guard<std::mutex> lock{mutex_};
        return clients_.size();
    }
    void broadcast(std::string_view payload) override
    {
        std::lock_guard<std::mutex> lock{mutex_};
        for (const auto& client : clients_) {
            websocketpp::lib::error_code ec;
            server_.send(client, payload.data(), payload.size(), websocketpp::frame::opcode::binary,
                         ec);
        }
    }

private:
    Server server_;
    std::mutex mutex_;
    std::set<connection_hdl, std::owner_less<connection_hdl>> clients_;
};

} // namespace
} // namespace bench

int main()
{
    bench::WebSocketPp subject;
    bench::Commands{subject}.run();
    std::_Exit(0); // the thread still runs
}
