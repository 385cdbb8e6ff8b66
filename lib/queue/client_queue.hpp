// A client's queue of messages to send, with a policy for when it is full.
#pragma once

#include <sidecar/client_overflow.hpp>
#include <sidecar/detail/shared_message.hpp>
#include <sidecar/message.hpp>
#include <sidecar/options.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace sidecar::detail {

/// Holds the ordinary messages to a listener's client. Broadcasts are shared among the queues of all
/// clients. Messages are numbered from 1; a number is a message's position. Those that are being
/// written are apart, so that the policy never touches them. Owned by the outbox, which guards it
/// with its mutex; only the sidecar side takes. A client that gets nothing has none.
/// Invariant: each accepted message is waiting, being written, or counted once as written, dropped,
/// replaced, late or lost.
class ClientQueue {
public:
    struct Item {
        std::shared_ptr<SharedMessage> message; ///< null: a gap, or it was taken out
        TimePoint deadline = TimePoint::max();  ///< late from then on
        std::uint32_t connection = 0;           ///< bound to this one; 0: to none
    };
    /// Lifetime: `overflow` outlives it.
    ClientQueue(const QueueLimits& limits, const ClientOverflow& overflow) // allocates
        : limits_{limits}, overflow_{overflow}
    {
    }

    enum class Push : std::uint8_t { queued, full };
    /// `key`: for OverflowPolicy::conflate; empty: the message is not replaced. `full`: the message
    /// is not queued, and not counted. A policy that drops the oldest always takes the message: its
    /// queue may exceed its bounds by one. Throws bad_alloc, and then has queued nothing.
    [[nodiscard]] Push push(Item item, std::optional<std::string_view> key);
    /// Counts a broadcast that `full` refused, as accepted and dropped.
    void drop_newest();
    /// Call it with the time after `full`. Returns whether the policy ends the client: each push
    /// since `fail_after` has found the queue full.
    [[nodiscard]] bool is_too_slow(TimePoint now);
    [[nodiscard]] bool has_room(std::size_t payload_bytes) const noexcept;

    /// Takes out the gap at the front; returns the number of missing messages, or 0: there is none.
    [[nodiscard]] std::uint64_t take_gap() noexcept;
    /// Adds the text for that gap before all that wait.
    void push_front(std::shared_ptr<SharedMessage> message, std::uint64_t missing);
    /// Moves messages up to the next gap to those being written, at most half of the bounds. Drops those that are late or bound
    /// to another connection; returns for each kind the position of the first.
    static constexpr std::uint64_t no_position = UINT64_MAX;
    struct Taken {
        bool is_any = false; ///< there are messages to write
        std::uint64_t first_late = no_position, first_lost = no_position;
    };
    [[nodiscard]] Taken take(std::uint32_t connection, TimePoint now);
    /// Puts messages from this position on back; they wait again.
    void put_back(std::uint64_t from);
    /// The first `count` of those being written are written.
    void written(std::size_t count);
    /// Loses those being written. Returns the position of the first; both of these return
    /// no_position if there was none.
    std::uint64_t lose_writing();
    /// Loses all that wait.
    std::uint64_t lose_waiting();

    /// The positions of those being written: of the first, and behind the last.
    [[nodiscard]] std::uint64_t writing_begin() const noexcept { return writing_.front().number; }
    [[nodiscard]] std::uint64_t writing_end() const noexcept { return writing_.back().number + 1; }
    [[nodiscard]] bool is_writing() const noexcept { return !writing_.empty(); }
    /// Returns the first of those being written from this position on, and moves the position
    /// behind it. Side: sidecar, without the mutex.
    [[nodiscard]] SharedMessage& read(std::uint64_t& position) const;

    [[nodiscard]] bool has_waiting() const noexcept { return !waiting_.empty(); }
    [[nodiscard]] bool empty() const noexcept { return waiting_.empty() && writing_.empty(); }
    /// The position of the next message.
    [[nodiscard]] std::uint64_t next_position() const noexcept { return next_; }
    /// Whether all messages before this position have left the queue.
    [[nodiscard]] bool is_past(std::uint64_t position) const noexcept;

    struct Counts {
        std::uint64_t accepted = 0, sent = 0, sent_bytes = 0;
        std::uint64_t dropped = 0, conflated = 0, late = 0, lost = 0;
        std::uint64_t queued = 0, queued_bytes = 0, peak_messages = 0, peak_bytes = 0;
    };
    [[nodiscard]] const Counts& counts() const noexcept { return counts_; }

private:
    struct Entry {
        Item item;
        std::uint64_t number = 0;  // grows from entry to entry
        std::uint64_t missing = 0; // not zero: a gap, or with a message its text
        std::optional<std::string> key{};
        [[nodiscard]] bool is_gap() const noexcept { return missing != 0 && !item.message; }
        /// Only these are counted.
        [[nodiscard]] bool is_of_application() const noexcept
        {
            return item.message && missing == 0;
        }
    };
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view key) const noexcept
        {
            return std::hash<std::string_view>{}(key);
        }
    };
    using Keys = std::unordered_map<std::string, std::uint64_t, Hash, std::equal_to<>>;
    static constexpr std::size_t max_batch_bytes = std::size_t{1} << 20, max_batch = 1024;
    /// The cost of a message beside its payload.
    static constexpr std::size_t entry_bytes = 128;
    /// An idle queue keeps the memory of so many entries.
    static constexpr std::size_t max_kept = 16;

    [[nodiscard]] bool drops_oldest() const noexcept;
    [[nodiscard]] bool conflate(Item& item, std::string_view key);
    void make_room(std::size_t payload_bytes) noexcept;
    void leave(const Entry& entry) noexcept;
    std::uint64_t lose(const Entry& entry) noexcept;
    void forget_key(Entry& entry) noexcept;

    const QueueLimits limits_;       // both: constant
    const ClientOverflow& overflow_; // both: constant
    // both: guarded by the outbox's mutex, all below
    std::deque<Entry> waiting_;
    std::vector<Entry> writing_;
    Keys by_key_; // the numbers of those that wait
    std::uint64_t next_ = 1;
    std::optional<TimePoint> full_since_; // each push since then found it full
    bool has_grown_ = false;              // its memory is worth releasing
    Counts counts_;
    mutable std::size_t next_read_ = 0; // sidecar side; read() looks here first
};

} // namespace sidecar::detail
