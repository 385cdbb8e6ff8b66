// Makes sockets and sets their options. Private to the transports.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/transports/socket_options.hpp>

#include <boost/asio/ip/tcp.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>

namespace sidecar::stream {

/// The options of a socket, as the transports have them.
struct SocketSetup {
    bool no_delay = true;   ///< TCP_NODELAY
    bool keep_alive = true; ///< SO_KEEPALIVE
    SocketOptions options{};
};

/// What the system refused, with the option's name.
struct Refused {
    error_code ec{};
    std::string what{};
};

/// Errors: bad_options. Without I/O.
[[nodiscard]] Result<void> validate(const SocketSetup& setup, bool is_unix);

/// Opens a stream socket that is close-on-exec from its first moment, which Asio's open() leaves out:
/// a child process that the application starts must not keep a connection of ours open.
template <class Socket>
void open_socket(Socket& socket, const typename Socket::protocol_type& protocol, error_code& ec)
{
    const int fd = ::socket(protocol.family(), protocol.type() | SOCK_CLOEXEC, protocol.protocol());
    if (fd < 0)
        ec = {errno, boost::system::system_category()};
    else if (socket.assign(protocol, fd, ec); ec)
        ::close(fd);
}

/// Sets the options of an open socket of TCP, which is to be connected to `peer`. Empty: the system
/// took all.
[[nodiscard]] std::optional<Refused> set_up_tcp(int socket, const SocketSetup& setup,
                                                const boost::asio::ip::tcp::endpoint& peer);
/// Sets those of an open Unix-domain socket.
[[nodiscard]] std::optional<Refused> set_up_unix(int socket, const SocketSetup& setup);

} // namespace sidecar::stream
