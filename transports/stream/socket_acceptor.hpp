// Listens, accepts connections and decides which become clients. Private to the transports.
#pragma once

#include "admission.hpp"
#include "stream.hpp"

#include <sidecar/error.hpp>
#include <sidecar/task.hpp>
#include <sidecar/transports/detail/listen_target.hpp>

#include <memory>
#include <string>

namespace sidecar::stream {

class ConnectionFaults;

/// Checks everything that needs no socket. On an application thread it also reads the variables
/// that systemd sets for socket activation and marks the sockets close-on-exec; on a thread of the
/// library it does not, since getenv() would race with the application's setenv(). Errors:
/// bad_address, bad_options.
[[nodiscard]] Result<void> validate(const ListenTarget& target);

/// Returns the listener's name in failures: "127.0.0.1:80", "[::1]:80", "unix:/run/feed.sock".
[[nodiscard]] std::string listener_name(const ListenTarget& target);

/// Counts a connection of a listener, and owns its socket until it is opened.
class AcceptedTicket;

/// A connection, admitted or not. One that is not admitted gets an answer or is closed. Its last
/// owner may be on any thread, also after the loop's end: the link keeps a client's options.
struct AcceptedSocket {
    std::string peer;  ///< "192.0.2.1:50000", "unix:pid=12,uid=1000"
    std::string local; ///< our address, as the client used it
    Admission admission = Admission::admitted;
    /// It counts as a client until this is released. Null: moved from.
    std::shared_ptr<AcceptedTicket> ticket{};
    std::shared_ptr<ConnectionFaults> faults{}; ///< null: none

    /// Returns the connected stream, with the faults, for the client's connect(). Once; later it
    /// throws system_error operation_aborted. Side: the loop's thread. Lifetime: `ctx` is that of
    /// the client's connect(). Throws system_error without memory for another socket.
    [[nodiscard]] std::shared_ptr<Stream> open(Context ctx) const;
};

/// A listener on sockets. The transport owns it. Side: the loop's thread.
///
/// If the system has no descriptor or no memory for a connection, accept() logs it once, retries at
/// growing intervals, and logs the end. It answers at most AdmissionControl::max_refused refused
/// connections at a time; it closes further ones at once.
class SocketAcceptor {
public:
    /// The target must have passed validate().
    explicit SocketAcceptor(ListenTarget target);
    SocketAcceptor(const SocketAcceptor&) = delete;
    SocketAcceptor& operator=(const SocketAcceptor&) = delete;
    ~SocketAcceptor();

    /// Opens the listening sockets. Throws Exception with the address and the reason:
    /// connect_failed, no_resources, bad_options (no such socket from systemd), those of
    /// Context::resolve().
    [[nodiscard]] Task<> bind(Context ctx);
    /// Waits for the next connection, after bind(). Throws system_error operation_aborted after
    /// close(), Exception disconnected if the listening socket fails.
    [[nodiscard]] Task<AcceptedSocket> accept(Context ctx);
    /// Closes the listening sockets and removes the file of a Unix-domain socket. Connections that
    /// were accepted live on. A socket of systemd stays open in the process, for the next bind().
    void close() noexcept;
    void abort() noexcept { close(); }
    /// The bound address, "127.0.0.1:8080"; of several the first. Empty before bind().
    [[nodiscard]] std::string local() const;

private:
    struct State;
    std::shared_ptr<State> state_; // sidecar side; a pending wait shares it
};

} // namespace sidecar::stream
