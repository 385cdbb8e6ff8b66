// Makes the stream below a protocol: dials, tunnels through a proxy, secures. Private to the
// transports.
#pragma once

#include "dial.hpp"
#include "faulty_stream.hpp"
#include "proxy.hpp"
#include "socket_setup.hpp"
#include "stream.hpp"

#include <sidecar/faults.hpp>
#include <sidecar/reconnect.hpp>
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

/// Sends the request and reads until the exchange has a verdict. `early` holds bytes that have
/// already arrived; `peer` is the peer's name in TLS failures. Returns the bytes behind the answer,
/// or the refusal. Throws Exception: Exchange::ended(), tls_failed. Lifetime: `stream` and
/// `exchange` outlive the call.
[[nodiscard]] Task<Result<std::vector<std::byte>>> run_exchange(Stream& stream,
                                                                http::Exchange& exchange,
                                                                std::vector<std::byte> early,
                                                                std::string peer);

/// The destination of a connection and the way to it.
struct Target {
    std::string host; ///< a name or an address without brackets; verified by TLS
    std::uint16_t port = 0;
    std::string unix_path{}; ///< used instead of host and port; '@': abstract name
    SocketSetup socket{};
    ProxyOptions proxy{};
    std::optional<TlsOptions> tls{}; ///< empty: no TLS
    std::string without_tls{};       ///< a hint for a peer that speaks no TLS
    std::string endpoint;            ///< the peer's name in failures; without secrets
    std::optional<Faults> faults{};
    bool faults_from_environment = false; ///< if `faults` is empty
};

/// Checks everything that needs no socket. On an application thread it also reads the environment,
/// for TLS, with proxy.from_environment for the proxy, and with faults_from_environment. On a thread of the library it does not:
/// getenv() would race with the application's setenv(). Errors: bad_options, bad_address.
[[nodiscard]] Result<void> validate(const Target& target);

/// Connects, and again after a redirect. A transport owns it and may abort() it at any time. It
/// reports phases to the context: when each step began, with which peer, and which addresses
/// failed. Side: the loop's thread.
class Connector {
public:
    /// `attempt`: chooses the faults, if there are any.
    explicit Connector(const Attempt& attempt)
        : attempt_{.connection = attempt.connection, .number = attempt.number, .link = attempt.link}
    {
    }

    /// Connects; sends no byte of the protocol above. The target must have passed validate().
    /// Throws Exception: those of Dialer::connect(), run_exchange() and secure(), and bad_options
    /// for an invalid proxy in the environment or if nothing has read the environment. After abort() it throws system_error
    /// operation_aborted, or Exception cancelled if the proxy's tunnel was under way.
    [[nodiscard]] Task<Connected> connect(Context ctx, Target target);
    void abort() noexcept;
    /// Names the injected faults that may explain a failure now; empty: there are none.
    [[nodiscard]] std::string failure_note() const
    {
        return faults_ ? faults_->note() : std::string{};
    }

private:
    [[nodiscard]] Task<Connected> dial(Context ctx, Target target);
    [[nodiscard]] Task<Connected> dial_proxy(Context ctx, Target target, http::Proxy proxy);

    Dialer dialer_;                            // sidecar side
    std::shared_ptr<Stream> under_way_;        // sidecar side; dialled, not returned yet
    const Attempt attempt_;                    // sidecar side; without its failure
    std::shared_ptr<ConnectionFaults> faults_; // sidecar side; null: none, or not connecting yet
    bool is_aborted_ = false;                  // sidecar side
};

} // namespace sidecar::stream
