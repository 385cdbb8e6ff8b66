// A client's queue of messages to send, with a policy for when it is full.
#pragma once

#include <sidecar/client_overflow.hpp>
#include <sidecar/detail/shared_message.hpp>
#include <sidecar/message.hpp>
#include <sidecar/options.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
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
    ClientQueue(const QueueLimits& limits, const ClientOverflow& overflow) noexcept
        : limits_{limits}, overflow_{overflow}
    {
    }

    enum class Push : std::uint8_t { queued, full };
    /// `key`: for OverflowPolicy::conflate; empty: the message is not replaced. `full`: the message
    /// is not queued, and not counted.
    [[nodiscard]] Push push(Item item, std::optional<std::string_view> key);
    /// Counts a broadcast that `full` refused, as accepted and dropped.
    void drop_newest();
    /// Call it with the time after `full`. Returns whether the policy ends the client: each push
    /// since `fail_after` has found the queue full.
    [[nodiscard]] bool is_too_slow(TimePoint now);
    [[nodiscard]] bool has_room(std::size_t payload_bytes) const noexcept;

    /// Takes out the gap at the front; returns the number of missing messages, or 0: there is none.
    [[nodiscard]] std::uint64_t take_gap() noexcept;
    /// Adds a message of the link itself before all that wait.
    void push_front(std::shared_ptr<SharedMessage> message);
    /// Moves messages up to the next gap to those being written. Drops those that are late or bound
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
    /// Loses the first `count` of those being written. Returns the position of the first; both of
    /// these return no_position if there was none.
    std::uint64_t lose_writing(std::size_t count);
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
        std::uint64_t missing = 0; // not zero: a gap
        std::optional<std::string> key{};
        bool is_counted = true; // false: of the link itself
    };
    static constexpr std::size_t max_batch_bytes = std::size_t{1} << 20, max_batch = 1024;
    /// The cost of a message beside its payload.
    static constexpr std::size_t entry_bytes = 128;

    [[nodiscard]] bool conflate(Item& item, std::string_view key);
    [[nodiscard]] bool make_room(std::size_t payload_bytes);
    void leave(const Entry& entry) noexcept;
    std::uint64_t lose(const Entry& entry) noexcept;
    void forget_key(const Entry& entry) noexcept;

    const QueueLimits limits_;       // both: constant
    const ClientOverflow& overflow_; // both: constant
    // both: guarded by the outbox's mutex, all below
    std::deque<Entry> waiting_;
    std::vector<Entry> writing_;
    std::unordered_map<std::string, std::uint64_t> by_key_; // the numbers of those that wait
    std::uint64_t next_ = 1;
    std::optional<TimePoint> full_since_; // each push since then found it full
    bool has_grown_ = false;              // its memory is worth releasing
    Counts counts_;
    mutable std::size_t next_read_ = 0; // sidecar side; read() looks here first
};

} // namespace sidecar::detail
