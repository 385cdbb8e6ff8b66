// TLS sessions of earlier connections, for the next ones to the same peer. Private to TLS.
#pragma once

#include "openssl.hpp"

#include <cstddef>
#include <mutex>
#include <string>
#include <vector>

namespace sidecar::stream {

/// Sessions by key, which says under which trust, for which name, with which certificate and of
/// which server they are: none is used under another. Invariants: at most most_sessions, the oldest
/// goes first; what take() gives is not given again (a ticket that is used twice lets others tell
/// that both came from here, RFC 8446 appendix C.4). Side: any thread.
class TlsSessions {
public:
    static constexpr std::size_t most_sessions = 64;
    static constexpr std::size_t most_per_key = 4;
    static constexpr std::size_t most_ticket_bytes = 16u << 10;

    /// Keeps a copy, unless it cannot be resumed.
    void put(const std::string& key, SSL_SESSION* session);
    /// The latest; null if there is none. One that is over, or whose certificate is, is dropped.
    [[nodiscard]] SessionPtr take(const std::string& key);
    /// Drops those of this key: a server that refused one may refuse the others too.
    void forget(const std::string& key);
    [[nodiscard]] std::size_t size() const;

private:
    struct Kept {
        std::string key;
        SessionPtr session;
    };

    mutable std::mutex mutex_;
    std::vector<Kept> kept_; // both: guarded by mutex_; the oldest first
};

/// The process's.
[[nodiscard]] TlsSessions& tls_sessions();

} // namespace sidecar::stream
