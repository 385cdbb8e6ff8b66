// Opens sockets and sets their options. An option that the system refuses fails the connect: a
// program that sets one relies on its effect. Private to the transports.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/transports/socket_options.hpp>

#include <boost/asio/ip/tcp.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>

namespace sidecar::stream {

class ConnectionFaults;

/// The socket options that a transport asks for, and the faults of its sockets.
struct SocketSetup {
    bool no_delay = true;      ///< TCP_NODELAY
    bool tcp_keepalive = true; ///< SO_KEEPALIVE
    SocketOptions options{};
    std::shared_ptr<ConnectionFaults> faults{}; ///< null: none
};

/// An option that the system refused, with its name.
struct Refused {
    error_code ec{};
    std::string what{};
};

/// Checks the values without I/O. Errors: bad_options.
[[nodiscard]] Result<void> validate(const SocketSetup& setup, bool is_unix);

/// Opens a stream socket with close-on-exec set from the start, which Asio's open() does not do: a
/// child process of the application must not keep our connection open.
template <class Socket>
void open_socket(Socket& socket, const typename Socket::protocol_type& protocol, error_code& ec)
{
    const int fd = ::socket(protocol.family(), protocol.type() | SOCK_CLOEXEC, protocol.protocol());
    if (fd < 0)
        ec = {errno, boost::system::system_category()};
    else if (socket.assign(protocol, fd, ec); ec)
        ::close(fd);
}

/// Sets the options of an open TCP socket before it connects to `peer`. Empty: the system accepted
/// all.
[[nodiscard]] std::optional<Refused> set_up_tcp(int socket, const SocketSetup& setup,
                                                const boost::asio::ip::tcp::endpoint& peer);
/// Sets the options of an open Unix-domain socket. Empty: the system accepted all.
[[nodiscard]] std::optional<Refused> set_up_unix(int socket, const SocketSetup& setup);

} // namespace sidecar::stream
