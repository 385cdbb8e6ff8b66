// Opens listening sockets: TCP, Unix-domain, those that systemd passes. Private to the transports.
#pragma once

#include "socket_acceptor.hpp"

#include <sidecar/context.hpp>

#include <boost/asio/posix/stream_descriptor.hpp>

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

namespace sidecar::stream {

/// Sockets that listen.
struct Listening {
    std::vector<boost::asio::posix::stream_descriptor> sockets{};
    /// Removes the file of a Unix-domain socket at its end, unless another program has replaced it.
    /// Release it before the socket: while that is open no other file has its inode.
    std::shared_ptr<void> file{};
};

/// Opens them. Throws Exception: as SocketAcceptor::bind().
[[nodiscard]] Task<Listening> open_listening(Context ctx, const ListenTarget& target);

/// The sockets that systemd passed (sd_listen_fds(3)), from descriptor 3 on, by name; or why there
/// are none. The arguments are the values of LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, null if they
/// are not set. Pure. Errors: bad_options.
[[nodiscard]] Result<std::vector<std::string>> parse_activation(const char* pid, const char* fds,
                                                                const char* names, pid_t self);

} // namespace sidecar::stream
