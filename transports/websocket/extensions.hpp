// permessage-deflate in the opening handshake, RFC 7692 section 7.1: the offer and what an answer to
// it means. Pure.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/transports/compression_options.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar::websocket {

/// What holds for one connection whose messages may be compressed.
struct Deflation {
    bool peer_keeps_context = true; ///< its messages may refer to earlier ones
    bool keeps_context = true;      ///< ours may
    int window_bits = 15;           ///< of ours, 8 to 15
    int level = 6;                  ///< of ours; zero: none is compressed
    int mem_level = 8;
    std::size_t threshold_bytes = 128; ///< shorter ones of ours are sent plain
};

/// Errors: bad_options.
[[nodiscard]] Result<void> validate(const CompressionOptions& options);

/// The Sec-WebSocket-Extensions of the request.
[[nodiscard]] std::string offer_of(const CompressionOptions& options);

/// What an answer's Sec-WebSocket-Extensions means: all such fields of it, with commas between them;
/// empty: there was none. No value: the peer compresses nothing. Errors: handshake_refused.
[[nodiscard]] Result<std::optional<Deflation>> agree(
    const std::optional<CompressionOptions>& offered, std::string_view answer);

} // namespace sidecar::websocket
