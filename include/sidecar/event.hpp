// Event: one entry of the ordered stream that next_event() gives.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/session.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar {

using WallTime = std::chrono::system_clock::time_point;

/// Why messages are missing.
enum class GapReason : std::uint8_t {
    none,
    dropped_oldest, ///< the queue was full, and OverflowPolicy::drop_oldest
    dropped_newest, ///< the queue was full, and OverflowPolicy::drop_newest
    conflated,      ///< newer messages of the same keys took their places
    too_old,        ///< they had waited for longer than the limit
};
[[nodiscard]] SIDECAR_API std::string_view to_string(GapReason reason) noexcept;

struct Event;
/// One line, for people: what it is, of which link, and what belongs to its kind. Of a message its
/// size, not what stands in it.
[[nodiscard]] SIDECAR_API std::string to_string(const Event& event);

/// One entry of the whole ordered stream that next_event() gives.
struct Event {
    enum class Kind : std::uint8_t {
        up,      ///< the link is connected: `connection`, `continuity`, `protocol`
        message, ///< `message` holds it
        down,    ///< the link is gone; `failure` says why, `next_attempt` when it tries again
        stopped, ///< the last event of all
        gap,     ///< here `missing` messages are missing, for this `gap_reason`
        /// What comes before ordinary messages is done, on a link that has something to restore;
        /// `failure` says which sticky messages were not answered in time, if any
        ready,
        /// An attempt to come back failed; `failure` and `next_attempt` as in `down`. The last one of
        /// an outage has no next attempt.
        retry,
        high_water, ///< the link's queue is getting full
        low_water,  ///< and has emptied again
        stale,      ///< no data has come for so long: `data_age`
        fresh,      ///< and now some has; `data_age`: how long none had
    };
    Kind kind = Kind::stopped;
    LinkId link{};
    Message message{};
    std::optional<Failure> failure{};

    std::uint32_t connection = 0; ///< counted from 1 for each link; 0: there was none yet
    TimePoint at{};               ///< when, on the sidecar's clock; of a message: when it arrived
    WallTime wall_time{};         ///< the same by the calendar; on virtual time counted from 1970
    std::optional<TimePoint> next_attempt{}; ///< down, retry; empty: there will be none
    Continuity continuity = Continuity::first;
    std::string protocol{}; ///< up: what was agreed on with the peer, such as a subprotocol
    /// Of a gap: how many messages. Of a message: how many older ones of its key it has replaced.
    std::uint64_t missing = 0;
    GapReason gap_reason = GapReason::none;
    Duration data_age{};

    /// For any stream, so that test frameworks can show a Result<Event>.
    template <class Stream>
    friend Stream& operator<<(Stream& stream, const Event& event)
    {
        stream << to_string(event);
        return stream;
    }
    [[nodiscard]] friend std::string_view to_string(Kind which) noexcept
    {
        constexpr std::string_view names[] = {"up",        "message", "down",  "stopped",
                                              "gap",       "ready",   "retry", "high water",
                                              "low water", "stale",   "fresh"};
        return names[static_cast<std::size_t>(which)];
    }
};

} // namespace sidecar
