// MockConnection: one connection of a MockPeer, for its hooks; MockConnectionLog: what happened on it.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/envelope.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar {

class MockPeer;
namespace mock {
struct State;
}

/// One connect of the sidecar, and the connection that it made, as the peer saw them. Times are
/// those of the feed's clock.
struct MockConnectionLog {
    enum class End {
        open,              ///< not yet
        refused,           ///< it never was up; `failure` says why
        failed,            ///< the peer dropped or reset it, or an operation failed: `failure`
        closed_by_peer,    ///< MockPeer::close
        closed_by_sidecar, ///< politely, and the peer answered
        aborted,           ///< the sidecar gave it up: a timeout, a silent peer, a stop
    };
    struct OwnedHeader {
        OwnedHeader(const Header& from) : name{from.name}, value{from.value} {} // NOLINT: implicit
        std::string name, value;
    };
    struct Written {
        TimePoint at{};
        MessageKind kind = MessageKind::text;
        std::string text{};              ///< the payload, of a binary message too
        bool is_whole = true;            ///< false: the write failed in this message
        std::string topic{}, reply_to{}; ///< of SendOptions; only with Mock::Options::topics
        std::vector<OwnedHeader> headers{};
    };

    std::uint32_t number = 0; ///< of the connect, counted from 1 for each peer
    std::string token{};      ///< Mock::Options::token of this attempt
    TimePoint began{};
    std::optional<TimePoint> accepted{}; ///< empty: not yet, or never
    std::vector<Written> written{};      ///< what the sidecar wrote, oldest first
    std::optional<TimePoint> closing{};  ///< when the sidecar began to close politely
    End end = End::open;
    TimePoint ended{};
    std::optional<Failure> failure{}; ///< what the sidecar's operation failed with
    std::uint16_t close_code = 0;     ///< of the side that closed
    std::string close_reason{};
};
/// Returns "closed by the sidecar" and the like.
[[nodiscard]] SIDECAR_API std::string_view to_string(MockConnectionLog::End end) noexcept;

/// One connection of a MockPeer. The peer's hooks receive it. Copies are the same connection; calls
/// after its end do nothing. Side: any thread. Blocks: never.
class SIDECAR_API MockConnection {
public:
    /// The number of the connect, counted from 1 for each peer. Refused connects count too.
    [[nodiscard]] std::uint32_t number() const noexcept { return number_; }
    /// Mock::Options::token of this attempt.
    [[nodiscard]] const std::string& token() const noexcept { return token_; }
    /// Returns whether what is delivered now can arrive: the connection has not ended, and no end is
    /// queued.
    [[nodiscard]] bool is_open() const;
    /// Returns its log up to now.
    [[nodiscard]] MockConnectionLog log() const;
    /// Returns its peer. A hook that captured the peer by value would keep it alive for ever.
    [[nodiscard]] MockPeer peer() const;

    /// Delivers a message on this connection only: it is lost if the connection ends before.
    void deliver(std::string_view text);
    void deliver(std::span<const std::byte> bytes);
    /// Delivers a text with a topic, headers and so on. Lifetime: copied at once.
    void deliver(std::string_view text, const Envelope& envelope);
    /// Delivers a text after this virtual time.
    void deliver_after(Duration delay, std::string_view text);

    /// Fails the connect. Only within on_connect, which may also throw the failure.
    void refuse();
    void refuse(Failure why);
    /// Drops the connection: as MockPeer::drop().
    void drop();
    /// Drops it with a connection reset.
    void reset();
    /// Fails reads with this failure, after the messages delivered before; writes and pings fail at
    /// once.
    void fail(Failure why);
    /// Closes politely, after the messages delivered before.
    void close(std::uint16_t code, std::string_view reason);

    /// Holds writes and pings of this connection until release_writes().
    void hold_writes();
    void release_writes();
    /// Delivers nothing from now on, and answers neither pings nor a close. Takes what the sidecar
    /// writes.
    void go_silent();
    /// Never answers a close: only abort() ends it.
    void ignore_close();

private:
    friend class Mock;
    friend class MockPeer;
    SIDECAR_LOCAL MockConnection(std::shared_ptr<mock::State> state, std::uint32_t number,
                                 std::string token);
    template <class Change>
    SIDECAR_LOCAL void change(Change change);

    std::shared_ptr<mock::State> state_; // both: guarded by its mutex
    std::uint32_t number_;               // both: constant
    std::string token_;                  // both: constant
};

} // namespace sidecar
