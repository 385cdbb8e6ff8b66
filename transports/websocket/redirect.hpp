// Follows redirects: where they lead, and which options may go there. Without I/O.
#pragma once

#include "text.hpp"

#include <sidecar/transports/websocket.hpp>

#include <set>
#include <string>
#include <string_view>

namespace sidecar::websocket {

/// Returns the URL that a Location field means, RFC 3986 section 5.2; http and https become ws and
/// wss. `base` is the URL that was asked. Drops the fragment. parse_url() judges a result that is
/// no URL.
[[nodiscard]] std::string resolve_location(std::string_view base, std::string_view location);

/// The redirects of one handshake. The transport owns it while it connects; sidecar side.
/// Invariants: the scheme never becomes less secure; after a redirect to another host or port only
/// public options are sent, even back at the first host; no URL is asked twice; a secret of one hop
/// stays secret in all later hops.
class Redirects {
public:
    /// The options must have passed WebSocket::check().
    explicit Redirects(const WebSocket::Options& options);

    /// The options of the current hop.
    [[nodiscard]] const WebSocket::Options& options() const noexcept { return options_; }
    /// The secrets of all hops so far.
    [[nodiscard]] const http::Secrets& secrets() const noexcept { return secrets_; }
    /// The name of the current hop in texts.
    [[nodiscard]] const std::string& endpoint() const noexcept { return endpoint_; }
    /// Judges the refusal of a handshake. True: it redirects, and options() are those of the new
    /// hop. False: it does not redirect, or max_redirects is zero. Errors: handshake_refused for a
    /// redirect that must not be followed, with its status and Location.
    [[nodiscard]] Result<bool> follow(const Failure& refusal);

private:
    [[nodiscard]] Result<void> validate(const std::string& to) const;
    void keep_public_options();

    WebSocket::Options options_;  // sidecar side; of the current hop
    http::Secrets secrets_;       // sidecar side
    std::string endpoint_;        // sidecar side; of the current hop
    std::set<std::string> asked_; // sidecar side; URLs, the current one included
};

} // namespace sidecar::websocket
