// Makes the stream that a transport talks over: dials, tunnels through a proxy, secures. Private to
// the transports.
#pragma once

#include "dial.hpp"
#include "stream.hpp"

#include <sidecar/transports/proxy_options.hpp>
#include <sidecar/transports/socket_options.hpp>
#include <sidecar/transports/tls_options.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace sidecar::stream {

/// Where a connection is to go, and how.
struct Target {
    std::string host; ///< a name or an address without brackets; empty where unix_path is not
    std::uint16_t port = 0;
    std::string unix_path; ///< of a Unix-domain socket; '@' in front: an abstract one
    bool no_delay = true;
    bool keep_alive = true;
    SocketOptions socket{};
    ProxyOptions proxy{};
    std::optional<TlsOptions> tls{}; ///< empty: in the clear
    std::string endpoint;            ///< what failures call the other side; no secret in it
};

/// Connects once; owned by a transport, which may abort() it at any time. Side: the loop's thread.
class Connector {
public:
    /// Gives a stream that is ready for the protocol. Throws Exception: what Dialer::connect() does,
    /// tls_failed; operation_aborted after abort(). Nothing of the protocol above has left before.
    [[nodiscard]] Task<std::shared_ptr<Stream>> connect(Context ctx, Target target);
    void abort() noexcept;

private:
    Dialer dialer_;                     // sidecar side
    std::shared_ptr<Stream> under_way_; // sidecar side; dialled, and not given out yet
};

} // namespace sidecar::stream
