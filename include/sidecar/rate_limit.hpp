// How fast a link may send.
#pragma once

#include <sidecar/clock.hpp>

#include <cstdint>

namespace sidecar {

struct RateLimit {};

} // namespace sidecar
