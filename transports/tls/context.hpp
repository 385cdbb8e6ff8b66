// What connections with the same options share: OpenSSL's SSL_CTX, and sessions. Private to TLS.
#pragma once

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

/// TLS sessions of earlier connections, for the next ones to the same peer. The key says which
/// server, and which name was verified. Invariants: at most max_sessions, the oldest goes first; what
/// take() returns is not returned again (a ticket that is used twice lets others see that both came
/// from here, RFC 8446 appendix C.4). Side: any thread.
class TlsSessions {
public:
    static constexpr std::size_t max_sessions = 64;
    static constexpr std::size_t max_per_key = 4;
    static constexpr std::size_t max_ticket_bytes = 16u << 10;

    /// Keeps a copy, unless it cannot be resumed.
    void put(const std::string& key, SSL_SESSION* session);
    /// The latest; null: none. Drops one that is over, or whose certificate has expired.
    [[nodiscard]] SessionPtr take(const std::string& key);
    /// Drops those of this key: a server that refused one may refuse the others too.
    void forget(const std::string& key);

private:
    struct Kept {
        std::string key;
        SessionPtr session;
    };

    std::mutex mutex_;
    std::vector<Kept> kept_; // both: guarded by mutex_; the oldest first
};

/// An SSL_CTX made of options: trust, own certificate, versions, what is offered. Shared by the
/// connections under way and by a cache of the process. Invariant: but for its sessions it is never
/// changed once it is made, so any thread may use it.
struct TlsContext {
    const TlsOptions options;       // both: constant
    const std::string stamp;        // both: constant; says which files it is made of
    SslContextPtr ssl{};            // both: constant once made
    mutable TlsSessions sessions{}; // both: its own invariant

    [[nodiscard]] bool is_system_trust() const noexcept;
};

/// OpenSSL cannot be used at all, in its own words; empties the thread's queue of errors.
[[nodiscard]] Failure openssl_failed();

} // namespace sidecar::stream
