// Event: one entry of the ordered stream of next_event().
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/connection_info.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/session.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar {

using WallTime = std::chrono::system_clock::time_point;

/// Why messages are missing.
enum class GapReason : std::uint8_t {
    none,
    dropped_oldest, ///< the queue was full, and the policy drops the oldest
    dropped_newest, ///< the queue was full, and the policy drops the newest
    conflated,      ///< newer messages of the same keys replaced them
    too_old,        ///< they waited for longer than Overflow::max_age
    not_delivered,  ///< the peer's numbers say that it has not delivered them; see Sink::put_gap
};
[[nodiscard]] SIDECAR_API std::string_view to_string(GapReason reason) noexcept;

struct Event;
/// One line, for people: the kind, the link, and the fields of that kind. Shows a message's size,
/// not its payload.
[[nodiscard]] SIDECAR_API std::string to_string(const Event& event);

/// One entry of the whole ordered stream that next_event() returns.
struct Event {
    enum class Kind : std::uint8_t {
        up,      ///< the link is connected: `connection`, `continuity`, `protocol`
        message, ///< `message` holds it
        down,    ///< the connection ended: `failure`; `next_attempt` if the link tries again
        stopped, ///< the last event of all
        gap,     ///< `missing` messages are missing here, for this `gap_reason`
        /// on_connected and the subscriptions are done, on a link that has some; `failure` names
        /// the subscriptions that were not answered in time, if any
        ready,
        /// An attempt to reconnect failed; `failure` and `next_attempt` as in `down`.
        retry,
        high_water, ///< the link's queue has grown to Overflow::high
        low_water,  ///< and has shrunk to Overflow::low
        stale,      ///< no data for `data_age`, at least LinkOptions::idle_timeout
        fresh,      ///< data again, after none for `data_age`
        writable,   ///< after a send() returned `full`: the outbox is at least half free again
    };
    Kind kind = Kind::stopped;
    LinkId link{};
    Message message{};
    /// Down, retry: why the connection or the attempt ended; Failure::will_retry() is false if that
    /// is the end of the feed. Ready: which subscriptions were not answered. Empty: nothing
    /// failed.
    std::optional<Failure> failure{};

    std::uint32_t connection = 0; ///< counted from 1 for each link; 0: there was none yet
    TimePoint at{};               ///< when, on the sidecar's clock; a (missing) message's arrival
    WallTime wall_time{};         ///< the same by the calendar; virtual time counts from 1970
    std::optional<TimePoint> next_attempt{};   ///< down, retry; empty: there will be none
    Continuity continuity = Continuity::first; ///< up
    /// Up and down of a listener's client: its address, path, query, headers, certificate. Null for others.
    std::shared_ptr<const ConnectionInfo> client{};
    std::string protocol{};    ///< up: the protocol agreed with the peer, such as a subprotocol
    std::uint64_t missing = 0; ///< gap: how many messages are missing
    GapReason gap_reason = GapReason::none;
    Duration data_age{}; ///< stale, fresh: for how long there was no data

    /// The topic of `message`; empty: none.
    [[nodiscard]] std::string_view topic() const noexcept { return message.topic(); }

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
                                              "low water", "stale",   "fresh", "writable"};
        return names[static_cast<std::size_t>(which)];
    }
};

} // namespace sidecar
