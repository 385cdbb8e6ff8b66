// The client's side of the opening handshake, RFC 6455 section 4.1, without any I/O.
#pragma once

#include "http_head.hpp"
#include "secrets.hpp"
#include "url.hpp"

#include <sidecar/transports/websocket.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar::websocket {

/// Makes the request and judges the answer. Pure: whoever has the stream writes request(), and gives
/// what is read to take() until that gives a verdict; every verdict comes as soon as the bytes allow
/// it, whatever follows them. Owned by the transport for the time of the handshake; sidecar side.
/// Invariant: memory and time are bounded by `max_head_bytes`, whatever the peer sends.
class Handshake {
public:
    struct Accepted {
        std::size_t consumed_bytes = 0; ///< of what take() was given; frames may follow
        std::string subprotocol{};      ///< that the peer chose; empty: none
        /// The peer's Sec-WebSocket-Extensions, all of which were offered; empty: none.
        std::string extensions{};
    };

    /// The options must have passed check_request(). `extensions`: what is offered as
    /// Sec-WebSocket-Extensions. Throws system_error if there is no entropy.
    Handshake(const Url& url, const WebSocket::Options& options, std::string extensions = {});

    [[nodiscard]] const std::string& request() const noexcept { return request_; }
    /// Takes in more of the answer. Nothing: all of it was taken, and more is needed. Not to be
    /// called again after a verdict. Errors: handshake_refused.
    [[nodiscard]] std::optional<Result<Accepted>> take(std::span<const std::byte> bytes);
    /// Of an answer that was accepted, what it chose cannot be; `fault` as in "but ...".
    [[nodiscard]] Failure refused_choice(std::string fault) const;
    /// What the end of the stream means before there is a verdict; `cause` if it did not end in
    /// order, and then what became of the connection. Errors: connect_failed, cancelled.
    [[nodiscard]] Failure ended(error_code cause = {}, std::string_view fate = "broke") const;

private:
    [[nodiscard]] Failure refusal(std::string why, FailureDetails details = {}) const;
    [[nodiscard]] Failure not_http(std::string_view rest) const;
    [[nodiscard]] Failure too_large(std::string_view what) const;
    [[nodiscard]] Failure refused(const http::HttpHead& head, std::string_view body) const;
    [[nodiscard]] Result<Accepted> judge(std::string_view rest) const;
    [[nodiscard]] std::string find_fault(const http::HttpHead& head) const;
    [[nodiscard]] std::string find_fault_in_choice(const http::HttpHead& head) const;
    [[nodiscard]] std::string quote(std::string_view text) const;

    const std::string endpoint_;                  // sidecar side; masked
    const std::string key_;                       // sidecar side
    const std::vector<std::string> subprotocols_; // sidecar side; offered
    const std::string extensions_;                // sidecar side; offered
    const std::size_t max_head_bytes_;            // sidecar side
    http::Secrets secrets_;                       // sidecar side
    std::string request_;                         // sidecar side
    http::HeadReader reader_;                     // sidecar side
    std::size_t interim_bytes_ = 0;               // sidecar side; in answers 1xx
};

} // namespace sidecar::websocket
