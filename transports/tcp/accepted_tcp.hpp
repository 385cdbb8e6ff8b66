// AcceptedTcp: a connection on its way from Tcp's acceptor to its client. Private to Tcp.
#pragma once

#include "socket_acceptor.hpp"
#include "tls/tls.hpp"

#include <sidecar/transports/tcp.hpp>

namespace sidecar::detail {

/// Side: the loop's thread.
struct AcceptedTcp {
    stream::AcceptedSocket socket;
    stream::TlsServerContextPtr tls; ///< null: no TLS
    TcpClose close;
};

} // namespace sidecar::detail
