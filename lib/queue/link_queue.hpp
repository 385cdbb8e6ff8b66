// A link's queue outside the ring: its events and, with an overflow policy, its messages.
#pragma once

#include "queue/overflow.hpp"

#include <sidecar/clock.hpp>
#include <sidecar/event.hpp>
#include <sidecar/message.hpp>
#include <sidecar/overflow.hpp>

#include <boost/intrusive/set_hook.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>

namespace sidecar::detail {

/// Counts in and out of all links' queues. Invariant: received = taken + queued() + all lost.
struct QueueCounts {
    std::uint64_t received = 0, received_bytes = 0, taken = 0, taken_bytes = 0, lost_bytes = 0;
    std::array<std::uint64_t, 5> lost{}; ///< by GapReason; `conflated`: replaced by newer ones
    std::uint64_t peak_messages = 0, peak_bytes = 0;
    [[nodiscard]] std::uint64_t queued() const noexcept
    {
        return received - taken - lost[1] - lost[2] - lost[3] - lost[4];
    }
    [[nodiscard]] std::uint64_t queued_bytes() const noexcept
    {
        return received_bytes - taken_bytes - lost_bytes;
    }
};

/// Whether receive() and poll() end at this event.
[[nodiscard]] bool ends_call(const Event& event) noexcept;
/// Converts the failure that ended a link to the one that receivers return: `timed_out`, of
/// connecting, becomes connect_failed, for they return `timed_out` for silence.
[[nodiscard]] Failure as_end(const Failure& why) noexcept;
/// Converts such an event to the failure that they return.
[[nodiscard]] Failure to_failure(Event event);

/// Holds the events of one link and, if it has an overflow policy, its messages, in order, with
/// counts of messages that are missing between them. Owned by the PolicyQueue, whose mutex guards
/// it. Invariants: messages are within the policy's bounds, unless there is only one; of entries
/// without a message there are at most max_run in a row and about max_events in all.
class LinkQueue : public boost::intrusive::set_base_hook<> {
public:
    /// Beyond that the queue forgets old entries of a row: of a link that comes and goes while
    /// nobody reads, the latest connections remain.
    static constexpr std::size_t max_run = 64;
    /// Beyond that the queue reports no room: messages between events keep rows short, so max_run
    /// does not bound the events.
    static constexpr std::size_t max_events = 1024;

    /// `overflow`: resolved; empty: only events are queued. Lifetime: `counts` outlives it.
    LinkQueue(LinkId link, std::optional<Overflow> overflow, QueueCounts& counts)
        : link_{link},
          overflow_{std::move(overflow)},
          level_{overflow_ ? overflow_->high : WaterMark{},
                 overflow_ ? overflow_->low : WaterMark{}},
          counts_{counts}
    {
    }
    LinkQueue(const LinkQueue&) = delete;
    LinkQueue& operator=(const LinkQueue&) = delete;

    [[nodiscard]] LinkId link() const noexcept { return link_; }
    /// Calls the policy's key function, and throws its exceptions; without one the topic is the key.
    /// Empty: no key. Side: sidecar,
    /// without the mutex.
    [[nodiscard]] std::optional<std::string_view> key_of(const MessageView& message) const;

    /// Order of an entry: `sequence` among the entries of all links; `position` of the ring's
    /// record that it precedes.
    struct Place {
        std::uint64_t sequence = 0, position = 0;
        bool operator==(const Place&) const = default;
    };
    struct Incoming {
        Place place;
        StoredKind kind;
        std::span<const std::byte> stored;
        std::optional<std::string_view> key;
        TimePoint now;
    };
    enum class PutOutcome { taken, no_room, failed };
    /// Adds a message. `taken`: it waits, or the policy dropped it, and it is counted. `no_room`:
    /// see take_wish(). `failed`: the policy is `fail`. If the message is not taken, or this throws
    /// bad_alloc, only expired messages have changed.
    [[nodiscard]] PutOutcome put(const Incoming& incoming);
    /// Whether a message of this size would be taken. False: see take_wish().
    [[nodiscard]] bool want_room(std::size_t payload_bytes, TimePoint now);
    /// Adds an event, but no second `writable` before the first is taken. Throws bad_alloc, and then
    /// has changed nothing.
    void push(Place place, std::unique_ptr<Event> event);
    /// Counts messages that the peer has not delivered, behind all entries. Adjacent ones are one gap.
    /// Throws bad_alloc, and then has changed nothing.
    void miss(Place place, std::uint64_t messages, TimePoint now);
    /// Forgets a listener's client if all its events wait, from `up` on, and no message behind them.
    /// Returns false if it cannot.
    [[nodiscard]] bool forget_client(std::uint64_t position) noexcept;
    /// Drops messages that have waited for longer than max_age.
    void expire(TimePoint now) noexcept;
    /// Adds or withdraws an event of the water level. It comes before all waiting messages: a slow
    /// reader would otherwise see it last. Call it after each change.
    void update_level(std::uint64_t sequence, TimePoint now) noexcept;

    [[nodiscard]] bool is_empty() const noexcept { return !level_event_ && entries_.empty(); }
    /// Returns the place of the first entry; the queue must not be empty.
    [[nodiscard]] Place front_place() const noexcept
    {
        return level_event_ ? Place{level_event_->sequence, 0} : entries_.front().place;
    }
    /// Orders queues by their first entries; none may be empty.
    bool operator<(const LinkQueue& other) const noexcept
    {
        return front_place().sequence < other.front_place().sequence;
    }
    [[nodiscard]] bool front_ends_call() const noexcept;
    /// Takes the first event, gap or message; the queue must not be empty.
    [[nodiscard]] Event take();

