// Makes a connection: looks the name up, tries its addresses, gives the first that answers. DialPlan
// decides, without I/O; the Dialer does it. Private to the transports.
#pragma once

#include "socket_setup.hpp"
#include "stream.hpp"

#include <sidecar/clock.hpp>
#include <sidecar/error.hpp>
#include <sidecar/loop_event.hpp>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sidecar::stream {

using Endpoint = boost::asio::ip::tcp::endpoint;

/// RFC 8305 section 4: the families take turns, the first one being that of the first address; the
/// order within each stays as the resolver made it (RFC 6724).
[[nodiscard]] std::vector<Endpoint> alternate_families(
    const std::vector<boost::asio::ip::address>& addresses, std::uint16_t port);

/// "address:port", an IPv6 address in brackets.
[[nodiscard]] std::string to_text(const Endpoint& endpoint);

/// Whether the system refused a resource: no descriptor, no memory.
[[nodiscard]] bool is_without_resources(error_code ec) noexcept;

/// Attempts to connect, one address after the other, of which several may be under way (RFC 8305
/// section 5). Owned by the dialling coroutine, which does what next() says and tells what came of
/// it. Invariant: an attempt begins once.
class DialPlan {
public:
    /// How long an attempt is alone before the next begins beside it.
    static constexpr auto attempt_delay = std::chrono::milliseconds{250};

    DialPlan(std::vector<Endpoint> endpoints, TimePoint now);

    /// The attempt to begin now, which so has begun; empty: none is due.
    [[nodiscard]] std::optional<std::size_t> next(TimePoint now);
    /// When the next is due, if none fails before; max(): there is no next.
    [[nodiscard]] TimePoint next_at() const noexcept;
    /// This attempt has failed; the next is due at once. `why`: where the code does not say it.
    void failed(std::size_t attempt, error_code ec, TimePoint now, std::string why = {});
    [[nodiscard]] bool has_failed(std::size_t attempt) const
    {
        return attempts_.at(attempt).has_failed;
    }
    /// All have begun and failed.
    [[nodiscard]] bool is_over() const noexcept;

    [[nodiscard]] const Endpoint& endpoint(std::size_t attempt) const
    {
        return attempts_.at(attempt).endpoint;
    }
    /// Where the attempts under way hang, and how others have failed: "192.0.2.1:80 and
    /// 192.0.2.2:80; [2001:db8::1]:80: Network is unreachable".
    [[nodiscard]] std::string describe() const;
    /// The address that won, and how others have failed.
    [[nodiscard]] std::string describe_won(std::size_t attempt) const;
    /// Once it is over: no_resources, if the system refused any attempt one, else connect_failed.
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
    std::size_t begun_ = 0;         // sidecar side; the first so many
    TimePoint next_at_;             // sidecar side; if there is a next
};

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
