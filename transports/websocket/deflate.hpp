// Messages compressed and inflated, RFC 7692 section 7.2; and where a message of several parts is put
// together.
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

/// Bytes that grow by parts, owned by a Receiver. Invariant: the memory is at most twice what has
/// been appended since the last clear(), or kept_bytes. It grows by realloc, which moves large
/// memory without copying it.
class Assembly {
public:
    /// Memory that stays for the next message; more is given back.
    static constexpr std::size_t kept_bytes = 4096;

    void append(std::span<const std::byte> bytes)
    {
        if (bytes.size() > capacity_ - size_) [[unlikely]]
            grow(bytes.size());
        if (!bytes.empty())
            std::memcpy(memory_.get() + size_, bytes.data(), bytes.size());
        size_ += bytes.size();
    }
    /// Room for at least one more byte, for whoever fills it and says so by commit(): all that there
    /// is, or as much again as there are bytes, but for no more than `max_bytes`, not zero, in all.
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
