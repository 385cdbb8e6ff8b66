// Compressed messages of the peer's into what they were, RFC 7692 section 7.2.2.
#pragma once

#include "assembly.hpp"

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace sidecar::websocket {

/// Inflates the peer's messages one after the other, each as its bytes come. Owned by the Receiver
/// of a link whose peer may compress.
///
/// Invariants: what a message comes to does not depend on how its bytes are cut; never more is
/// inflated than is allowed, and one byte.
///
/// Memory: zlib's, about 41 KiB, from the first compressed message on. It is the link's own if
/// messages may refer to earlier ones. Else it is borrowed from the thread for the time of a
/// message, so that links on which none is under way hold none. The window is always the largest:
/// with a smaller one, whether a reference that goes too far back is seen would depend on how the
/// bytes were cut.
class Inflater {
public:
    enum class Verdict {
        good,
        too_large, ///< it inflates to more than is allowed; as much as is allowed was appended
        bad,       ///< fault() says why; what comes before it was appended
    };

    explicit Inflater(bool keeps_context) noexcept;
    Inflater(Inflater&&) noexcept;
    Inflater& operator=(Inflater&&) noexcept;
    ~Inflater();

    /// The next message begins. Throws bad_alloc.
    void begin();
    /// A message has begun and not ended.
    [[nodiscard]] bool is_under_way() const noexcept { return is_under_way_; }
    /// Appends what more of the message comes to; `max_bytes` for all of the message. `is_last`: it
    /// ends with these bytes. Not after another verdict than good. Throws bad_alloc.
    [[nodiscard]] Verdict inflate(std::span<const std::byte> bytes, bool is_last, Assembly& out,
                                  std::size_t max_bytes);
    /// zlib's words, or ours. Lifetime: static.
    [[nodiscard]] std::string_view fault() const noexcept { return fault_; }

    /// How many compressed bytes a message may still have, where it may have `max_bytes`. No
    /// compressor needs as many; without this bound a message of empty blocks would never end.
    [[nodiscard]] std::size_t max_further_bytes(std::size_t max_bytes) const noexcept;

    /// Memory beyond the object itself, about.
    [[nodiscard]] std::size_t held_bytes() const noexcept;

private:
    class Stream;

    [[nodiscard]] Verdict run(std::span<const std::byte> bytes, std::size_t tail_bytes,
                              Assembly& out, std::size_t max_bytes);
    [[nodiscard]] Verdict run_tail(std::span<const std::byte> bytes, Assembly& out,
                                   std::size_t max_bytes);
    void end() noexcept;

    bool keeps_context_;             // sidecar side
    bool is_under_way_ = false;      // sidecar side
    std::size_t taken_bytes_ = 0;    // sidecar side; of the message under way, compressed
    std::unique_ptr<Stream> stream_; // sidecar side; null: none needed
    std::string_view fault_{};       // sidecar side
};

} // namespace sidecar::websocket
