// What happened to a link, as it stands beside the ring.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/event.hpp>
#include <sidecar/message.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace sidecar::detail {

/// An Event without a message. What it does not say is not set.
struct LinkEvent {
    std::uint64_t position; // in the ring: it comes before the record there
    Event::Kind kind;
    LinkId link;
    std::optional<Failure> failure;

    std::uint32_t connection = 0;
    Continuity continuity = Continuity::first;
    GapReason gap_reason = GapReason::none;
    TimePoint at{};
    WallTime wall_time{};
    std::optional<TimePoint> next_attempt{};
    std::uint64_t missing = 0;
    Duration data_age{};
    std::string protocol{};
};

} // namespace sidecar::detail
