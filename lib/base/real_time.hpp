// The real clock, also for sidecars on virtual time.
#pragma once

#include <sidecar/clock.hpp>

#include <chrono>

namespace sidecar::detail {

[[nodiscard]] inline TimePoint real_now() noexcept { return std::chrono::steady_clock::now(); }

} // namespace sidecar::detail
