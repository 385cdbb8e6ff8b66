// The messages that a link sends on every connection anew, and the state of each.
#pragma once

#include "link/message_watcher.hpp"
#include "queue/outbox.hpp"

#include <sidecar/message.hpp>
#include <sidecar/sticky.hpp>

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
#include <vector>

namespace sidecar::detail {

/// The message that subscribes, or the one that unsubscribes. Constant once it is shared, so any
/// thread.
struct SubscriptionMessage {
    MessageKind kind = MessageKind::text;
    std::string payload;
    IsAnswer is_answer;

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept
    {
        return std::as_bytes(std::span{payload});
    }
    [[nodiscard]] bool says_the_same(const SubscriptionMessage& other) const noexcept
    {
        return kind == other.kind && payload == other.payload;
    }
};

/// Knows for each key what is to be sent on this connection, what was sent, and what was answered;
/// the outbox holds the messages. Owned by the link. Invariants: of a key at most one message that
/// unsubscribes and one that subscribes wait in the outbox, in this order; nothing is sent twice on
/// one connection; and an answer counts only for a key that is still wanted. Side: both, guarded by
/// its mutex, which is not held while the application's predicates run.
class Subscriptions final : public MessageWatcher {
public:
    using SharedMessage = std::shared_ptr<const SubscriptionMessage>;

    /// Lifetime: `outbox` outlives it, and writes nothing after it.
    explicit Subscriptions(Outbox& outbox) noexcept : outbox_{outbox} {}

    // --- app side
    /// True: the outbox has something new.
    [[nodiscard]] bool add(std::string key, SubscriptionMessage message);
    /// True: it was there, and the outbox has something new, or less to wait for. `message` with an
    /// empty payload: nothing is sent.
    [[nodiscard]] bool remove(std::string_view key, SubscriptionMessage message);

    // --- both
    [[nodiscard]] std::optional<StickyState> state(std::string_view key) const;
    [[nodiscard]] StickyCounts counts() const;
    /// The latest call whose message was never written yet; 0: none.
    [[nodiscard]] std::uint64_t last_unwritten() const;
    /// Whether a message of a call up to this one was never written, or is just being written.
    [[nodiscard]] bool is_unwritten(std::uint64_t until = UINT64_MAX) const;

    // --- sidecar side
    /// There is a connection: everything is to be sent. Gives whether there is anything.
    [[nodiscard]] bool begin_connection();
    /// Before the outbox ends it.
    void end_connection();
    /// Whether some message that arrives may be an answer.
    [[nodiscard]] bool expects_answers();
    /// Passes every message on. Calls `on_answer` after one that confirms.
    Verdict offer(const MessageView& message) override;
    std::function<void()> on_answer{};
    /// Of those that begin_connection() found, the keys that are not confirmed yet.
    [[nodiscard]] std::vector<std::string> unconfirmed() const;
    [[nodiscard]] bool is_restored() const;
    /// They are not waited for any longer.
    void stop_waiting();

private:
    /// A message of an entry, and how far it went.
    struct Step {
        SharedMessage message;
        /// The number of the call that gave it; 0: it was written, on this connection or an earlier
        /// one.
        std::uint64_t unwritten = 0;
        std::uint64_t queued = 0; ///< its number in the outbox, until it is written; 0: not there
    };
    struct Entry {
        Step addition;
        Step removal;                             ///< without a message: it is wanted
        StickyState state = StickyState::waiting; ///< of the addition
        bool was_sent = false;                    ///< on this connection, in some form
        bool is_awaited = false;                  ///< before ordinary messages go out
        std::uint64_t order = 0;                  ///< in which they were given

        [[nodiscard]] StickyState shown_state() const noexcept
        {
            return removal.message ? StickyState::removal_pending : state;
        }
    };
    using Entries = std::map<std::string, Entry, std::less<>>;
    /// An answer that is waited for.
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
    /// Null: to be found out.
    std::shared_ptr<const std::vector<Expected>> expected_; // both: guarded by mutex_
    bool has_connection_ = false;                           // both: guarded by mutex_
    std::uint64_t next_order_ = 0;                          // both: guarded by mutex_
    std::uint64_t calls_ = 0; // both: guarded by mutex_; that gave something
};

} // namespace sidecar::detail
