// The part that connections with equal options share: OpenSSL's SSL_CTX and sessions. Private to
// TLS.
#pragma once

#include "errors.hpp"
#include "files.hpp"
#include "openssl.hpp"

#include <sidecar/error.hpp>
#include <sidecar/transports/tls_options.hpp>

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace sidecar::stream {

/// Keeps TLS sessions of earlier connections for the next ones to the same peer. The key names the
/// server and the verified name. Invariants: at most max_sessions, the oldest is dropped first;
/// take() returns each session once (a ticket used twice lets others see that both connections are
/// from one client, RFC 8446 appendix C.4). Side: any thread.
class TlsSessions {
public:
    static constexpr std::size_t max_sessions = 64;
    static constexpr std::size_t max_per_key = 4;
    static constexpr std::size_t max_ticket_bytes = 16u << 10;

    /// Keeps a copy, unless the session cannot be resumed.
    void put(const std::string& key, SSL_SESSION* session);
    /// Removes and returns the latest session; null: none. Drops sessions that have expired, or
    /// whose certificate has.
    [[nodiscard]] SessionPtr take(const std::string& key);
    /// Drops all sessions of the key: a server that refused one may refuse the others too.
    void forget(const std::string& key);

private:
    struct Kept {
        std::string key;
        SessionPtr session;
    };

    std::mutex mutex_;
    std::vector<Kept> kept_; // both: guarded by mutex_; the oldest first
};

/// An SSL_CTX made from options: trust, certificates, versions, ALPN. Connections share it, with a
/// client's cache of the process, or a TlsServerContext. Invariant: after it is made only its
/// sessions change, so any thread may use it.
struct TlsContext {
    const TlsOptions options;             // both: constant; a server's has what both roles have
    const std::string stamp;              // both: constant; identifies the files it was made from
    const TlsRole role = TlsRole::client; // both: constant
    std::string protocols{}; // both: constant once made; options.alpn, as RFC 7301 has it
    SslContextPtr ssl{};     // both: constant once made
    std::vector<Identity> identities{}; // both: constant once made; a server's, the default first
    mutable TlsSessions sessions{};     // both: guarded by its mutex; a client's

    [[nodiscard]] bool is_system_trust() const noexcept;
};

/// Makes a context with versions, and without trust, certificates and sessions. Errors: tls_failed.
[[nodiscard]] Result<std::shared_ptr<TlsContext>> begin_context(TlsOptions options,
                                                                std::string stamp, TlsRole role);
/// Validates what both roles have: alpn and minimum.
[[nodiscard]] Result<void> validate_protocols(const TlsOptions& options);
/// Loads the authorities that the options name.
[[nodiscard]] Result<void> trust_authorities(TlsContext& made);
/// Makes connections of `ssl` present the certificate, unless they choose another.
[[nodiscard]] Result<void> present(SSL_CTX* ssl, const Identity& identity);
/// Whether the session or its certificate has expired. A resumed handshake shows no certificate, so
/// its dates are checked here.
[[nodiscard]] bool is_over(SSL_SESSION* session);

/// Refuses an option's value; another attempt cannot help.
[[nodiscard]] Failure bad_tls_option(std::string why);

/// Returns the failure of OpenSSL itself, with its text; empties the thread's error queue.
[[nodiscard]] Failure openssl_failed();

} // namespace sidecar::stream
