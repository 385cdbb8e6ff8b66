// CompressionOptions: compressed messages, RFC 7692.
#pragma once

#include <sidecar/detail/requirements.hpp>

#include <cstddef>

namespace sidecar {

/// The offer of permessage-deflate (RFC 7692), and the compression of sent messages if the peer
/// agrees. If it does not, the connection is not compressed. An answer that breaks the RFC fails
/// the handshake. start() checks the values: bad_options.
///
/// Windows are powers of two in bytes. The peer must accept a server_max_window_bits below 15, or
/// refuse the extension. A smaller window, and no context takeover, saves memory and costs
/// compression. The peer may ask for a smaller client window, or for no client context takeover,
/// and gets it.
struct CompressionOptions {
    /// The peer's window, 8 to 15; default 15. A smaller one saves memory of the peer, not ours.
    int server_max_window_bits = 15;
    /// Our window, 8 to 15; default 15. It and mem_level decide the memory of a sending link.
    int client_max_window_bits = 15;
    /// Demands independent messages from the peer. All such links of a thread share one inflater.
    bool server_no_context_takeover = false;
    /// Sends independent messages. All such links of a thread share one compressor.
    bool client_no_context_takeover = false;
    /// 1 (fastest) to 9 (smallest); default 6. Zero: compresses nothing, inflates the peer's.
    int level = 6;
    /// 1 (least memory) to 9; default 8.
    int mem_level = 8;
    /// Sends shorter messages plain; bytes, default 128. Zero: compresses all but empty ones.
    std::size_t threshold_bytes = 128;
};

} // namespace sidecar
