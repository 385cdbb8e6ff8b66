// The client's side of the opening handshake, RFC 6455 section 4.1, without any I/O.
#pragma once

#include "answer.hpp"
#include "extensions.hpp"
#include "url.hpp"

#include <sidecar/transports/websocket.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar::websocket {

/// 16 bytes from the system's source of entropy, in base64. Throws system_error.
[[nodiscard]] std::string make_key();
/// What Sec-WebSocket-Accept must be: SHA-1 of the key and of the RFC's identifier, in base64.
[[nodiscard]] std::string accept_of(std::string_view key);

/// Makes the request and judges the answer. The owner of the stream writes request(), then passes the
/// bytes that it reads to take() until that returns a verdict. Every verdict comes as soon as the
/// bytes allow it, whatever follows them. Owned by the transport for the time of the handshake;
/// sidecar side. Invariant: memory and time are bounded by `max_head_bytes`, whatever the peer sends.
class Handshake {
public:
    struct Accepted {
        std::size_t consumed_bytes = 0;       ///< of what take() was given; frames may follow
        std::string subprotocol{};            ///< that the peer chose; empty: none
        std::optional<Deflation> deflation{}; ///< none: nothing is compressed
    };

    /// The options must have passed validate_request(). `secrets`: those of the way to here, beside
    /// the options' own. `endpoint`: for texts; empty: the URL. Throws system_error if there is no
    /// entropy.
    Handshake(const Url& url, const WebSocket::Options& options, http::Secrets secrets = {},
              std::string endpoint = {});

    [[nodiscard]] const std::string& request() const noexcept { return request_; }
    /// Takes in more of the answer. Nothing: all of it was taken, and more is needed. Not to be
    /// called again after a verdict. Errors: handshake_refused.
    [[nodiscard]] std::optional<Result<Accepted>> take(std::span<const std::byte> bytes);
    /// What the end of the stream means before there is a verdict; `cause` if it did not end in
    /// order, and then what became of the connection. Errors: connect_failed, cancelled.
    [[nodiscard]] Failure ended(error_code cause = {}, std::string_view fate = "broke") const;

private:
    [[nodiscard]] Failure refusal(std::string why, FailureDetails details = {}) const;
    [[nodiscard]] Failure refused(const Failure& why) const;
    [[nodiscard]] Failure too_large(std::string_view what) const;
    [[nodiscard]] Result<Accepted> judge(std::string_view rest) const;
    [[nodiscard]] Result<void> validate(const http::HttpHead& head) const;

    http::Secrets secrets_;                               // sidecar side
    const std::string endpoint_;                          // sidecar side; without secrets
    const std::string key_;                               // sidecar side
    const std::vector<std::string> subprotocols_;         // sidecar side; offered
    const std::optional<CompressionOptions> compression_; // sidecar side; offered
    const std::size_t max_head_bytes_;                    // sidecar side
    std::string request_;                                 // sidecar side
    http::HeadReader reader_;                             // sidecar side
};

} // namespace sidecar::websocket
