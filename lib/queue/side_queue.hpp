// What stands beside the ring, in one order with what stands in it.
#pragma once

#include "base/wait_point.hpp"
#include "queue/link_queue.hpp"
#include "queue/side_entry.hpp"

#include <sidecar/event.hpp>
#include <sidecar/message.hpp>
#include <sidecar/overflow.hpp>

#include <boost/intrusive/list.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>

namespace sidecar::detail {

/// Events of links, and the messages of links that must not pause or want to know more of their queue
/// than the ring can say. Each stands before the record at its position in the ring, so there is one
/// order of all. Owned by the inbox. The loop adds, whoever consumes takes, anybody asks; all under one
/// mutex, so that what has come, what was taken and what was lost are always from one moment. To see
/// that nothing is due, which is the rule, costs one load. Invariants: positions grow from front to
/// back, but for events of levels, which come first; received = taken + queued + lost.
class SideQueue {
public:
    explicit SideQueue(const AppClock& clock) noexcept : clock_{clock} {}
    SideQueue(const SideQueue&) = delete;
    SideQueue& operator=(const SideQueue&) = delete;
    ~SideQueue();

    // --- sidecar side
    /// A queue of its own for this link. `overflow`: resolved. Lifetime: until close(), and then for
    /// as long as something of it waits. Side: any.
    [[nodiscard]] LinkQueue& open(LinkId link, Overflow overflow);
    /// Side: any.
    void close(LinkQueue& queue) noexcept;
    void push(LinkEvent event);
    enum class Put { taken, no_room, failed };
    /// `taken`: it waits, or was lost as the link's policy says, and counted. `no_room`: nothing
    /// changed; on_space is called once there is. `failed`: the policy is to fail; nothing changed.
    /// Throws bad_alloc, and what the key function throws.
    [[nodiscard]] Put put(LinkQueue& queue, std::uint64_t position, MessageKind kind,
                          std::span<const std::byte> payload, TimePoint now);
    /// Whether a message of this size would be taken. False: on_space is called once it is.
    [[nodiscard]] bool want_room(LinkQueue& queue, std::size_t payload_bytes, TimePoint now);

    // --- app side, who consumes
    struct GiveBack {
        SideQueue* home = nullptr;
        void operator()(SideEntry* entry) const noexcept { home->give_back(entry); }
    };
    using Entry = std::unique_ptr<SideEntry, GiveBack>;
    /// Whether the first comes before the record at `position`.
    [[nodiscard]] bool is_due(std::uint64_t position) const noexcept
    {
        return next_position() <= position;
    }
    /// Of the first; the largest there is if there is none.
    [[nodiscard]] std::uint64_t next_position() const noexcept
    {
        return next_position_.load(std::memory_order_seq_cst);
    }
    struct Taken {
        Entry entry{nullptr, {}}; ///< null: nothing was due after all, or it was left
        bool is_left = false;     ///< it would end the call, and was not to be taken
        bool frees_space = false; ///< a listener that waits for room has it now
    };
    enum class Ends { take, leave };
    [[nodiscard]] Taken take(std::uint64_t position, Ends ends);

    // --- both
    [[nodiscard]] bool has_any() const noexcept { return next_position() != none; }
    struct Counts {
        std::uint64_t received = 0, received_bytes = 0, taken = 0, taken_bytes = 0, lost_bytes = 0;
        std::array<std::uint64_t, 5> lost{}; ///< by GapReason
        std::uint64_t peak_messages = 0, peak_bytes = 0;
        [[nodiscard]] std::uint64_t lost_messages() const noexcept;
        [[nodiscard]] std::uint64_t queued() const noexcept
        {
            return received - taken - lost_messages();
        }
        [[nodiscard]] std::uint64_t queued_bytes() const noexcept
        {
            return received_bytes - taken_bytes - lost_bytes;
        }
    };
    /// From one moment.
    [[nodiscard]] Counts counts() const;
    /// When the oldest message that waits has arrived; empty: none waits.
    [[nodiscard]] std::optional<TimePoint> oldest() const;
    /// Memory of all that waits and of what is kept to be used again.
    [[nodiscard]] std::size_t memory_bytes() const;

private:
    using Order = boost::intrusive::list<
        SideEntry, boost::intrusive::member_hook<SideEntry, SideEntry::Hook, &SideEntry::in_order>,
        boost::intrusive::constant_time_size<false>>;
    static constexpr auto none = UINT64_MAX;

    struct Incoming {
        MessageKind kind;
        std::span<const std::byte> payload;
        std::optional<std::string_view> key;
        std::uint64_t position;
        TimePoint now;
    };
    [[nodiscard]] SideEntry& make(LinkQueue& queue, const Incoming& incoming);
    [[nodiscard]] SideEntry& make_gap(LinkQueue& queue, GapReason reason, std::uint64_t position,
                                      TimePoint at);
    void append(LinkQueue& queue, const Incoming& incoming);
    void replace(LinkQueue& queue, SideEntry& replaced, const Incoming& incoming);
    void lose(LinkQueue& queue, SideEntry& message, GapReason reason);
    void lose_newest(LinkQueue& queue, const Incoming& incoming);
    bool expire(LinkQueue& queue, TimePoint now);
    [[nodiscard]] bool is_first_due(std::uint64_t position) const noexcept;
    [[nodiscard]] bool expire_first();
    void note_level(LinkQueue& queue);
    void forget_superseded(const LinkEvent& event);
    void remove(SideEntry& entry) noexcept;
    void forget_if_done(LinkQueue& queue) noexcept;
    void note_received(std::size_t bytes) noexcept;
    void note_front() noexcept;
    void give_back(SideEntry* entry) noexcept;

    const AppClock& clock_; // both
    mutable std::mutex mutex_;
    SideEntryPool pool_; // both: guarded by mutex_, as all that follows
    Order order_;
    std::map<LinkId, std::unique_ptr<LinkQueue>> queues_;
    Counts counts_;
    std::atomic<std::uint64_t> next_position_{none}; // both: atomic, written with mutex_ held
};

} // namespace sidecar::detail
