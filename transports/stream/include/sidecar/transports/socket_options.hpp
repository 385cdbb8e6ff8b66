// SocketOptions: what a socket can be told beyond what everybody wants.
#pragma once

#include <sidecar/clock.hpp>

#include <cstddef>
#include <string>

namespace sidecar {

/// Zero, or empty: as the system does it. What the system refuses fails the connecting, with the
/// option's name.
struct SocketOptions {
    std::size_t receive_buffer_bytes = 0; ///< SO_RCVBUF
    std::size_t send_buffer_bytes = 0;    ///< SO_SNDBUF
    /// TCP_USER_TIMEOUT: for how long what was sent may stay without acknowledgement; milliseconds
    /// count.
    Duration user_timeout{};
    Duration keep_alive_idle{};     ///< TCP_KEEPIDLE: silence before the first probe; seconds count
    Duration keep_alive_interval{}; ///< TCP_KEEPINTVL: between probes; seconds count
    unsigned keep_alive_probes = 0; ///< TCP_KEEPCNT: unanswered ones before the connection is dead
    std::string bind_address{};     ///< the local address, an IPv4 or IPv6 literal
    Duration busy_poll{};           ///< SO_BUSY_POLL; microseconds count
};

} // namespace sidecar
