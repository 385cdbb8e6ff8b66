// Where a redirection leads, and what may be sent there. Without I/O.
#pragma once

#include <sidecar/transports/websocket.hpp>

#include <set>
#include <string>
#include <string_view>

namespace sidecar::websocket {

/// The URL that a Location field means, RFC 3986 section 5.2; http and https stand for ws and wss.
/// `base` is the URL that was asked. The fragment goes. What is no URL for us is left to
/// parse_url().
[[nodiscard]] std::string resolve_location(std::string_view base, std::string_view location);

/// The way of one handshake over redirections. Owned by the transport while it connects; sidecar
/// side. Invariants: the scheme never becomes less secure; what an option or a header holds as a
/// credential stays behind for good once the way has left its host or port; no URL is asked twice.
class Redirects {
public:
    /// The options must have passed WebSocket::check().
    explicit Redirects(const WebSocket::Options& options);

    /// What to connect with now.
    [[nodiscard]] const WebSocket::Options& options() const noexcept { return options_; }
    /// Takes the refusal of a handshake; true: it is a redirection, and options() lead there now.
    /// False: it is none, or none is to be followed. Errors: handshake_refused for one that must
    /// not be followed, with its status and Location.
    [[nodiscard]] Result<bool> follow(const Failure& refusal);

private:
    [[nodiscard]] std::string judge(const std::string& to) const;
    void leave_credentials();

    WebSocket::Options options_;  // sidecar side; of the present hop
    std::set<std::string> asked_; // sidecar side; with the one at hand
};

} // namespace sidecar::websocket
