// Makes a connection: looks the name up, tries its addresses, gives the first that answers. Private
// to the transports.
#pragma once

#include "socket_setup.hpp"
#include "stream.hpp"

#include <sidecar/loop_event.hpp>

#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <memory>
#include <string>

namespace sidecar::stream {

/// TCP's simultaneous open: a connect to a free port of the ephemeral range may meet itself, and
/// then talks to itself. Such a one is refused.
[[nodiscard]] bool is_connected_to_itself(const boost::asio::ip::tcp::socket& socket);

/// Connects once; owned by a transport, which may abort() it at any time. What decides is a
/// DialPlan; this opens the sockets it asks for. Invariant: when connect() has ended, all sockets
/// but the winner's are closed. Side: the loop's thread.
class Dialer {
public:
    /// `endpoint` is what failures call the other side. Gives a connected stream. Throws Exception:
    /// connect_failed, no_resources, and what Context::resolve() does; operation_aborted after
    /// abort(). The context's phase names the addresses at which it hangs, and at last the one that
    /// won and how others have failed.
    [[nodiscard]] Task<std::shared_ptr<Stream>> connect(Context ctx, std::string host,
                                                        std::uint16_t port, SocketSetup setup,
                                                        std::string endpoint);
    /// The same for a Unix-domain socket; '@' in front of the path: an abstract name. A server whose
    /// backlog is full is waited for.
    [[nodiscard]] Task<std::shared_ptr<Stream>> connect_unix(Context ctx, std::string path,
                                                             SocketSetup setup,
                                                             std::string endpoint);
    void abort() noexcept;

private:
    class Attempts;
    std::shared_ptr<Attempts> attempts_; // sidecar side; while connect() tries addresses
    LoopEvent aborted_;                  // sidecar side; set with is_aborted_
    bool is_aborted_ = false;            // sidecar side
};

} // namespace sidecar::stream
