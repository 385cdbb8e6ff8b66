// Beast as its examples of chat servers use it: one thread, a strand and a queue for each session.
#include "../harness.hpp"
#include "subjects.hpp"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/websocket/stream.hpp>

#include <mutex>
#include <unordered_set>

namespace bench {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using Shared = std::shared_ptr<const std::string>;

class Session;

/// The sessions that get broadcasts.
struct Sessions {
    std::mutex mutex;
    std::unordered_set<Session*> all;
};

class Session : public std::enable_shared_from_this<Session> {
public:
    Session(tcp::socket socket, Sessions& sessions)
        : stream_{std::move(socket)}, sessions_{sessions}
    {
    }
    ~Session()
    {
        std::lock_guard lock{sessions_.mutex};
        sessions_.all.erase(this);
    }
    void run()
    {
        beast::get_lowest_layer(stream_).socket().set_option(tcp::no_delay{true});
        stream_.binary(true);
        stream_.async_accept([self = shared_from_this()](beast::error_code ec) {
            if (ec)
                return;
            {
                std::lock_guard lock{self->sessions_.mutex};
                self->sessions_.all.insert(self.get());
            }
            self->read();
        });
    }
    void send(const Shared& message)
    {
        asio::post(stream_.get_executor(), [self = shared_from_this(), message] {
            self->queue_.push_back(message);
            if (self->queue_.size() == 1)
                self->write();
        });
    }

private:
    void read()
    {
        stream_.async_read(buffer_, [self = shared_from_this()](beast::error_code ec, std::size_t) {
            if (ec)
                return;
            const auto data = self->buffer_.cdata();
            self->send(std::make_shared<const std::string>(static_cast<const char*>(data.data()),
                                                           data.size()));
            self->buffer_.clear();
            self->read();
        });
    }
    void write()
    {
        stream_.async_write(asio::buffer(*queue_.front()),
                            [self = shared_from_this()](beast::error_code ec, std::size_t) {
                                if (ec)
                                    return;
                                self->queue_.erase(self->queue_.begin());
                                if (!self->queue_.empty())
                                    self->write();
                            });
    }

    beast::websocket::stream<beast::tcp_stream> stream_;
    beast::flat_buffer buffer_;
    std::vector<Shared> queue_;
    Sessions& sessions_;
};

class Beast final : public Subject {
public:
    Beast()
    {
        raise_descriptor_limit();
        accept();
        std::thread{[this] { io_.run(); }}.detach(); // ends with the process
    }
    std::uint16_t port() override { return acceptor_.local_endpoint().port(); }
    std::size_t count() override
    {
        std::lock_guard lock{sessions_.mutex};
        return sessions_.all.size();
    }
    void broadcast(std::string_view payload) override
    {
        const auto message = std::make_shared<const std::string>(payload);
        std::vector<std::weak_ptr<Session>> sessions;
        {
            std::lock_guard lock{sessions_.mutex};
            sessions.reserve(sessions_.all.size());
            for (auto* session : sessions_.all)
                sessions.push_back(session->weak_from_this());
        }
        for (const auto& weak : sessions)
            if (const auto session = weak.lock())
                session->send(message);
    }

private:
    void accept()
    {
        acceptor_.async_accept(
            asio::make_strand(io_), [this](beast::error_code ec, tcp::socket socket) {
                if (!ec)
                    std::make_shared<Session>(std::move(socket), sessions_)->run();
                accept();
            });
    }

    Sessions sessions_;
    asio::io_context io_{1};
    tcp::acceptor acceptor_{io_, {asio::ip::address_v4::loopback(), 0}};
};

const bool is_added = add_subject<Beast>("beast");

} // namespace
} // namespace bench
