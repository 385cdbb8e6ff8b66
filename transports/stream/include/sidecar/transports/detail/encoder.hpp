// Messages into bytes: what a Writer needs of the protocol above it. Without I/O.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/transport.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sidecar::stream {

/// Encoded messages that are written together: bytes of its own, and payloads that are borrowed
/// from the outbox because copying them would cost more than the system call does. Owned by the
/// Writer while it writes. Invariant: ends() grow; behind the last there is nothing, or a fragment: a
/// piece of a message behind which the protocol's own bytes may come.
class SIDECAR_API Chunk {
public:
    /// A smaller payload is copied: a piece of its own costs the system about as much.
    static constexpr std::size_t min_borrowed_bytes = 32u << 10;

    /// For encoders: they append here what surrounds a payload, or all of it.
    [[nodiscard]] std::vector<std::byte>& bytes() noexcept { return bytes_; }
    /// For encoders: the payload follows what was appended so far. Lifetime: as the batch's.
    void borrow(std::span<const std::byte> payload)
    {
        borrowed_.push_back({bytes_.size(), payload});
        borrowed_bytes_ += payload.size();
    }
    void end_message() { ends_.push_back(total_bytes()); }
    /// No further message: the chunk is written first.
    [[nodiscard]] bool is_full() const noexcept
    {
        return bytes_.size() >= full_bytes || borrowed_bytes_ >= full_borrowed_bytes
               || borrowed_.size() >= full_borrowed;
    }

    [[nodiscard]] std::size_t total_bytes() const noexcept
    {
        return bytes_.size() + borrowed_bytes_;
    }
    /// How many bytes end with each message.
    [[nodiscard]] const std::vector<std::size_t>& ends() const noexcept { return ends_; }
    [[nodiscard]] bool has_borrowed() const noexcept { return !borrowed_.empty(); }
    /// Calls `piece(span)` for each stretch of bytes from `from` to `to`, in order.
    template <class Piece>
    void for_each_piece(std::size_t from, std::size_t to, Piece&& piece) const;
    void clear() noexcept
    {
        bytes_.clear();
        borrowed_.clear();
        ends_.clear();
        borrowed_bytes_ = 0;
    }
    /// Memory that it keeps, about.
    [[nodiscard]] std::size_t capacity_bytes() const noexcept
    {
        return bytes_.capacity() + ends_.capacity() * sizeof(std::size_t);
    }

    /// Pieces of a full chunk, at most: what surrounds each borrowed payload, and the payloads.
    static constexpr std::size_t max_pieces = 33;
    /// Bytes of its own of a full chunk, about.
    static constexpr std::size_t full_bytes = 256u << 10;

private:
    static constexpr std::size_t full_borrowed_bytes = 1u << 20;
    static constexpr std::size_t full_borrowed = (max_pieces - 1) / 2;
    struct Borrowed {
        std::size_t at; // so many of bytes_ come before it
        std::span<const std::byte> payload;
    };

    std::vector<std::byte> bytes_;   // sidecar side
    std::vector<Borrowed> borrowed_; // sidecar side
    std::vector<std::size_t> ends_;  // sidecar side
    std::size_t borrowed_bytes_ = 0; // sidecar side
};

template <class Piece>
void Chunk::for_each_piece(std::size_t from, std::size_t to, Piece&& piece) const
{
    std::size_t begin = 0; // of the stretch at hand, among all
    const auto pass = [&](std::span<const std::byte> stretch) {
        const auto end = begin + stretch.size();
        const auto first = std::max(from, begin), last = std::min(to, end);
        if (first < last)
            piece(stretch.subspan(first - begin, last - first));
        begin = end;
    };
    std::size_t at = 0; // in bytes_
    for (const auto& borrowed : borrowed_) {
        pass(std::span{bytes_}.subspan(at, borrowed.at - at));
        at = borrowed.at;
        pass(borrowed.payload);
    }
    pass(std::span{bytes_}.subspan(at));
}

/// The protocol above a Writer; one object per connection. Side: the loop's thread.
class SIDECAR_API Encoder {
public:
    Encoder() = default;
    Encoder(const Encoder&) = delete;
    Encoder& operator=(const Encoder&) = delete;
    virtual ~Encoder() = default;

    /// Encodes messages from `at` on, until the chunk is full or the batch ends; at least one, or a
    /// fragment of one, with which the chunk then ends: `at` stays on that message, and the next call
    /// goes on with it.
    virtual void encode(Chunk& chunk, Batch::iterator& at, const Batch::iterator& end) = 0;
};

} // namespace sidecar::stream
