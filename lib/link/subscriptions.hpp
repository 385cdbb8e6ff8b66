// Subscriptions: messages that a link sends anew on every connection.
#pragma once

#include "link/message_watcher.hpp"
#include "queue/outbox.hpp"

#include <sidecar/message.hpp>
#include <sidecar/subscription.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar::detail {

/// The message that subscribes or unsubscribes. Constant once it is shared. Side: any thread.
struct SubscriptionMessage {
    MessageKind kind = MessageKind::text;
    std::string payload;
    AckPredicate is_answer;

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept
    {
        return std::as_bytes(std::span{payload});
    }
    [[nodiscard]] static SubscriptionMessage of(Subscription subscription)
    {
        return {subscription.kind, std::move(subscription.message),
                std::move(subscription.is_answer)};
    }
    [[nodiscard]] bool says_the_same(const SubscriptionMessage& other) const noexcept
    {
        return kind == other.kind && payload == other.payload;
    }
};

/// Tracks, for each key, the message to send on this connection, whether it is sent, and whether it
/// is answered. The outbox holds the messages.
/// A subscription is a message of the priority queue with a place among the ordinary ones: added on
/// a connection, it overtakes none of them, and none overtakes it.
/// Owned by the link. Invariants: of one key at most one unsubscribing and one subscribing message
/// wait in the outbox, in this order; a connection gets no subscription twice, unless it was
/// removed or changed; an answer counts only for a key that is still wanted. Side: both, guarded by
/// its mutex, which is not held while the application's predicates run.
class Subscriptions final : public MessageWatcher {
public:
    using SharedMessage = std::shared_ptr<const SubscriptionMessage>;

    /// Lifetime: `outbox` outlives it, and writes nothing after it.
    explicit Subscriptions(Outbox& outbox) noexcept : outbox_{outbox} {}

    // --- app side
    /// Adds a subscription. Returns whether the outbox has something new.
    [[nodiscard]] bool add(std::string key, SubscriptionMessage message);
    /// Removes a subscription. Returns whether there was one; then the outbox has something new, or
    /// less to wait for. `message` with an empty payload: sends nothing.
    [[nodiscard]] bool remove(std::string_view key, SubscriptionMessage message);

    // --- both
    [[nodiscard]] std::optional<SubscriptionState> state(std::string_view key) const;
    [[nodiscard]] SubscriptionCounts counts() const;
    /// Returns the number of the latest call whose message was never written; 0: none.
    [[nodiscard]] std::uint64_t last_unwritten() const;
    /// Returns whether a message of a call up to this one was never written or is being written.
    [[nodiscard]] bool is_unwritten(std::uint64_t until = UINT64_MAX) const;

    // --- sidecar side
    /// A connection begins: queues all subscriptions. Returns whether there are any.
    [[nodiscard]] bool begin_connection();
    /// The connection has ended: all subscriptions wait for the next one, and pending removals are
    /// done.
    void end_connection();
    /// Returns whether a message that arrives may be an answer.
    [[nodiscard]] bool expects_answers();
    /// Lets every message pass. Calls `on_answer` after an answer.
    Verdict offer(const MessageView& message) override;
    std::function<void()> on_answer{};
    /// Returns the keys that begin_connection() found and that are not acknowledged yet.
    [[nodiscard]] std::vector<std::string> unacknowledged() const;
    [[nodiscard]] bool is_restored() const;
    /// No longer waits for them.
    void stop_waiting();

private:
    /// A message of an entry, and its progress.
    struct Step {
        SharedMessage message;
        /// The number of its call; 0: it was written, on this connection or an earlier one.
        std::uint64_t unwritten = 0;
        std::uint64_t queued = 0; ///< its number in the outbox until it is written; 0: none
    };
    struct Entry {
        Step addition;
        Step removal;                                         ///< without a message: still wanted
        SubscriptionState state = SubscriptionState::waiting; ///< of the addition
        bool was_sent = false;   ///< on this connection: this message or an earlier one
        bool is_awaited = false; ///< ordinary messages wait for it
        std::uint64_t order = 0; ///< of the add() calls

        [[nodiscard]] SubscriptionState shown_state() const noexcept
        {
            return removal.message ? SubscriptionState::removal_pending : state;
        }
    };
    using Entries = std::map<std::string, Entry, std::less<>>;
    /// An expected answer.
    struct Expected {
        std::string key;
        SharedMessage message;
        bool is_removal = false;
    };

    // with the mutex held
    [[nodiscard]] std::uint64_t push(const std::string& key, const SubscriptionMessage& message,
                                     bool is_removal, bool keeps_place);
    [[nodiscard]] bool withdraw(std::uint64_t number);
    bool add_again(const std::string& key, Entry& entry, SubscriptionMessage message);
    void confirm(Entry& entry) noexcept;
    void erase(Entries::iterator at);
    [[nodiscard]] std::vector<Expected> find_expected() const;
    // and without it
    void record_step(const std::string& key, bool is_removal, std::uint64_t number,
                     PriorityMessage::Step step);
    [[nodiscard]] std::shared_ptr<const std::vector<Expected>> expected();

    Outbox& outbox_; // both
    mutable std::mutex mutex_;
    Entries entries_; // both: guarded by mutex_
    /// Null: must be computed anew.
    std::shared_ptr<const std::vector<Expected>> expected_; // both: guarded by mutex_
    bool has_connection_ = false;                           // both: guarded by mutex_
    std::uint64_t next_order_ = 0;                          // both: guarded by mutex_
    std::uint64_t calls_ = 0; // both: guarded by mutex_; that gave a message
};

} // namespace sidecar::detail
