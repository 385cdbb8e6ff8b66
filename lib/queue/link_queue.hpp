// One link's part of the stream that waits beside the ring.
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

/// What went in and out of all links' queues. Invariant: received = taken + queued() + what was lost.
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

/// Whether receive() and poll() end at such an event.
[[nodiscard]] bool ends_call(const Event& event) noexcept;
/// What they return then.
[[nodiscard]] Failure to_failure(Event event);

/// The events of one link and, if it has an overflow policy, its messages, in order; with what is
/// missing between them. Owned by the PolicyQueue, whose mutex guards it. Invariants: messages are
/// within the policy's bounds, unless there is only one; of entries without a message there are at most
/// max_run in a row and about max_events in all.
class LinkQueue : public boost::intrusive::set_base_hook<> {
public:
    /// Beyond that the oldest seams of a row are forgotten: of a link that comes and goes while nobody
    /// looks, the latest connections are kept.
    static constexpr std::size_t max_run = 64;
    /// Beyond that the queue has no room, since so many seams separate its messages.
    static constexpr std::size_t max_events = 1024;

    /// `overflow`: resolved; none: only events are queued. Lifetime: `counts` outlives it.
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
    /// Calls the policy's key function. Throws what that throws. Side: sidecar, without the
    /// mutex.
    [[nodiscard]] std::optional<std::string_view> key_of(const MessageView& message) const;

    /// Where an entry belongs: in the order of all links' entries, and before which record of the ring.
    struct Place {
        std::uint64_t sequence = 0, position = 0;
        bool operator==(const Place&) const = default;
    };
    struct Incoming {
        Place place;
        MessageKind kind;
        std::span<const std::byte> payload;
        std::optional<std::string_view> key;
        TimePoint now;
    };
    enum class PutOutcome { taken, no_room, failed };
    /// `taken`: it waits, or was lost as the policy says, and counted. `no_room`: see take_wish().
    /// `failed`: the policy is to fail. If it is not taken, or this throws bad_alloc, then only what is
    /// too old has changed.
    [[nodiscard]] PutOutcome put(const Incoming& incoming);
    /// Whether a message of this size would be taken. False: see take_wish().
    [[nodiscard]] bool want_room(std::size_t payload_bytes, TimePoint now);
    /// Throws bad_alloc, and then has changed nothing.
    void push(Place place, std::unique_ptr<Event> event);
    /// Loses what has waited for too long.
    void expire(TimePoint now) noexcept;
    /// Adds or takes back an event of its level, which comes before all else. Call it after each change.
    void update_level(std::uint64_t sequence, TimePoint now) noexcept;

    [[nodiscard]] bool is_empty() const noexcept { return !level_event_ && entries_.empty(); }
    /// Of what comes first; the queue must not be empty.
    [[nodiscard]] Place front_place() const noexcept
    {
        return level_event_ ? Place{level_event_->sequence, 0} : entries_.front().place;
    }
    /// The queues that are not empty are in the order of their first entries.
    bool operator<(const LinkQueue& other) const noexcept
    {
        return front_place().sequence < other.front_place().sequence;
    }
    [[nodiscard]] bool front_ends_call() const noexcept;
    /// Takes the first: an event, a gap, or a message.
    [[nodiscard]] Event take();

    /// True once: want_room() or put() found no room, and now half is free.
    [[nodiscard]] bool take_wish() noexcept
    {
        return wants_room_ && is_half_free() && std::exchange(wants_room_, false);
    }
    /// No more will be put.
    void close() noexcept { is_closed_ = true; }
    /// Closed and empty, or of a link without a policy.
    [[nodiscard]] bool is_done() const noexcept { return is_empty() && (is_closed_ || !overflow_); }
    /// When the oldest message arrived.
    [[nodiscard]] std::optional<TimePoint> oldest() const noexcept
    {
        return by_arrival_.empty() ? std::nullopt
                                   : std::optional{message_of(by_arrival_.front()).arrival()};
    }
    /// Of its messages, as the bound counts them.
    [[nodiscard]] std::size_t used_bytes() const noexcept { return used_bytes_; }
    [[nodiscard]] std::size_t entry_count() const noexcept { return entries_.size(); }

private:
    /// How many messages are missing before an entry.
    struct Missing {
        std::array<std::uint64_t, 5> count{}; // by GapReason
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
    /// One piece of the stream; without content, a place where messages are missing at the end.
    struct Entry {
        Place place{};
        Missing missing{}; // before it
        std::variant<std::monostate, Message, std::unique_ptr<Event>> content{};
        std::uint64_t replaced = 0;       // message: how many older ones it has replaced
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
    /// A message that is not in the queue yet: then adding it needs no memory.
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
    void forget_message(At at) noexcept;
    void trim_run(At at) noexcept;
    [[nodiscard]] bool is_same_run(const Entry& a, const Entry& b) const noexcept;
    void count_received(const Incoming& incoming) noexcept;
    void update_peaks() noexcept;

    const LinkId link_;                      // both: constant
    const std::optional<Overflow> overflow_; // both: constant
    Entries entries_;                        // both: guarded, as all that follows
    ByArrival by_arrival_;                   // the messages, the oldest first
    Keys keys_;                              // messages that a newer one of their key replaces
    std::size_t payload_bytes_ = 0, used_bytes_ = 0;
    WaterLevel level_;
    std::optional<LevelEvent> level_event_; // not taken yet
    std::uint32_t connection_ = 1;          // the latest `up`'s; what is put belongs to it
    bool wants_room_ = false, is_closed_ = false;
    QueueCounts& counts_; // of all links
};

/// What a message costs of its queue's bytes: its memory, with the key if there is one.
[[nodiscard]] std::size_t entry_cost(std::size_t payload_bytes, std::size_t key_bytes = 0) noexcept;

} // namespace sidecar::detail
