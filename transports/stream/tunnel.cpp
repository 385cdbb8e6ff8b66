#include "tunnel.hpp"

#include "proxy.hpp"
#include "tls/tls.hpp"

#include <boost/asio/error.hpp>

#include <span>
#include <utility>
#include <vector>

namespace sidecar::stream {

namespace asio = boost::asio;

Task<error_code> write_all(Stream& stream, const std::string& text)
{
    error_code ec;
    for (std::size_t at = 0; at < text.size() && !ec;) {
        const auto rest = asio::buffer(text) + at;
        at += co_await stream.write_some({&rest, 1}, ec);
    }
    co_return ec;
}

std::size_t PrefixedStream::take(const ReadBuffers& into, error_code& ec)
{
    if (is_aborted()) {
        ec = asio::error::operation_aborted;
        return 0;
    }
    ec = {};
    const auto got = asio::buffer_copy(into, asio::buffer(prefix_));
    prefix_.erase(prefix_.begin(), prefix_.begin() + static_cast<std::ptrdiff_t>(got));
    if (prefix_.empty())
        prefix_ = {};
    return got;
}

Task<std::size_t> PrefixedStream::read_some(ReadBuffers into, error_code& ec)
{
    if (prefix_.empty())
        return below_->read_some(into, ec);
    return [](PrefixedStream& self, ReadBuffers to, error_code& result) -> Task<std::size_t> {
        co_return self.take(to, result);
    }(*this, into, ec);
}

std::size_t PrefixedStream::try_read(ReadBuffers into, error_code& ec)
{
    return prefix_.empty() ? below_->try_read(into, ec) : take(into, ec);
}

Task<std::shared_ptr<Stream>> tunnel(Context ctx, std::shared_ptr<Stream> below, http::Proxy proxy,
                                     std::string host, std::uint16_t port, std::string endpoint)
{
    ctx.phase(Phase::tunnelling, "at " + proxy.shown);
    http::TunnelHandshake handshake{proxy, host, port, std::move(endpoint)};
    const auto write_error = co_await write_all(*below, handshake.request());
    std::vector<std::byte> buffer(4096);
    for (;;) {
        error_code ec;
        const ReadBuffers into{asio::buffer(buffer)};
        const auto got = co_await below->read_some(into, ec);
        if (below->is_aborted())
            ec = asio::error::operation_aborted;
        if (const auto refusal = tls_refusal(ec, "the proxy " + proxy.shown))
            throw Exception{*refusal};
        if (ec)
            throw Exception{handshake.ended(
                write_error && ec != asio::error::operation_aborted ? write_error : ec)};
        const auto bytes = std::span{buffer}.first(got);
        const auto verdict = handshake.take(bytes);
        if (!verdict)
            continue;
        const auto glued = bytes.subspan(verdict->value());
        if (glued.empty())
            co_return below;
        std::vector<std::byte> prefix{glued.begin(), glued.end()};
        co_return std::make_shared<PrefixedStream>(std::move(prefix), std::move(below));
    }
}

} // namespace sidecar::stream
