// Compresses and inflates messages, RFC 7692 section 7.2; collects the parts of a message.
#pragma once

#include "extensions.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string_view>

namespace sidecar::websocket {

/// A buffer that grows by parts; a Receiver owns it. Invariant: its memory is at most twice the
/// bytes appended since the last clear(), or kept_bytes. It grows by realloc, which moves large
/// memory without copying it.
class Assembly {
public:
    /// clear() keeps at most so much memory for the next message and releases more.
    static constexpr std::size_t kept_bytes = 4096;

    void append(std::span<const std::byte> bytes)
    {
        if (bytes.size() > capacity_ - size_) [[unlikely]]
            grow(bytes.size());
        if (!bytes.empty())
            std::memcpy(memory_.get() + size_, bytes.data(), bytes.size());
        size_ += bytes.size();
    }
    /// Returns room for at least one more byte; the caller fills it and calls commit(). The room is
    /// the free memory; if none is free, as much again as the bytes so far. `max_bytes`, not zero,
    /// limits the whole.
    [[nodiscard]] std::span<std::byte> prepare(std::size_t max_bytes)
    {
        if (size_ == capacity_) [[unlikely]]
            resize(std::min(std::max(size_ * 2, kept_bytes), max_bytes));
        return {memory_.get() + size_, std::min(capacity_, max_bytes) - size_};
    }
    void commit(std::size_t bytes) noexcept { size_ += bytes; }
    void clear() noexcept
    {
        size_ = 0;
        if (capacity_ > kept_bytes) {
            memory_.reset();
            capacity_ = 0;
        }
    }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept
    {
        return {memory_.get(), size_};
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

private:
    void grow(std::size_t more) { resize(std::max({size_ + more, size_ * 2, std::size_t{256}})); }
    void resize(std::size_t wanted)
    {
        auto* grown = static_cast<std::byte*>(std::realloc(memory_.get(), wanted));
        if (!grown)
            throw std::bad_alloc{};
        (void)memory_.release();
        memory_.reset(grown);
        capacity_ = wanted;
    }
    struct Free {
        void operator()(std::byte* memory) const noexcept { std::free(memory); }
    };

    std::unique_ptr<std::byte[], Free> memory_; // sidecar side
    std::size_t size_ = 0;                      // sidecar side
    std::size_t capacity_ = 0;                  // sidecar side
};

/// Inflates the peer's messages one after another, as their bytes arrive. The Receiver of a link
/// whose peer may compress owns it.
///
/// Invariants: the result does not depend on how the bytes are cut; it inflates at most the allowed
/// bytes and one.
///
/// Memory: zlib's, about 41 KiB, from the first compressed message on. The link keeps it if
/// messages may refer to earlier ones. Otherwise the link borrows it from the thread for one
/// message, so that links without a current message hold none. The window is always the largest:
/// with a smaller one the cut of the bytes would decide whether a reference too far back is
/// detected.
class Inflater {
public:
    enum class Verdict {
        good,
        too_large, ///< the allowed bytes were appended, and there are more
        bad,       ///< fault() says why; the bytes before it were appended
    };

    explicit Inflater(bool keeps_context) noexcept;
    ~Inflater();

    /// Begins the next message. Throws bad_alloc.
    void begin();
    /// Whether a message has begun and not ended.
    [[nodiscard]] bool is_under_way() const noexcept { return is_under_way_; }
    /// Inflates more bytes of the message and appends the result; `max_bytes` is for the whole
    /// message. `is_last`: the message ends with these bytes. Only after the verdict good. Throws
    /// bad_alloc.
    [[nodiscard]] Verdict inflate(std::span<const std::byte> bytes, bool is_last, Assembly& out,
                                  std::size_t max_bytes);
    /// zlib's text, or ours. Lifetime: static.
    [[nodiscard]] std::string_view fault() const noexcept { return fault_; }

    /// How many compressed bytes may still follow in a message of at most `max_bytes`. No
    /// compressor needs more; without this bound a message of empty blocks would never end.
    [[nodiscard]] std::size_t max_further_bytes(std::size_t max_bytes) const noexcept;

    /// About how many bytes are allocated outside the object.
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
    std::size_t taken_bytes_ = 0;    // sidecar side; compressed bytes of the current message
    std::unique_ptr<Stream> stream_; // sidecar side; null: not needed
    std::string_view fault_{};       // sidecar side
};

/// Compresses our messages one after another, each whole or in pieces. The Sender of a link whose
/// peer agreed owns it.
///
/// Invariants: a message refers only to bytes that the peer received compressed and has kept, and
/// no further back than the agreed window. A message that would not get smaller is sent plain:
/// discard() then begins anew, since zlib's state has moved and the peer has not seen it.
///
/// Memory: zlib's, 2^(window_bits + 2) + 2^(mem_level + 9) bytes and a few KiB, from the first
/// compressed message on. The link keeps it if its messages refer to earlier ones. Otherwise the
/// link borrows it from the thread for one message. The compressed bytes of a piece are in memory
/// of the thread.
class Deflater {
public:
    explicit Deflater(const Deflation& agreed) noexcept;
    ~Deflater();

    /// Whether a message of this size should be compressed.
    [[nodiscard]] bool wants(std::size_t message_bytes) const noexcept
    {
        return message_bytes != 0 && message_bytes >= agreed_.threshold_bytes;
    }
    [[nodiscard]] bool keeps_context() const noexcept { return agreed_.keeps_context; }
    [[nodiscard]] int window_bits() const noexcept { return agreed_.window_bits; }
    /// Compresses the next piece of a message; `is_last`: the message ends with it. The result is
    /// never empty. Lifetime: until the next call on this thread. Throws bad_alloc.
    [[nodiscard]] std::span<const std::byte> deflate(std::span<const std::byte> piece,
                                                     bool is_last);
    /// Call it if the current or last message is not sent compressed. Later messages then refer to
    /// nothing before them.
    void discard() noexcept;

    /// About how many bytes are allocated outside the object.
    [[nodiscard]] std::size_t held_bytes() const noexcept;

private:
    class Stream;

    void release() noexcept;

    Deflation agreed_;               // sidecar side
    std::unique_ptr<Stream> stream_; // sidecar side; null: not needed
};

} // namespace sidecar::websocket
