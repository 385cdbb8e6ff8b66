// A link's messages that are sent before ordinary ones.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>

namespace sidecar::detail {

/// Which queued messages the connection may write now; each value allows all that those before it
/// allow.
enum class SendGate : std::uint8_t {
    shut,      ///< nothing: there is no connection, or it is being closed
    session,   ///< messages of on_connected
    restoring, ///< the whole priority queue
    open,      ///< ordinary messages too
};

/// A message of the priority queue.
struct PriorityMessage {
    enum class Origin : std::uint8_t {
        application,     ///< Priority::high: kept or lost like an ordinary message
        session,         ///< of on_connected; all but the application's end with their connection
        subscription,    ///< keeps its place among the ordinary messages
        acknowledgement, ///< of a message that was taken; ends with its connection, counted nowhere
        heartbeat,       ///< not rate limited, and counted nowhere
    };
    enum class Step : std::uint8_t { writing, written };

    Message message{};
    Origin origin = Origin::application;
    std::uint32_t connection = 0;          ///< it is bound to this one; 0: to none
    TimePoint deadline = TimePoint::max(); ///< late from then on
    std::uint64_t place = 0;               ///< waits for ordinary messages up to here
    /// Gets the message's number. Side: sidecar, without a lock.
    std::function<void(std::uint64_t, Step)> on_step{};
    std::uint64_t number = 0; ///< set by the priority
};

/// Whether the rate limit does not count such a message.
[[nodiscard]] inline bool is_not_limited(PriorityMessage::Origin origin) noexcept
{
    return origin >= PriorityMessage::Origin::acknowledgement;
}

/// Holds messages that wait, and those being written. Owned by the outbox, which guards it with its
/// mutex. Only the sidecar side changes `writing`. Invariants: both lists are in the order of the
/// numbers; a message of the application is waiting, being written, or counted once as written,
/// late or unsent.
class PriorityQueue {
public:
    static constexpr std::size_t max_messages = 64, max_bytes = 64u << 10;
    /// The number of no message.
    static constexpr std::uint64_t no_number = UINT64_MAX;
    using Messages = std::list<PriorityMessage>;

    /// Whether a message of the application fits. One always fits into a priority without any, whatever
    /// its size.
    [[nodiscard]] bool has_room(std::size_t payload_bytes) const noexcept;
    /// Adds a message and returns its number; numbers grow from 1. Throws bad_alloc.
    std::uint64_t push(PriorityMessage message);
    /// Removes a message that waits. False: it no longer waits.
    bool withdraw(std::uint64_t number) noexcept;
    /// Swaps the content of a message that waits. False: it no longer waits.
    bool replace(std::uint64_t number, Message& message) noexcept;
    /// Drops and counts messages that are late or bound to another connection. Returns for each
    /// kind the number of the application's first one.
    struct Dropped {
        std::uint64_t first_late = no_number, first_unsent = no_number;
    };
    [[nodiscard]] Dropped drop(std::uint32_t connection, TimePoint now) noexcept;
    /// Moves messages that may be written now to `writing`: heartbeats and acknowledgements alone, or
    /// all others.
    /// `written`: how far ordinary messages are written. False: there are none.
    bool take(SendGate gate, std::uint64_t written) noexcept;
    /// Puts messages of `writing` from this number on back; they wait again.
    void put_back(std::uint64_t from) noexcept;
    /// Removes and returns the first `count` messages of `writing`: they are written.
    [[nodiscard]] Messages written(std::size_t count);
    /// Loses the first `count` messages of `writing`, whose write failed. Returns the number of the
    /// application's first lost message.
    std::uint64_t lose_writing(std::size_t count) noexcept;
    /// Loses waiting messages at the end of a connection. With `keep`, messages of the application
    /// that are bound to none stay. Returns the number of the application's first lost message.
    std::uint64_t end_connection(bool keep) noexcept;

    [[nodiscard]] const Messages& writing() const noexcept { return writing_; }
    /// Returns the first message of `writing` from this number on, and moves the number behind it.
    [[nodiscard]] MessageView read(std::uint64_t& number) const noexcept;
    /// Returns the number behind the last message of `writing`.
    [[nodiscard]] std::uint64_t writing_end() const noexcept { return writing_.back().number + 1; }
    [[nodiscard]] bool empty() const noexcept { return waiting_.empty() && writing_.empty(); }
    [[nodiscard]] std::uint64_t last_number() const noexcept { return last_number_; }
    /// Returns the number of the application's first message that waits or is being written;
    /// no_number: there is none.
    [[nodiscard]] std::uint64_t first_open() const noexcept;
    /// Returns up to where ordinary messages may be written, so that none overtakes a subscription.
    [[nodiscard]] std::uint64_t first_place() const noexcept;

    struct Counts {
        std::uint64_t accepted = 0, late = 0, unsent = 0;
        std::uint64_t queued = 0, queued_bytes = 0; ///< the application's, being written included
        std::uint64_t acknowledgements = 0;         ///< queued, being written included
    };
    [[nodiscard]] const Counts& counts() const noexcept { return counts_; }

private:
    template <class IsLost>
    std::uint64_t lose(Messages& messages, std::uint64_t Counts::*as, IsLost is_lost) noexcept;
    [[nodiscard]] Messages::iterator find_waiting(std::uint64_t number) noexcept;
    void leave_queue(const PriorityMessage& message) noexcept;

    Messages waiting_;              // both: guarded by the outbox's mutex
    Messages writing_;              // both: guarded by the outbox's mutex
    std::uint64_t last_number_ = 0; // both: guarded by the outbox's mutex
    Counts counts_;                 // both: guarded by the outbox's mutex
    mutable Messages::const_iterator next_ =
        writing_.end(); // sidecar side; read() looks here first
};

} // namespace sidecar::detail
