// permessage-deflate in the opening handshake, RFC 7692 section 7.1: a client makes the offer and
// judges the answer, a server judges the offers and makes the answer. Without I/O.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/transports/compression_options.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar::websocket {

/// The agreed compression of one connection.
struct Deflation {
    bool peer_keeps_context = true; ///< the peer's messages may refer to earlier ones
    bool keeps_context = true;      ///< our messages may
    int window_bits = 15;           ///< of our window, 8 to 15
    int level = 6;                  ///< of our messages; zero: none is compressed
    int mem_level = 8;
    std::size_t threshold_bytes = 128; ///< our shorter messages are sent plain
};

/// Errors: bad_options.
[[nodiscard]] Result<void> validate(const CompressionOptions& options);

/// Returns the request's Sec-WebSocket-Extensions.
[[nodiscard]] std::string offer_of(const CompressionOptions& options);

/// Judges an answer's Sec-WebSocket-Extensions: all its fields, joined by commas; empty: there was
/// none. Returns no value if the peer compresses nothing. Errors: handshake_refused.
[[nodiscard]] Result<std::optional<Deflation>> agree(
    const std::optional<CompressionOptions>& offered, std::string_view answer);

/// A server's answer to the offer that it takes.
struct Acceptance {
    Deflation deflation;
    std::string answer; ///< the Sec-WebSocket-Extensions field
};

/// Judges a request's Sec-WebSocket-Extensions, as agree() does an answer's. Takes the first offer
/// of permessage-deflate that the options allow, and declines invalid ones (RFC 7692 section 7).
/// Returns no value if it takes none. `options` are the server's; empty: it takes none. Errors:
/// handshake_refused, for a field that is no list of extensions.
[[nodiscard]] Result<std::optional<Acceptance>> accept(
    const std::optional<CompressionOptions>& options, std::string_view offers);

} // namespace sidecar::websocket
