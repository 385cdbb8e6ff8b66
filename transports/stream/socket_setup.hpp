// What a socket is told before it connects. Private to the transports.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/transports/socket_options.hpp>

#include <boost/asio/ip/tcp.hpp>

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

/// Why these can be no options; empty: they can. Without I/O.
[[nodiscard]] std::string judge(const SocketSetup& setup, bool is_unix);

/// Tells an open socket of TCP, which is to be connected to `peer`. Empty: all was taken.
[[nodiscard]] std::optional<Refused> set_up_tcp(int socket, const SocketSetup& setup,
                                                const boost::asio::ip::tcp::endpoint& peer);
/// Tells an open Unix-domain socket.
[[nodiscard]] std::optional<Refused> set_up_unix(int socket, const SocketSetup& setup);

} // namespace sidecar::stream
