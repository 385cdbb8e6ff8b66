// A socket as a Stream: TCP, Unix-domain or accepted.
#pragma once

#include "stream.hpp"

#include <boost/asio/generic/stream_protocol.hpp>

#include <boost/asio/ip/tcp.hpp>

#include <memory>
#include <string>

namespace sidecar::stream {

class HandlerMemory;

/// Converts an address of IPv4 or IPv6.
[[nodiscard]] boost::asio::ip::tcp::endpoint to_tcp(
    const boost::asio::generic::stream_protocol::endpoint& generic);
/// Names the peer: "192.0.2.1:80", "unix:/run/feed.sock"; a client of a Unix-domain socket, which
/// has no name, "unix:pid=12,uid=1000". An IPv4-mapped address is shown as IPv4.
[[nodiscard]] std::string peer_name(int socket,
                                    const boost::asio::generic::stream_protocol::endpoint& peer);
/// Names the socket's local address; empty: unknown.
[[nodiscard]] std::string local_name(int socket);

/// Owns a connected socket and reads and writes it directly. Invariant: the socket is non-blocking.
class SocketStream final : public Stream {
public:
    using Socket = boost::asio::generic::stream_protocol::socket;

    /// Takes ownership of a connected socket. Throws system_error.
    explicit SocketStream(Socket socket);
    ~SocketStream() override { abort(); }

    Task<std::size_t> read_some(ReadBuffers into, error_code& ec) override;
    std::size_t try_read(ReadBuffers into, error_code& ec) override;
    bool is_drained() const noexcept override { return is_drained_; }
    void on_read(std::size_t asked_bytes, std::size_t got) noexcept override
    {
        is_drained_ = got < asked_bytes;
    }
    Task<std::size_t> write_some(std::span<const boost::asio::const_buffer> from,
                                 error_code& ec) override;
    std::size_t try_write(std::span<const boost::asio::const_buffer> from, error_code& ec) override;
    Task<> shutdown(error_code& ec) override;
    void abort() noexcept override;
    /// Closes the socket so that the peer sees a reset (a Unix-domain peer sees the end). Pending
    /// operations end with operation_aborted. Further ones must not begin.
    void reset() noexcept;
    bool is_aborted() const noexcept override { return is_aborted_; }
    boost::asio::any_io_executor executor() override { return socket_.get_executor(); }
    std::string peer() const override;

private:
    Socket socket_;                              // sidecar side
    std::shared_ptr<HandlerMemory> read_memory_; // sidecar side
    bool is_drained_ = false;                    // sidecar side
    bool is_aborted_ = false;                    // sidecar side
};

} // namespace sidecar::stream
