// Makes the stream that a transport talks over: dials, tunnels through a proxy, secures. Private to
// the transports.
#pragma once

#include "dial.hpp"
#include "proxy.hpp"
#include "socket_setup.hpp"
#include "stream.hpp"

#include <sidecar/transports/proxy_options.hpp>
#include <sidecar/transports/tls_options.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sidecar::stream {

/// The stream `below`, which it owns, behind bytes that were read before: with an answer to which they
/// do not belong. Invariant: once the prefix is taken, every call is that of `below`.
class PrefixedStream final : public Stream {
public:
    PrefixedStream(std::vector<std::byte> prefix, std::shared_ptr<Stream> below)
        : prefix_{std::move(prefix)}, below_{std::move(below)}
    {
    }

    Task<std::size_t> read_some(ReadBuffers into, error_code& ec) override;
    std::size_t try_read(ReadBuffers into, error_code& ec) override;
    bool is_drained() const noexcept override { return prefix_.empty() && below_->is_drained(); }
    Task<std::size_t> write_some(std::span<const boost::asio::const_buffer> from,
                                 error_code& ec) override
    {
        return below_->write_some(from, ec);
    }
    Task<> shutdown(error_code& ec) override { return below_->shutdown(ec); }
    void abort() noexcept override { below_->abort(); }
    bool is_aborted() const noexcept override { return below_->is_aborted(); }
    boost::asio::any_io_executor executor() override { return below_->executor(); }
    std::string peer() const override { return below_->peer(); }

private:
    [[nodiscard]] std::size_t take(const ReadBuffers& into, error_code& ec);

    std::vector<std::byte> prefix_;       // sidecar side; the part that is not taken
    const std::shared_ptr<Stream> below_; // sidecar side
};

/// Writes a handshake's request. An error is no verdict yet: a peer that refuses may have said so, and
/// closed, before it had read all.
[[nodiscard]] Task<error_code> write_all(Stream& stream, const std::string& text);

/// Where a connection is to go, and how.
struct Target {
    std::string host; ///< a name or an address without brackets; what TLS verifies
    std::uint16_t port = 0;
    std::string unix_path{}; ///< of a Unix-domain socket, in place of host and port; '@': abstract
    SocketSetup socket{};
    ProxyOptions proxy{};
    std::optional<TlsOptions> tls{}; ///< empty: in the clear
    std::string endpoint;            ///< what failures call the other side; no secret in it
};

/// Validates all that needs no socket. With proxy.from_environment it also reads the environment, if
/// the caller is no thread of the library's: getenv() is no match for the application's setenv().
/// Errors: bad_options, bad_address.
[[nodiscard]] Result<void> validate(const Target& target);

/// Connects, and again after a redirection; owned by a transport, which may abort() it at any time.
/// The phases that it tells the context, with what it tells to each, are its trace: when each step
/// began, with whom, and which addresses were tried in vain. Side: the loop's thread.
class Connector {
public:
    /// Gives a stream that is ready for the protocol. The target must have passed check(). Throws
    /// Exception: what Dialer::connect(), tunnel() and secure() do, and bad_options for a proxy in
    /// the environment that makes no sense; operation_aborted after abort(). Nothing of the protocol
    /// above has left before.
    [[nodiscard]] Task<std::shared_ptr<Stream>> connect(Context ctx, Target target);
    void abort() noexcept;

private:
    [[nodiscard]] Task<std::shared_ptr<Stream>> dial(Context ctx, Target target);
    [[nodiscard]] Task<std::shared_ptr<Stream>> dial_proxy(Context ctx, Target target,
                                                           http::Proxy proxy);

    Dialer dialer_;                     // sidecar side
    std::shared_ptr<Stream> under_way_; // sidecar side; dialled, and not given out yet
    bool is_aborted_ = false;           // sidecar side
};

} // namespace sidecar::stream
