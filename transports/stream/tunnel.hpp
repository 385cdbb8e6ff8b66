// A tunnel through an HTTP proxy, as a stream. Private to the transports.
#pragma once

#include "proxy.hpp"
#include "stream.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sidecar::stream {

/// The stream `below`, which it owns, behind bytes that were read before: with an answer to which they
/// do not belong. Invariant: once the prefix is taken, every call is that of `below`.
class PrefixedStream final : public Stream {
public:
    PrefixedStream(std::vector<std::byte> prefix, std::shared_ptr<Stream> below)
        : prefix_{std::move(prefix)}, below_{std::move(below)}
    {
    }

    Task<std::size_t> read_some(ReadBuffers into, error_code& ec) override;
    std::size_t try_read(ReadBuffers into, error_code& ec) override;
    bool is_drained() const noexcept override { return prefix_.empty() && below_->is_drained(); }
    Task<std::size_t> write_some(std::span<const boost::asio::const_buffer> from,
                                 error_code& ec) override
    {
        return below_->write_some(from, ec);
    }
    Task<> shutdown(error_code& ec) override { return below_->shutdown(ec); }
    void abort() noexcept override { below_->abort(); }
    bool is_aborted() const noexcept override { return below_->is_aborted(); }
    boost::asio::any_io_executor executor() override { return below_->executor(); }
    std::string peer() const override { return below_->peer(); }

private:
    [[nodiscard]] std::size_t take(const ReadBuffers& into, error_code& ec);

    std::vector<std::byte> prefix_;       // sidecar side; the part that is not taken
    const std::shared_ptr<Stream> below_; // sidecar side
};

/// Writes a handshake's request. An error is no verdict yet: a peer that refuses may have said so, and
/// closed, before it had read all.
[[nodiscard]] Task<error_code> write_all(Stream& stream, const std::string& text);

/// Asks the proxy at the other end of `below` for a tunnel to the host, and returns the stream that
/// leads through it: `below` itself, or a PrefixedStream with the bytes behind the proxy's answer. `endpoint` is what failures call the host. Throws Exception: connect_failed;
/// operation_aborted once `below` was aborted.
[[nodiscard]] Task<std::shared_ptr<Stream>> tunnel(Context ctx, std::shared_ptr<Stream> below,
                                                   http::Proxy proxy, std::string host,
                                                   std::uint16_t port, std::string endpoint);

} // namespace sidecar::stream
