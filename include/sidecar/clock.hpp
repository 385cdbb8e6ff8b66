// Time in the library: one type for points in time, and a real and a virtual clock behind it.
#pragma once

#include <sidecar/detail/requirements.hpp>

#include <chrono>

namespace sidecar {

using Duration = std::chrono::nanoseconds;

/// A point on a sidecar's clock. On virtual time the count starts at zero with every start(), or
/// with its MockClock.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

/// A transport names this as its `Clock` to run on virtual time, in tests; see MockClock.
struct VirtualClock {};

/// Returns `now + timeout` without overflow; a huge timeout means "no deadline".
[[nodiscard]] constexpr TimePoint deadline_after(TimePoint now, Duration timeout) noexcept
{
    return timeout >= TimePoint::max() - now ? TimePoint::max() : now + timeout;
}

} // namespace sidecar
