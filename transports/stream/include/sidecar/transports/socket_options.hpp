// SocketOptions: socket options that few programs need.
#pragma once

#include <sidecar/clock.hpp>

#include <cstddef>
#include <string>

namespace sidecar {

/// Zero or empty (default): the system's setting. If the system refuses a value, connecting fails
/// and names the option. Durations are rounded up to the unit of the field. A Unix-domain socket
/// has only the two buffers; any other option is bad_options.
struct SocketOptions {
    /// SO_RCVBUF and SO_SNDBUF, in bytes, set before connecting. The system silently limits them to
    /// the sysctls net.core.rmem_max and wmem_max, and doubles them for its own needs.
    std::size_t receive_buffer_bytes = 0;
    std::size_t send_buffer_bytes = 0;
    /// TCP_USER_TIMEOUT, in ms: the longest time that sent data may be unacknowledged.
    Duration user_timeout{};
    Duration keep_alive_idle{};     ///< TCP_KEEPIDLE, in s: silence before the first probe
    Duration keep_alive_interval{}; ///< TCP_KEEPINTVL, in s: time between probes
    unsigned keep_alive_probes = 0; ///< TCP_KEEPCNT: unanswered probes until the connection is dead
    /// The local IPv4 or IPv6 literal (zone: fe80::1%eth0); peers of the other family fail.
    std::string bind_address{};
    /// SO_BUSY_POLL, in us: the time for which a read polls the device's queue. A value above the
    /// sysctl net.core.busy_read needs CAP_NET_ADMIN; without it connecting fails.
    Duration busy_poll{};

    friend bool operator==(const SocketOptions&, const SocketOptions&) = default;
};

} // namespace sidecar