    /// True once after want_room() or put() found no room: now half is free.
    [[nodiscard]] bool take_wish() noexcept
    {
        return wants_room_ && is_half_free() && std::exchange(wants_room_, false);
    }
    /// Records that no more messages will be put.
    void close() noexcept { is_closed_ = true; }
    /// Whether the queue is empty, and closed or without a policy.
    [[nodiscard]] bool is_done() const noexcept { return is_empty() && (is_closed_ || !overflow_); }
    /// Returns when the oldest message arrived: the one that arrived first, not the first in order.
    /// A conflated message keeps an old place and is yet new.
    [[nodiscard]] std::optional<TimePoint> oldest() const noexcept
    {
        return by_arrival_.empty() ? std::nullopt
                                   : std::optional{message_of(by_arrival_.front()).arrival()};
    }
    /// Returns the bytes of its messages, as queue_bytes counts them.
    [[nodiscard]] std::size_t used_bytes() const noexcept { return used_bytes_; }
    [[nodiscard]] std::size_t entry_count() const noexcept { return entries_.size(); }

private:
    /// Counts messages that are missing before an entry. It is part of the entry behind them: a gap
    /// costs no memory, and adjacent losses are one gap for each reason.
    struct Missing {
        std::array<std::uint64_t, 6> count{}; // by GapReason
        std::uint64_t total = 0;
        TimePoint at{};               // when the first of them arrived
        std::uint32_t connection = 0; // of the first of them
        void add(GapReason reason, std::uint64_t messages) noexcept
        {
            count[static_cast<std::size_t>(reason)] += messages;
            total += messages;
        }
        void put_before(const Missing& earlier) noexcept;
    };
    struct Entry;
    using Entries = std::list<Entry>;
    using At = Entries::iterator;
    using ByArrival = std::list<At>;
    /// An event or a message; without content, the losses at the end of the queue.
    struct Entry {
        Place place{};
        Missing missing{}; // before it
        std::variant<std::monostate, Message, std::unique_ptr<Event>> content{};
        ByArrival::iterator arrival{};    // message: its place in by_arrival_
        std::size_t cost = 0;             // message: as counted in used_bytes_
        const std::string* key = nullptr; // message: in keys_; null: nothing replaces it
    };
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view key) const noexcept
        {
            return std::hash<std::string_view>{}(key);
        }
    };
    using Keys = std::unordered_map<std::string, At, Hash, std::equal_to<>>;
    /// A message that is prepared outside the queue, so that adding it needs no memory.
    struct Fresh {
        Entries entry;
        ByArrival by_arrival;
        Keys key;
    };
    struct LevelEvent {
        std::uint64_t sequence;
        Event::Kind kind;
        TimePoint at;
    };

    friend std::size_t entry_cost(std::size_t payload_bytes, std::size_t key_bytes) noexcept;
    [[nodiscard]] static const Message& message_of(At at) { return std::get<Message>(at->content); }
    [[nodiscard]] static bool is_message(const Entry& entry) noexcept
    {
        return std::holds_alternative<Message>(entry.content);
    }
    [[nodiscard]] static bool is_writable(const Entry& entry) noexcept
    {
        const auto* event = std::get_if<std::unique_ptr<Event>>(&entry.content);
        return event && (*event)->kind == Event::Kind::writable;
    }
    [[nodiscard]] At find(const std::optional<std::string_view>& key);
    [[nodiscard]] bool has_room(std::size_t cost, At replaced) const noexcept;
    [[nodiscard]] bool is_half_free() const noexcept;
    [[nodiscard]] Message make(const Incoming& incoming) const;
    [[nodiscard]] Fresh make_fresh(const Incoming& incoming);
    void append(Fresh fresh) noexcept;
    void replace(At at, Message message, std::size_t cost) noexcept;
    void lose_newest(const Incoming& incoming);
    void lose(At at, GapReason reason) noexcept;
    void add_entry(Entries& entry) noexcept;
    [[nodiscard]] bool ends_in_losses_at(Place place) const noexcept;
    void forget_keys() noexcept;
    void forget_message(At at) noexcept;
    void trim_run(At at) noexcept;
    [[nodiscard]] bool is_same_run(const Entry& a, const Entry& b) const noexcept;
    void count_received(const Incoming& incoming) noexcept;
    void update_peaks() noexcept;

    const LinkId link_;                      // both: constant
    const std::optional<Overflow> overflow_; // both: constant
    Entries entries_;                        // both: guarded, like all members below
    ByArrival by_arrival_;                   // the messages, in the order of arrival
    Keys keys_;                              // messages that a newer one with their key replaces
    std::size_t payload_bytes_ = 0, used_bytes_ = 0;
    WaterLevel level_;
    std::optional<LevelEvent> level_event_; // not taken yet
    std::uint32_t connection_ = 1;          // of the latest `up`, and of messages put now
    bool wants_room_ = false, is_closed_ = false;
    bool has_writable_ = false; // the event is among the entries
    QueueCounts& counts_;       // of all links
};

/// Returns how many of its queue's bytes a message costs: its memory, and the key's if there is
/// one.
[[nodiscard]] std::size_t entry_cost(std::size_t payload_bytes, std::size_t key_bytes = 0) noexcept;

} // namespace sidecar::detail
