// The messages that a link sends on every connection anew, and where each of them stands.
#pragma once

#include <sidecar/message.hpp>
#include <sidecar/sticky.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar::detail {

/// What a sticky message, or its taking back, sends. Constant once it is shared, so any thread.
struct StickyMessage {
    MessageKind kind = MessageKind::text;
    std::string payload;
    IsAnswer is_answer;

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept
    {
        return std::as_bytes(std::span{payload});
    }
    [[nodiscard]] bool says_the_same(const StickyMessage& other) const noexcept
    {
        return kind == other.kind && payload == other.payload;
    }
};

/// Knows for each key what is to be sent on this connection, what was sent, and what was answered.
/// Owned by the link. Invariants: a key has at most one message that takes back and one that
/// subscribes waiting, in this order; nothing is sent twice on one connection; and an answer counts
/// only for what is still wanted. Side: both, guarded by its mutex, which is not held while the
/// application's predicates run.
class Sticky {
public:
    using SharedMessage = std::shared_ptr<const StickyMessage>;

    // --- app side
    /// `position`: how much of the outbox goes before it. True: there is something to write.
    [[nodiscard]] bool stick(std::string key, StickyMessage message, std::uint64_t position);
    struct Removal {
        bool was_there = false;
        bool has_changed = false; ///< there is something to write, or nobody to wait for any more
    };
    /// `message` with an empty payload: nothing is sent.
    [[nodiscard]] Removal unstick(std::string_view key, StickyMessage message,
                                  std::uint64_t position);

    // --- both
    [[nodiscard]] std::optional<StickyState> state(std::string_view key) const;
    [[nodiscard]] StickyCounts counts() const;
    /// What was given last and is not written yet; 0: nothing.
    [[nodiscard]] std::uint64_t last_unwritten() const;
    /// Whether some of what was given until then is to be written, for the first time, or just being.
    [[nodiscard]] bool is_unwritten(std::uint64_t until = UINT64_MAX) const;

    // --- sidecar side
    /// There is a connection: everything is to be sent. Gives whether there is anything.
    [[nodiscard]] bool begin_connection();
    void end_connection();
    /// Something waits to be written; mostly one load.
    [[nodiscard]] bool has_to_write() const noexcept { return has_to_write_.load(); }
    /// What is to be written.
    struct Write {
        std::string key;
        SharedMessage message;
        bool takes_back = false;
    };
    /// All that is to be written now that the outbox has been written up to `position`.
    [[nodiscard]] std::vector<Write> take(std::uint64_t position);
    /// How far the outbox may be written before the next of these has its turn.
    [[nodiscard]] std::uint64_t limit() const;
    void written(const std::vector<Write>& writes);
    /// Whether some message that arrives may be an answer.
    [[nodiscard]] bool expects_answers();
    /// True: it was one.
    bool offer(const MessageView& message);
    /// Of those that begin_connection() found, the keys that are not confirmed yet.
    [[nodiscard]] std::vector<std::string> unconfirmed() const;
    [[nodiscard]] bool is_restored() const;
    /// They are not waited for any more.
    void stop_waiting();

private:
    struct Entry {
        SharedMessage message; ///< what subscribes; of an entry that is taken back, what did
        SharedMessage removal; ///< what takes it back, until that is done; null: it is wanted
        StickyState state = StickyState::waiting;
        StickyState state_before = StickyState::waiting; ///< it was taken back
        bool was_sent = false;                           ///< on this connection, in some form
        bool is_awaited = false;                         ///< before ordinary messages go out
        std::uint64_t order = 0;                         ///< in which they were given
        /// Of the message and of what takes it back: the number of the call that gave it; 0: it was
        /// written, on this connection or an earlier one.
        std::uint64_t unwritten = 0, unwritten_removal = 0;
    };
    using Entries = std::map<std::string, Entry, std::less<>>;
    struct Waiting {
        Write write;
        std::uint64_t position;
    };

    // with the mutex held
    void push(const std::string& key, SharedMessage message, bool takes_back,
              std::uint64_t position);
    [[nodiscard]] Waiting* find_waiting(std::string_view key, bool takes_back);
    bool withdraw(std::string_view key, bool takes_back);
    bool restick(const std::string& key, Entry& entry, StickyMessage message,
                 std::uint64_t position);
    void confirm(Entry& entry) noexcept;
    void erase(Entries::iterator at);
    void note_change() noexcept
    {
        has_to_write_.store(!waiting_.empty());
        expected_.reset();
    }
    [[nodiscard]] std::vector<Write> find_expected() const;
    // and without it
    [[nodiscard]] std::shared_ptr<const std::vector<Write>> expected();

    mutable std::mutex mutex_;
    Entries entries_;              // both: guarded by mutex_
    std::vector<Waiting> waiting_; // both: guarded by mutex_
    /// Whose answers are waited for; null: to be found out.
    std::shared_ptr<const std::vector<Write>> expected_; // both: guarded by mutex_
    bool has_connection_ = false;                        // both: guarded by mutex_
    std::uint64_t next_order_ = 0;                       // both: guarded by mutex_
    std::uint64_t calls_ = 0;               // both: guarded by mutex_; that gave something
    std::atomic<bool> has_to_write_{false}; // both: atomic, written with mutex_ held
};

} // namespace sidecar::detail
