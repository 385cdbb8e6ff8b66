// ListenTarget: what every acceptor on sockets makes of its options.
#pragma once

#include <sidecar/faults.hpp>
#include <sidecar/transports/socket_options.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace sidecar::stream {

/// Where to listen, and for how many.
struct ListenTarget {
    /// An address, or a name that is resolved; a name of several addresses listens on all that this
    /// machine has, "localhost" on 127.0.0.1 and ::1. "::" also listens on all IPv4 addresses.
    std::string address = "127.0.0.1";
    std::uint16_t port = 0;      ///< 0: the system chooses
    std::string unix_path{};     ///< used instead of address and port; '@': abstract name
    unsigned unix_mode = 0600;   ///< of the file; an abstract name has none
    std::string activated{};     ///< the name of systemd's sockets, used instead of all above
    std::size_t max_clients = 0; ///< 0: no limit, as for the two below
    std::size_t max_clients_per_address = 0;
    double max_connections_per_second = 0;
    bool no_delay = true;
    bool tcp_keepalive = true;
    SocketOptions socket{};
    std::string endpoint{}; ///< the listener's name in failures
    std::optional<Faults> faults{};
};

/// Makes it of an acceptor's options; without the listener's name.
template <class Options>
[[nodiscard]] ListenTarget listen_target(const Options& options)
{
    return {.address = options.address,
            .port = options.port,
            .unix_path = options.unix_path,
            .unix_mode = options.unix_mode,
            .activated = options.activated,
            .max_clients = options.max_clients,
            .max_clients_per_address = options.max_clients_per_address,
            .max_connections_per_second = options.max_connections_per_second,
            .no_delay = options.no_delay,
            .tcp_keepalive = options.tcp_keepalive,
            .socket = options.socket,
            .faults = options.faults};
}

} // namespace sidecar::stream
