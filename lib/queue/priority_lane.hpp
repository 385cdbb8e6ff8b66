// The messages of a link that are sent before all ordinary ones.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>

namespace sidecar::detail {

/// How much of what is queued the connection may write now; each allows what those before it do.
enum class SendGate : std::uint8_t {
    shut,      ///< nothing: there is no connection, or it is being closed
    session,   ///< messages of on_connected
    restoring, ///< the whole priority lane
    open,      ///< ordinary messages too
};

/// A message of the priority lane.
struct PriorityMessage {
    enum class Origin : std::uint8_t {
        application,  ///< Lane::control: kept or lost like an ordinary message
        session,      ///< these three belong to one connection, and go with it
        subscription, ///< keeps its place among the ordinary messages
        heartbeat,    ///< not limited in its rate, and no message in any count
    };
    enum class Step : std::uint8_t { writing, written };

    Message message{};
    Origin origin = Origin::application;
    std::uint32_t connection = 0;          ///< which it is bound to; 0: none
    TimePoint deadline = TimePoint::max(); ///< when it is late
    std::uint64_t place = 0;               ///< how far ordinary messages are written before it
    /// Side: sidecar, without a lock; gets the message's number.
    std::function<void(std::uint64_t, Step)> on_step{};
    std::uint64_t number = 0; ///< set by the lane
};

/// Owned by the outbox, which guards it with its mutex. Only the sidecar side changes `writing`.
/// Invariants: both lists are in the order of the numbers; a message of the application's is
/// waiting, being written, or counted once as written, late or unsent.
class PriorityLane {
public:
    static constexpr std::size_t max_messages = 64, max_bytes = 64u << 10;
    /// Of no message.
    static constexpr std::uint64_t no_number = UINT64_MAX;
    using Messages = std::list<PriorityMessage>;

    /// For a message of the application's: one always fits into a lane without any, whatever its size.
    [[nodiscard]] bool has_room(std::size_t payload_bytes) const noexcept;
    /// Gives its number; they grow from 1.
    std::uint64_t push(PriorityMessage message);
    /// True: it was waiting, and is gone.
    bool withdraw(std::uint64_t number) noexcept;
    /// True: it was waiting, and says this from now on.
    bool replace(std::uint64_t number, Message& message) noexcept;
    /// Counts messages that are late, or bound to another connection. Gives the first of each.
    struct Dropped {
        std::uint64_t first_late = no_number, first_unsent = no_number;
    };
    [[nodiscard]] Dropped drop(std::uint32_t connection, TimePoint now) noexcept;
    /// Moves what may go now to `writing`: heartbeats alone, or all the rest. `written`: how far
    /// the ordinary messages are. False: nothing may.
    bool take(SendGate gate, std::uint64_t written) noexcept;
    /// Those from this number on wait again.
    void put_back(std::uint64_t from) noexcept;
    /// The first so many of `writing` are written. Gives them.
    [[nodiscard]] Messages written(std::size_t count);
    /// The write of the first so many failed: they are lost. Gives the first of the application's.
    std::uint64_t lose_writing(std::size_t count) noexcept;
    /// The connection ended; of the application's messages those stay that are bound to none, if
    /// `keep`. Gives the first that is lost.
    std::uint64_t end_connection(bool keep) noexcept;

    [[nodiscard]] const Messages& writing() const noexcept { return writing_; }
    /// The first message of `writing` from this number on, which moves behind it.
    [[nodiscard]] MessageView read(std::uint64_t& number) const noexcept;
    /// Behind the last message of `writing`.
    [[nodiscard]] std::uint64_t writing_end() const noexcept { return writing_.back().number + 1; }
    [[nodiscard]] bool empty() const noexcept { return waiting_.empty() && writing_.empty(); }
    [[nodiscard]] std::uint64_t last_number() const noexcept { return last_number_; }
    /// The first of the application's that is waiting or being written; no_number: none.
    [[nodiscard]] std::uint64_t first_open() const noexcept;
    /// Up to where ordinary messages may be written, so that none overtakes a subscription.
    [[nodiscard]] std::uint64_t first_place() const noexcept;

    struct Counts {
        std::uint64_t accepted = 0, late = 0, unsent = 0;
        std::uint64_t queued = 0, queued_bytes = 0; ///< the application's, being written included
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
