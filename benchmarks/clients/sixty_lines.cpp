// The sidecar that anyone would write: Beast coroutines on a thread, a mutex, a condition variable
// and a queue.
#include "../cases.hpp"
#include "handoff_queue.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket/stream.hpp>

#include <deque>
#include <thread>

namespace bench {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;

class SixtyLines {
public:
    explicit SixtyLines(const Job& job)
    {
        thread_ = std::thread{[this] { io_.run(); }};
        asio::co_spawn(io_, connect({asio::ip::address_v4::loopback(), job.port}), asio::use_future)
            .get();
        asio::co_spawn(io_, read_all(), asio::detached);
    }
    SixtyLines(const SixtyLines&) = delete;
    SixtyLines& operator=(const SixtyLines&) = delete;
    ~SixtyLines()
    {
        work_.reset();
        io_.stop();
        thread_.join();
    }

    template <class Handler>
    void receive_while(Handler&& handler)
    {
        inbox_.pop_while(handler);
    }
    void send(Bytes message)
    {
        asio::post(io_, [this, text = std::string{reinterpret_cast<const char*>(message.data()),
                                                  message.size()}]() mutable {
            outbox_.push_back(std::move(text));
            if (outbox_.size() == 1)
                asio::co_spawn(io_, write_all(), asio::detached);
        });
    }
    void stop() { asio::co_spawn(io_, close(), asio::use_future).get(); }

private:
    asio::awaitable<void> connect(tcp::endpoint endpoint)
    {
        co_await stream_.next_layer().async_connect(endpoint, asio::use_awaitable);
        stream_.next_layer().set_option(tcp::no_delay{true});
        co_await stream_.async_handshake("127.0.0.1", "/", asio::use_awaitable);
        stream_.binary(true);
    }
    asio::awaitable<void> read_all()
    {
        beast::flat_buffer buffer;
        for (;;) {
            co_await stream_.async_read(buffer, asio::use_awaitable);
            inbox_.push(beast::buffers_to_string(buffer.cdata()));
            buffer.clear();
        }
    }
    asio::awaitable<void> write_all()
    {
        while (!outbox_.empty()) {
            co_await stream_.async_write(asio::buffer(outbox_.front()), asio::use_awaitable);
            outbox_.pop_front();
        }
    }
    asio::awaitable<void> close()
    {
        co_await stream_.async_close(beast::websocket::close_code::normal, asio::use_awaitable);
    }

    asio::io_context io_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
    beast::websocket::stream<tcp::socket> stream_{io_};
    std::deque<std::string> outbox_;
    HandoffQueue inbox_;
    std::thread thread_;
};

const Registration<SixtyLines> websocket{Protocol::websocket, "sixty lines"};
const WebSocketRegistration<SixtyLines> websocket_only{"sixty lines"};

} // namespace
} // namespace bench
