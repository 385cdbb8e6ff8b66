// Our messages compressed, RFC 7692 section 7.2.1.
#pragma once

#include "extensions.hpp"

#include <cstddef>
#include <memory>
#include <span>

namespace sidecar::websocket {

/// Compresses our messages one after the other, each at once or in pieces. Owned by the Sender of a
/// link whose peer agreed.
///
/// Invariants: no message refers to what the peer has not been given compressed, or has not kept;
/// none refers further back than the window that was agreed on.
///
/// Memory: zlib's, 2^(window_bits + 2) + 2^(mem_level + 9) bytes and a few KiB, from the first
/// compressed message on. It is the link's own if its messages refer to earlier ones. Else it is
/// borrowed from the thread for the time of a message. What a piece compresses to stands in memory
/// of the thread's.
class Deflater {
public:
    explicit Deflater(const Deflation& agreed) noexcept;
    Deflater(Deflater&&) noexcept;
    Deflater& operator=(Deflater&&) noexcept;
    ~Deflater();

    /// Whether a message of so many bytes is worth it.
    [[nodiscard]] bool wants(std::size_t message_bytes) const noexcept
    {
        return message_bytes != 0 && message_bytes >= agreed_.threshold_bytes;
    }
    /// What the next piece of a message comes to, which ends with it if `is_last`; never empty.
    /// Lifetime: until the next call on this thread. Throws bad_alloc.
    [[nodiscard]] std::span<const std::byte> deflate(std::span<const std::byte> piece,
                                                     bool is_last);
    /// Not a byte of the message under way, or of the last one, is sent compressed. Later messages
    /// refer to nothing before them.
    void discard() noexcept;

    /// Memory beyond the object itself, about.
    [[nodiscard]] std::size_t held_bytes() const noexcept;

private:
    class Stream;

    void release() noexcept;

    Deflation agreed_;               // sidecar side
    std::unique_ptr<Stream> stream_; // sidecar side; null: none needed
};

} // namespace sidecar::websocket
