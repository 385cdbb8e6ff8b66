#include "feed_server.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using std::chrono::steady_clock;

namespace {

using Stream = beast::websocket::stream<tcp::socket, false>;

/// Generates the same stream of prices in every run; only the time stamps differ.
class Tape {
public:
    const std::string& next()
    {
        auto& instrument = instruments_[random_() % instruments_.size()];
        instrument.price =
            std::max(1.0, instrument.price + (static_cast<int>(random_() % 9) - 4) * 0.01);
        const auto size = 1 + random_() % 500;
        const auto now = steady_clock::now().time_since_epoch().count();
        text_.clear();
        if (random_() % 4 == 0)
            fmt::format_to(
                std::back_inserter(text_),
                R"({{"type":"trade","symbol":"{}","price":{:.2f},"size":{},"sent_ns":{}}})",
                instrument.symbol, instrument.price, size, now);
        else
            fmt::format_to(
                std::back_inserter(text_),
                R"({{"type":"quote","symbol":"{}","bid":{:.2f},"ask":{:.2f},"size":{},"sent_ns":{}}})",
                instrument.symbol, instrument.price - 0.01, instrument.price + 0.01, size, now);
        return text_;
    }

private:
    struct Instrument {
        const char* symbol;
        double price;
    };
    std::array<Instrument, 4> instruments_{
        {{"ACME", 101.5}, {"BOLT", 54.25}, {"COAL", 12.75}, {"DUNE", 230.0}}};
    std::mt19937 random_{20240607};
    std::string text_;
};

/// Reads and discards until the client closes; Beast answers the close.
asio::awaitable<void> listen_to(std::shared_ptr<Stream> stream)
{
    beast::flat_buffer buffer;
    boost::system::error_code ec;
    while (!ec) {
        co_await stream->async_read(buffer, asio::redirect_error(asio::use_awaitable, ec));
        buffer.clear();
    }
}

/// The connected clients, so that a restart can drop them.
using Clients = std::vector<std::weak_ptr<Stream>>;

asio::awaitable<void> serve(tcp::socket socket, std::uint64_t rate,
                            std::shared_ptr<Clients> clients)
{
    const auto stream = std::make_shared<Stream>(std::move(socket));
    clients->push_back(stream);
    stream->next_layer().set_option(tcp::no_delay{true});
    boost::system::error_code ec;
    co_await stream->async_accept(asio::redirect_error(asio::use_awaitable, ec));
    if (ec)
        co_return;
    stream->text(true);
    asio::co_spawn(stream->get_executor(), listen_to(stream), [](std::exception_ptr) {});
    Tape tape;
    asio::steady_timer timer{stream->get_executor()};
    const auto began = steady_clock::now();
    for (std::uint64_t sent = 0; !ec; ++sent) {
        if (rate != 0) {
            const auto due = began + std::chrono::nanoseconds{sent * 1'000'000'000 / rate};
            if (due > steady_clock::now()) {
                timer.expires_at(due);
                co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
            }
        }
        co_await stream->async_write(asio::buffer(tape.next()),
                                     asio::redirect_error(asio::use_awaitable, ec));
    }
}

asio::awaitable<void> accept_all(std::shared_ptr<tcp::acceptor> acceptor, std::uint64_t rate,
                                 std::shared_ptr<Clients> clients)
{
    for (;;) {
        auto socket = co_await acceptor->async_accept(asio::use_awaitable);
        asio::co_spawn(acceptor->get_executor(), serve(std::move(socket), rate, clients),
                       [](std::exception_ptr) {});
    }
}

} // namespace

struct FeedServer::Impl {
    explicit Impl(std::uint64_t its_rate) : rate{its_rate} { listen({}); }

    void listen(tcp::endpoint at)
    {
        if (at.port() == 0)
            at = {asio::ip::address_v4::loopback(), 0};
        acceptor = std::make_shared<tcp::acceptor>(io, at); // reuses the address
        endpoint = acceptor->local_endpoint();
        asio::co_spawn(io, accept_all(acceptor, rate, clients), [](std::exception_ptr) {});
    }
    asio::awaitable<void> restart(std::chrono::milliseconds after, std::chrono::milliseconds outage)
    {
        asio::steady_timer timer{io, after};
        co_await timer.async_wait(asio::use_awaitable);
        acceptor->close();
        for (const auto& client : *clients)
            if (const auto stream = client.lock())
                stream->next_layer().close();
        clients->clear();
        timer.expires_after(outage);
        co_await timer.async_wait(asio::use_awaitable);
        listen(endpoint);
    }

    const std::uint64_t rate;
    asio::io_context io{1};
    const std::shared_ptr<Clients> clients = std::make_shared<Clients>();
    std::shared_ptr<tcp::acceptor> acceptor;
    tcp::endpoint endpoint;
    std::thread thread;
};

FeedServer::FeedServer(std::uint64_t rate) : impl_{std::make_unique<Impl>(rate)}
{
    impl_->thread = std::thread{[this] { impl_->io.run(); }};
}

FeedServer::~FeedServer()
{
    impl_->io.stop();
    impl_->thread.join();
}

std::string FeedServer::url() const
{
    return fmt::format("ws://127.0.0.1:{}/feed", impl_->endpoint.port());
}

void FeedServer::restart(std::chrono::milliseconds after, std::chrono::milliseconds outage)
{
    asio::co_spawn(impl_->io, impl_->restart(after, outage), [](std::exception_ptr) {});
}
