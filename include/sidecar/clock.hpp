// Time as the library counts it: one type for points in time, two clocks that can stand behind it.
#pragma once

#include <sidecar/detail/requirements.hpp>

#include <chrono>

namespace sidecar {

using Duration = std::chrono::nanoseconds;

/// A point on a sidecar's clock. On a virtual clock the count starts at zero with every start().
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

/// What a transport names as its `Clock` for tests: time stands still while anything can run, and
/// jumps to the next timer once nothing can and the application waits in one of the sidecar's
/// calls.
struct VirtualClock {};

/// `now + timeout` without overflow; a huge timeout means "no deadline".
[[nodiscard]] constexpr TimePoint deadline_after(TimePoint now, Duration timeout) noexcept
{
    return timeout >= TimePoint::max() - now ? TimePoint::max() : now + timeout;
}

} // namespace sidecar
