// A TCP connection with read-ahead: what the transports on sockets share. Private to them.
#pragma once

#include "dial.hpp"
#include "op_memory.hpp"

#include <sidecar/transport.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace sidecar::stream {

/// Side: the loop's thread. Every awaited call throws boost::system::system_error, or Exception
/// where it knows more. What has come stands in unread(), which is either in the inbox's memory,
/// between receive() and the next consume(), or in a buffer of the connection's own. The coroutine
/// must not wait in between: the inbox's memory is that of all links.
class Connection {
public:
    /// What prepare_fill() makes room for at most, but for a message that is known to be longer;
    /// bytes.
    static constexpr std::size_t read_ahead_bytes = 256u << 10;

    /// Resolves the name and tries its addresses in turn. `endpoint` is what failures call the
    /// other side.
    Task<> connect(Context ctx, std::string host, std::uint16_t port, SocketOptions options,
                   std::string endpoint);

    /// Room behind unread() for the next read. `missing_bytes`: how many are known to be missing
    /// for the next message; the buffer at most doubles at a time, so it grows with what has come,
    /// not with what was claimed.
    [[nodiscard]] boost::asio::mutable_buffer prepare_fill(std::size_t missing_bytes = 0);
    /// So many have come there.
    void commit_fill(std::size_t read_bytes);
    /// Takes in what is there already, if possible where the sink has its messages. Zero without an
    /// error: nothing is, so read_some() into prepare_wait(), and commit_fill(). `missing_bytes` as
    /// in prepare_fill().
    [[nodiscard]] std::size_t receive(Sink& sink, std::size_t missing_bytes, error_code& ec);
    /// A little room behind unread(), in memory that the link has to itself while it waits.
    [[nodiscard]] boost::asio::mutable_buffer prepare_wait();
    /// Waits for bytes. Lifetime: `ec` until it is done.
    [[nodiscard]] Task<std::size_t> read_some(boost::asio::mutable_buffer room, error_code& ec);
    [[nodiscard]] std::span<const std::byte> unread() const noexcept
    {
        return !in_inbox_.empty() ? in_inbox_
                                  : std::span{static_cast<const std::byte*>(buffer_.cdata().data()),
                                              buffer_.size()};
    }
    /// After receive(): once, when all that can be put has been.
    void consume(std::size_t bytes);
    /// While unread() is empty: waits for bytes and puts them where they belong, what comes behind
    /// them into unread(). Gives how many of `rest` have come, at least one.
    Task<std::size_t> fill_into(std::span<std::byte> rest);
    /// The same with what is there already: zero if that is nothing. Throws system_error.
    [[nodiscard]] std::size_t try_fill_into(std::span<std::byte> rest);
    /// How much a read may take in this way before it hands over.
    static constexpr std::size_t batch_bytes = 512u << 10;
    [[nodiscard]] bool is_aborted() const noexcept { return is_aborted_; }

    /// Writes as much as the system takes in one call, at least one byte; gives how much.
    Task<std::size_t> write_some(boost::asio::const_buffer bytes);
    /// Tells the peer that nothing more will come.
    void shutdown_send();
    /// Closes the socket; everything that waits ends with operation_aborted. Again: no effect.
    void abort() noexcept;

    [[nodiscard]] boost::asio::ip::tcp::socket& socket() noexcept { return *socket_; }

private:
    void give_back_memory();
    [[nodiscard]] std::array<boost::asio::mutable_buffer, 2> scatter(std::span<std::byte> rest);
    [[nodiscard]] std::size_t divide(std::span<std::byte> rest, std::size_t got);

    std::optional<boost::asio::ip::tcp::socket> socket_;                   // sidecar side
    std::shared_ptr<OpMemory> read_memory_ = std::make_shared<OpMemory>(); // sidecar side
    boost::beast::flat_buffer buffer_;                                     // sidecar side
    std::span<const std::byte> in_inbox_; // sidecar side; what receive() put there
    bool is_drained_ = false;             // sidecar side; the last read took all that there was
    // sidecar side; what prepare_fill() makes room for, grows with the traffic
    std::size_t read_bytes_ = 256;
    std::size_t asked_bytes_ = 0; // sidecar side; by the read under way
    unsigned idle_fills_ = 0;     // sidecar side; that did without the memory of a large message
    bool is_aborted_ = false;     // sidecar side
};

} // namespace sidecar::stream
