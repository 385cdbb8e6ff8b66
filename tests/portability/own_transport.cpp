#include "own_transport.hpp"

#include <sidecar/sidecar.hpp>

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <optional>

namespace {

using boost::asio::use_awaitable;

/// Has Asio's objects of its own, compiled as this file is.
class OwnTransport {
public:
    struct Options {
        int fd = -1;
    };
    explicit OwnTransport(const Options& options) : fd_{options.fd} {}
    sidecar::Task<> connect(sidecar::Context ctx)
    {
        socket_.emplace(ctx.executor(), boost::asio::local::stream_protocol{}, fd_);
        co_return;
    }
    sidecar::Task<> read(sidecar::Context, sidecar::Sink& sink)
    {
        const auto size =
            co_await socket_->async_read_some(boost::asio::buffer(memory_), use_awaitable);
        (void)sink.put_bytes(std::span{memory_}.first(size));
    }
    sidecar::Task<> write(sidecar::Context, sidecar::Batch batch)
    {
        for (const auto& message : batch) {
            const auto bytes = boost::asio::buffer(message.bytes().data(), message.size());
            co_await boost::asio::async_write(*socket_, bytes, use_awaitable);
        }
    }
    sidecar::Task<> close(sidecar::Context, sidecar::CloseReason) { co_return; }
    void abort() noexcept
    {
        boost::system::error_code ec;
        if (socket_)
            socket_->close(ec);
    }

private:
    int fd_;
    std::optional<boost::asio::local::stream_protocol::socket> socket_;
    std::array<std::byte, 4096> memory_{};
};

} // namespace

std::unique_ptr<sidecar::Feed> make_own_feed(int fd)
{
    return std::make_unique<sidecar::Sidecar<OwnTransport>>(OwnTransport::Options{.fd = fd});
}
