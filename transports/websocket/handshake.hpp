// The client's opening handshake, RFC 6455 section 4.1, without I/O.
#pragma once

#include "answer.hpp"
#include "extensions.hpp"
#include "url.hpp"

#include <sidecar/transports/websocket.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar::websocket {

/// Returns 16 bytes from the system's source of entropy, in base64. Throws system_error.
[[nodiscard]] std::string make_key();
/// Returns the expected Sec-WebSocket-Accept: SHA-1 of the key and the RFC's identifier, in base64.
[[nodiscard]] std::string accept_of(std::string_view key);

/// The handshake of one connection. The transport owns it meanwhile; sidecar side.
class Handshake final : public http::Exchange {
public:
    /// The options must have passed validate_request(). `secrets`: those of earlier hops, beside
    /// the options' own. `endpoint`: the name in texts; empty: the URL. Errors: handshake_refused,
    /// connect_failed, cancelled. Throws system_error if the system has no entropy.
    Handshake(const Url& url, const WebSocket::Options& options, http::Secrets secrets = {},
              const std::string& endpoint = {});

    // --- once accepted
    /// The subprotocol that the peer chose; empty: none.
    [[nodiscard]] const std::string& subprotocol() const noexcept { return subprotocol_; }
    /// The fields of the answer, as the peer sent them; moves them out.
    [[nodiscard]] std::vector<std::pair<std::string, std::string>> take_headers() noexcept
    {
        return std::exchange(headers_, {});
    }
    /// Empty: nothing is compressed.
    [[nodiscard]] const std::optional<Deflation>& deflation() const noexcept { return deflation_; }

private:
    Handshake(const Url& url, const WebSocket::Options& options, http::Secrets secrets,
              const std::string& endpoint, const std::string& key);
    Result<void> validate(const http::HttpHead& head, std::string_view body) override;
    [[nodiscard]] Failure refuse(std::string why) const;
    [[nodiscard]] Result<void> validate_upgrade(const http::HttpHead& head) const;
    [[nodiscard]] Result<void> agree_on(const http::HttpHead& head);

    const bool is_secure_;                        // sidecar side
    const std::string accept_;                    // sidecar side; the expected Sec-WebSocket-Accept
    const std::vector<std::string> subprotocols_; // sidecar side; offered
    const std::optional<CompressionOptions> compression_;        // sidecar side; offered
    std::string subprotocol_{};                                  // sidecar side
    std::vector<std::pair<std::string, std::string>> headers_{}; // sidecar side
    std::optional<Deflation> deflation_{};                       // sidecar side
};

} // namespace sidecar::websocket
