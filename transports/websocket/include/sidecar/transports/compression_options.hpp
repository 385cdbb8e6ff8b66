// CompressionOptions: compressed messages, RFC 7692.
#pragma once

#include <sidecar/detail/requirements.hpp>

#include <cstddef>

namespace sidecar {

/// The offer of permessage-deflate (RFC 7692), and the compression of sent messages if the peer
/// agrees. If it does not, the connection is not compressed. An answer that breaks the RFC fails
/// the handshake. start() checks the values: bad_options.
///
/// Of a server: what it accepts of a client's offer. It takes the first valid offer, and declines
/// others; a client without one is not compressed.
///
/// Windows are powers of two in bytes. A server must accept a server_max_window_bits below 15, or
/// refuse the extension. A smaller window, and no context takeover, saves memory and costs
/// compression. The peer may ask for a smaller window of ours, or for no context takeover, and gets
/// it.
struct CompressionOptions {
    /// The server's window, 8 to 15; default 15. It and mem_level decide the memory of a server's
    /// link that sends. A client that asks for a smaller one saves memory of the peer, not ours.
    int server_max_window_bits = 15;
    /// The client's window, 8 to 15; default 15. It and mem_level decide the memory of a client's
    /// link that sends. A server can limit it only for a client that offers it.
    int client_max_window_bits = 15;
    /// The server sends independent messages. A client demands that. A server with it compresses a
    /// broadcast once for all its clients.
    bool server_no_context_takeover = false;
    /// The client sends independent messages. A server demands that. All links of a thread that
    /// send, or receive, independent messages share one compressor, or inflater.
    bool client_no_context_takeover = false;
    /// 1 (fastest) to 9 (smallest); default 6. Zero: compresses nothing, inflates the peer's.
    int level = 6;
    /// 1 (least memory) to 9; default 8.
    int mem_level = 8;
    /// Sends shorter messages plain; bytes, default 128. Zero: compresses all but empty ones.
    std::size_t threshold_bytes = 128;

    friend bool operator==(const CompressionOptions&, const CompressionOptions&) = default;
};

} // namespace sidecar
