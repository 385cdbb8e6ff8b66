// The server's part of the opening handshake, RFC 6455 section 4.2, and its pages: what each request
// gets. Without I/O. Private to the transport.
#pragma once

#include "answer.hpp"
#include "extensions.hpp"

#include <sidecar/transports/websocket_server.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar::websocket {

using ServerOptions = WebSocket::Acceptor::Options;
using Request = WebSocket::Acceptor::Request;
using RequestAnswer = WebSocket::Acceptor::RequestAnswer;

/// An answer over HTTP, after which the connection ends.
struct HttpAnswer {
    unsigned status = 0;
    std::string why{}; ///< of a refusal, fit for a text; empty: nothing is wrong
    std::vector<std::pair<std::string, std::string>> fields{};
    std::string body{};        ///< empty with `why`: the status and `why`
    bool is_head_only = false; ///< the answer to HEAD, and 304
};

/// A handshake that is valid.
struct Opening {
    std::string accept;                   ///< Sec-WebSocket-Accept
    std::string subprotocol{};            ///< empty: none
    std::optional<Acceptance> deflation{}; ///< empty: nothing is compressed
    std::vector<std::pair<std::string, std::string>> fields{}; ///< of on_request
};

/// What a request gets: `answer`, or a WebSocket if there is an `opening`.
struct Decision {
    std::optional<Opening> opening{};
    HttpAnswer answer{};
};

/// Checks the options of the handshake and the pages. Errors: bad_options, with an explanation only.
[[nodiscard]] Result<void> validate(const ServerOptions& options);

/// The answer to a connection above a limit.
[[nodiscard]] HttpAnswer unavailable(std::chrono::seconds retry_after, std::string why);
/// The answer to bytes that are no head within the limits; call it if the reader says so.
[[nodiscard]] HttpAnswer refuse_head(const http::HeadReader& reader, const ServerOptions& options);

/// Decides about the request and describes it in `request`, but for what the caller knows: who it is
/// from. on_request is not asked. `is_secure`: over TLS. Throws exceptions of Page::make.
[[nodiscard]] Decision decide(http::HttpHead head, Request& request, const ServerOptions& options,
                              bool is_secure);
/// Applies the answer of on_request to a decision with an opening.
void apply(const RequestAnswer& answer, const Request& request, Decision& decision);

/// Returns the 101 answer.
[[nodiscard]] std::string bytes_of(const Opening& opening);
/// Returns "403 Forbidden".
[[nodiscard]] std::string status_text(unsigned status);
/// Returns the whole answer.
[[nodiscard]] std::string bytes_of(const HttpAnswer& answer, std::chrono::sys_seconds now);

/// Compares in a time that depends on the size of `given` only.
[[nodiscard]] bool equal_in_constant_time(std::string_view given,
                                          std::string_view secret) noexcept;

} // namespace sidecar::websocket
