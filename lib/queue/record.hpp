// The layout of a record in the ring.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>

namespace sidecar::detail {

/// The first bytes of a record. Owned by its ring: the producer writes it, and until it is popped
/// only the consumer reads it. A record is one of
/// - a message whose payload follows;
/// - a message with its payload elsewhere: in a slice of a buffer (its address follows) or in a
///   block (a BlockRecord follows);
/// - no message: a stamp (a Stamp follows), a gap (continue at the ring's start), or a block to
///   free here (a BlockRecord follows).
/// Two words, not bit-fields: a write to a bit-field reads the word first, and the other core holds
/// that cache line.
struct RecordHeader {
    static constexpr std::uint32_t link_mask = 0xffffff, kind_shift = 24, block_bit = 1u << 26,
                                   slice_bit = 1u << 27, gap_bit = 1u << 28,
                                   freed_block_bit = 1u << 29, stamp_bit = 1u << 30;

    std::uint32_t size; // of the payload
    std::uint32_t what; // link, kind, bits

    [[nodiscard]] static constexpr std::uint32_t what_of(LinkId link, StoredKind kind,
                                                         std::uint32_t bits) noexcept
    {
        return (static_cast<std::uint32_t>(link) & link_mask)
               | std::uint32_t{kind.bits} << kind_shift | bits;
    }
    [[nodiscard]] LinkId link() const noexcept { return static_cast<LinkId>(what & link_mask); }
    [[nodiscard]] StoredKind kind() const noexcept { return StoredKind::of(what >> kind_shift); }
    [[nodiscard]] bool is_message() const noexcept
    {
        return (what & (gap_bit | freed_block_bit | stamp_bit)) == 0;
    }
    /// Whether the payload's address follows.
    [[nodiscard]] bool is_elsewhere() const noexcept
    {
        return (what & (block_bit | slice_bit)) != 0;
    }
    [[nodiscard]] bool has_block() const noexcept { return (what & block_bit) != 0; }
    [[nodiscard]] bool is_gap() const noexcept { return (what & gap_bit) != 0; }
    [[nodiscard]] bool is_stamp() const noexcept { return (what & stamp_bit) != 0; }
};

struct BlockRecord {
    std::byte* block;          // null: taken out
    std::size_t capacity;      // as the pool knows it
    std::size_t counted_bytes; // released to the budget when it is popped
};

/// Link, connection and arrival of the messages behind it, up to the next stamp. One stamp serves
/// all messages that a link reads in one handler of the loop, so that it costs nothing per message.
struct Stamp {
    LinkId link{};
    std::uint32_t connection = 0;
    TimePoint arrival{}; // when the handler began
    bool operator==(const Stamp&) const = default;
};

inline constexpr std::size_t record_alignment = 8;
static_assert(sizeof(RecordHeader) == record_alignment);

/// Returns the ring bytes of a record with `body` bytes behind its header.
[[nodiscard]] constexpr std::size_t record_bytes(std::size_t body) noexcept
{
    return (sizeof(RecordHeader) + body + record_alignment - 1) & ~(record_alignment - 1);
}

inline constexpr std::size_t slice_record_bytes = record_bytes(sizeof(std::byte*));
inline constexpr std::size_t block_record_bytes = record_bytes(sizeof(BlockRecord));
inline constexpr std::size_t stamp_record_bytes = record_bytes(sizeof(Stamp));

} // namespace sidecar::detail
