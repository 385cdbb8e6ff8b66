// CompressionOptions: messages compressed on their way, RFC 7692.
#pragma once

#include <cstddef>

namespace sidecar {

/// What is offered of permessage-deflate (RFC 7692), and how messages are compressed if the peer
/// agrees. A peer that does not is talked to without compression; one whose answer breaks the RFC
/// fails the handshake. What a value may be is checked by start(): bad_options.
struct CompressionOptions {
    /// Of the peer's window, as a power of two in bytes: 8 to 15. Less than 15 is demanded of the
    /// peer, which refuses the extension or keeps to it. It spares the peer's memory, not ours.
    int server_max_window_bits = 15;
    /// Of our window, likewise. The peer may ask for less, and gets it. With mem_level it decides
    /// the memory that a link has for sending.
    int client_max_window_bits = 15;
    /// Demands that each message of the peer's stands alone. Spares memory on both sides: what
    /// inflates is then shared by all such links of a thread. Costs compression.
    bool server_no_context_takeover = false;
    /// Each message of ours stands alone; likewise. The peer may ask for it, and gets it.
    bool client_no_context_takeover = false;
    /// 1 (fastest) to 9 (smallest). Zero: nothing is compressed that is sent; what comes may be.
    int level = 6;
    /// 1 (least memory) to 9.
    int mem_level = 8;
    /// Shorter messages are sent plain; bytes. Zero: all are compressed, but empty ones.
    std::size_t threshold_bytes = 128;
};

} // namespace sidecar
