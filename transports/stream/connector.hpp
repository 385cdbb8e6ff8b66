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

/// A stream that is ready for the protocol, and the bytes that a proxy sent behind its answer.
struct Connected {
    std::shared_ptr<Stream> stream;
    std::vector<std::byte> early{};
};

/// Sends the request and reads until the exchange has its verdict; `early` has arrived already.
/// Returns the bytes behind the answer, or the refusal. `peer` is what TLS' refusals call the other side.
/// Throws Exception: Exchange::ended(), tls_failed. `stream` and `exchange` must outlive it.
[[nodiscard]] Task<Result<std::vector<std::byte>>> run_exchange(Stream& stream,
                                                                http::Exchange& exchange,
                                                                std::vector<std::byte> early,
                                                                std::string peer);

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
    /// The target must have passed validate(). Throws Exception: what Dialer::connect(), tunnel() and
    /// secure() do, and bad_options for a proxy in
    /// the environment that makes no sense; operation_aborted after abort(). Nothing of the protocol
    /// above has left before.
    [[nodiscard]] Task<Connected> connect(Context ctx, Target target);
    void abort() noexcept;

private:
    [[nodiscard]] Task<Connected> dial(Context ctx, Target target);
    [[nodiscard]] Task<Connected> dial_proxy(Context ctx, Target target, http::Proxy proxy);

    Dialer dialer_;                     // sidecar side
    std::shared_ptr<Stream> under_way_; // sidecar side; dialled, and not given out yet
    bool is_aborted_ = false;           // sidecar side
};

} // namespace sidecar::stream
