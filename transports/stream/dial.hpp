// Makes a connection: resolves the name, tries its addresses, returns the first that connects.
// DialPlan decides, without I/O; the Dialer acts. Private to the transports.
#pragma once

#include "socket_setup.hpp"
#include "stream.hpp"

#include <sidecar/clock.hpp>
#include <sidecar/error.hpp>
#include <sidecar/loop_event.hpp>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sidecar::stream {

class SocketStream;

using Endpoint = boost::asio::ip::tcp::endpoint;

/// Orders the addresses as RFC 8305 section 4 says: families alternate, beginning with that of the
/// first address. Within a family the resolver's order (RFC 6724) stays.
[[nodiscard]] std::vector<Endpoint> alternate_families(
    const std::vector<boost::asio::ip::address>& addresses, std::uint16_t port);

/// Returns "address:port", with brackets around an IPv6 address.
[[nodiscard]] std::string to_text(const Endpoint& endpoint);

using UnixAddress = boost::asio::local::stream_protocol::endpoint;
/// Returns a Unix-domain socket's address for the system; '@': an abstract name.
[[nodiscard]] UnixAddress unix_address(std::string path);

/// Whether the system refused a resource, such as a descriptor or memory.
[[nodiscard]] bool is_without_resources(error_code ec) noexcept;

/// Decides when to begin which attempt to connect; several may be under way (RFC 8305 section 5).
/// The dialling coroutine owns it, does what next() says and reports each failure to it. Invariant:
/// an attempt begins once.
class DialPlan {
public:
    /// After this time without a result the next attempt begins in parallel.
    static constexpr auto attempt_delay = std::chrono::milliseconds{250};

    DialPlan(std::vector<Endpoint> endpoints, TimePoint now);

    /// Begins the attempt that is due and returns it; empty: none is due.
    [[nodiscard]] std::optional<std::size_t> next(TimePoint now);
    /// When the next attempt is due, unless one fails before; max(): there is no next one.
    [[nodiscard]] TimePoint next_at() const noexcept;
    /// Records that this attempt failed; the next one is due at once. `why` explains what the code
    /// does not say.
    void failed(std::size_t attempt, error_code ec, TimePoint now, std::string why = {});
    [[nodiscard]] bool has_failed(std::size_t attempt) const
    {
        return attempts_.at(attempt).has_failed;
    }
    /// Whether all attempts have begun and failed.
    [[nodiscard]] bool is_over() const noexcept;

    [[nodiscard]] const Endpoint& endpoint(std::size_t attempt) const
    {
        return attempts_.at(attempt).endpoint;
    }
    /// Names the addresses under way and how others failed: "192.0.2.1:80 and 192.0.2.2:80;
    /// [2001:db8::1]:80: Network is unreachable".
    [[nodiscard]] std::string describe() const;
    /// Names the address that connected and how others failed.
    [[nodiscard]] std::string describe_won(std::size_t attempt) const;
    /// Returns the failure of the whole plan once is_over(): no_resources if the system refused a
    /// resource to any attempt, else connect_failed.
    [[nodiscard]] Failure failure(std::string endpoint) const;

private:
    struct Attempt {
        Endpoint endpoint;
        bool has_failed = false;
        error_code ec{};
        std::string why{};
    };
    [[nodiscard]] std::string describe_failed() const;

    std::vector<Attempt> attempts_; // sidecar side
    std::size_t begun_ = 0;         // sidecar side; attempts that have begun
    TimePoint next_at_;             // sidecar side; unused after the last attempt
};

/// Whether the socket is connected to itself. TCP's simultaneous open makes that possible: a
/// connect to a free port of the ephemeral range may choose that port as its source. The Dialer
/// refuses such a connection.
[[nodiscard]] bool is_connected_to_itself(const boost::asio::ip::tcp::socket& socket);

/// Connects once. A transport owns it and may abort() it at any time. A DialPlan decides; this
/// class opens the sockets that the plan asks for. Invariant: when connect() ends, all sockets but
/// the winner's are closed. Side: the loop's thread.
class Dialer {
public:
    /// Returns a connected stream. `endpoint` is the peer's name in failures. Throws Exception:
    /// connect_failed, no_resources, those of Context::resolve(); system_error operation_aborted
    /// after abort(). The context's phase names the addresses under way, at last the one that
    /// connected, and how others failed.
    [[nodiscard]] Task<std::shared_ptr<Stream>> connect(Context ctx, std::string host,
                                                        std::uint16_t port, SocketSetup setup,
                                                        std::string endpoint);
    /// Does the same for a Unix-domain socket; '@' in front of the path: an abstract name. While
    /// the server's backlog is full it retries at growing intervals, since Linux returns EAGAIN and
    /// signals nothing.
    [[nodiscard]] Task<std::shared_ptr<Stream>> connect_unix(Context ctx, std::string path,
                                                             SocketSetup setup,
                                                             std::string endpoint);
    void abort() noexcept;

private:
    class Attempts;

    [[nodiscard]] Task<std::shared_ptr<Stream>> add_faults(Context ctx,
                                                           std::shared_ptr<SocketStream> stream,
                                                           std::shared_ptr<ConnectionFaults> faults,
                                                           Duration delay);

    std::shared_ptr<Attempts> attempts_; // sidecar side; set while connect() tries addresses
    LoopEvent aborted_;                  // sidecar side; set with is_aborted_
    bool is_aborted_ = false;            // sidecar side
};

} // namespace sidecar::stream
