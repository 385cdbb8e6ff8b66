// SocketOptions: what a socket can be told beyond what everybody wants.
#pragma once

#include <sidecar/clock.hpp>

#include <cstddef>
#include <string>

namespace sidecar {

/// Zero, or empty: as the system does it. What the system refuses fails the connecting, with the
/// option's name. Of a duration the part that does not count is rounded up. On a Unix-domain socket
/// the buffers only; the others, which it does not have, are bad_options.
struct SocketOptions {
    /// SO_RCVBUF and SO_SNDBUF, set before connecting. The system takes at most what the sysctls
    /// net.core.rmem_max and wmem_max allow, without a word, and doubles it for its own needs.
    std::size_t receive_buffer_bytes = 0;
    std::size_t send_buffer_bytes = 0;
    /// TCP_USER_TIMEOUT: for how long what was sent may stay without acknowledgement; milliseconds
    /// count.
    Duration user_timeout{};
    Duration keep_alive_idle{};     ///< TCP_KEEPIDLE: silence before the first probe; seconds count
    Duration keep_alive_interval{}; ///< TCP_KEEPINTVL: between probes; seconds count
    unsigned keep_alive_probes = 0; ///< TCP_KEEPCNT: unanswered ones before the connection is dead
    /// The local address, an IPv4 or IPv6 literal (with a zone like fe80::1%eth0 if need be);
    /// addresses of the peer that are of the other family fail.
    std::string bind_address{};
    /// SO_BUSY_POLL: for how long a read spins on the device's queue; microseconds count. To raise
    /// it above the sysctl net.core.busy_read needs CAP_NET_ADMIN; without it connecting fails.
    Duration busy_poll{};
};

} // namespace sidecar
