// Where a redirection leads, and what may be sent there. Without I/O.
#pragma once

#include "text.hpp"

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
/// side. Invariants: the scheme never becomes less secure; once the way has left its host or port, it
/// carries only what is public, also when it comes back; no URL is asked twice; a secret of one hop is
/// one for all later hops.
class Redirects {
public:
    /// The options must have passed WebSocket::check().
    explicit Redirects(const WebSocket::Options& options);

    /// Those to connect with now.
    [[nodiscard]] const WebSocket::Options& options() const noexcept { return options_; }
    /// Of all hops so far.
    [[nodiscard]] const http::Secrets& secrets() const noexcept { return secrets_; }
    /// The name of the present hop in texts.
    [[nodiscard]] std::string endpoint() const;
    /// Takes the refusal of a handshake; true: it is a redirection, and options() lead there now.
    /// False: it is none, or none is to be followed. Errors: handshake_refused for one that must
    /// not be followed, with its status and Location.
    [[nodiscard]] Result<bool> follow(const Failure& refusal);

private:
    [[nodiscard]] Result<void> validate(const std::string& to) const;
    void keep_public_options();

    WebSocket::Options options_;  // sidecar side; of the present hop
    http::Secrets secrets_;       // sidecar side
    std::set<std::string> asked_; // sidecar side; with the one at hand
};

} // namespace sidecar::websocket
