// Events of all links, and the messages of links with an overflow policy; ordered with the ring by
// position.
#pragma once

#include "base/wait_queue.hpp"
#include "queue/link_queue.hpp"

#include <sidecar/event.hpp>
#include <sidecar/message.hpp>
#include <sidecar/overflow.hpp>

#include <boost/intrusive/set.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>

namespace sidecar::detail {

/// Holds the queues of all links with entries outside the ring. Each entry comes before the ring's
/// record at its position: so the order of all is exact, and the hot path needs no variant. Owned
/// by the inbox. The loop adds, one consumer takes, any thread reads counts. One mutex guards all,
/// so that the counts are from one moment. In the usual case nothing is due, and the check costs
/// one load. Invariant: the entries of all queues are taken in the order of their sequence numbers,
/// and their positions grow with these, except events of water levels, which come first.
class PolicyQueue {
public:
    /// While so many links have entries, a listener's client that comes and goes is forgotten: else
    /// clients would fill the memory of a program that takes no events.
    static constexpr std::size_t max_links = 4096;

    explicit PolicyQueue(const AppClock& clock) noexcept : clock_{clock} {}
    PolicyQueue(const PolicyQueue&) = delete;
    PolicyQueue& operator=(const PolicyQueue&) = delete;

    // --- sidecar side
    /// Makes a queue for the messages of this link. `overflow`: resolved. Lifetime: until close(),
    /// and then until its last entry is taken. Throws bad_alloc. Side: any.
    [[nodiscard]] LinkQueue& open(LinkId link, Overflow overflow);
    /// Side: any.
    void close(LinkQueue& queue) noexcept;
    /// Adds an event. Throws bad_alloc, and then has changed nothing.
    void push(std::uint64_t position, std::unique_ptr<Event> event);
    /// See LinkQueue::miss().
    void miss(LinkId link, std::uint64_t position, std::uint64_t messages, TimePoint now);
    /// See LinkQueue::put(). Also throws the exceptions of the key function.
    [[nodiscard]] LinkQueue::PutOutcome put(LinkQueue& queue, std::uint64_t position,
                                            const MessageView& message, TimePoint now);
    /// Whether a message of this size would be taken. False: on_space is called once half is free.
    [[nodiscard]] bool want_room(LinkQueue& queue, std::size_t payload_bytes, TimePoint now);

    // --- app side, the consumer
    /// Whether the first entry comes before the record at `position`.
    [[nodiscard]] bool is_due(std::uint64_t position) const noexcept
    {
        return next_position() <= position;
    }
    /// Returns the position of the first entry; the largest number if there is none.
    [[nodiscard]] std::uint64_t next_position() const noexcept
    {
        return next_position_.load(std::memory_order_seq_cst);
    }
    struct Taken {
        std::optional<Event> event; ///< empty: nothing was due after all, or it was left
        bool is_left = false;       ///< it would end the call, and Ends::leave was given
        bool frees_space = false;   ///< a link that waits for room has it now
    };
    enum class Ends { take, leave };
    /// Takes the first entry if it is due at `position`. `leave`: but not one that ends the call.
    [[nodiscard]] Taken take(std::uint64_t position, Ends ends);

    // --- both
    [[nodiscard]] bool has_any() const noexcept { return next_position() != none; }
    [[nodiscard]] QueueCounts counts() const;
    /// Returns when the oldest message that waits arrived; empty: none waits.
    [[nodiscard]] std::optional<TimePoint> oldest() const;
    /// Sums over all queues: the memory of messages, and the number of entries.
    struct Use {
        std::size_t bytes = 0, entries = 0;
    };
    [[nodiscard]] Use use() const;

private:
    static constexpr auto none = UINT64_MAX;
    /// Entries are numbered from here, above all events of water levels.
    static constexpr std::uint64_t first_sequence = std::uint64_t{1} << 63;

    struct Update; // calls update() at its end
    void update(LinkQueue& queue) noexcept;

    const AppClock& clock_; // both
    mutable std::mutex mutex_;
    QueueCounts counts_; // both: guarded by mutex_, like all members below
    std::unordered_map<LinkId, LinkQueue> queues_;
    boost::intrusive::set<LinkQueue> fronts_; // those that are not empty
    std::uint64_t sequence_ = first_sequence, level_sequence_ = 0;
    std::atomic<std::uint64_t> next_position_{none}; // both: atomic, written with mutex_ held
};

} // namespace sidecar::detail
